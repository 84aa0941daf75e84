//! Answers one question: machines that satisfy a request ([`Provisioner::acquire`]), and takes them back.
//!
//! Waiting, deploying, health checks, recipes, restoring, recycling, tickets and sweeping are inside.

mod capacity;
pub(crate) mod describe;
mod existing;
mod instances;
mod lease;
mod machine;
mod orphan;
pub mod platform;
pub mod pool;
mod pool_provisioner;
mod pool_run;
pub(crate) mod prepare;
mod provisioner;
mod request;
mod wrapped;

pub use existing::Existing;
pub use instances::{InstanceSet, Need, ReadyInstance, Surplus, Used};
pub use lease::{Ended, Lease, LeaseEnd, Lost};
pub use machine::Machine;
pub use orphan::{Orphan, find_orphans};
pub(crate) use pool::{FileLock, peek};
pub use pool_provisioner::PoolProvisioner;
pub use pool_run::{
    Ensured, Failure, Held, PoolRun, Preparer, Report, Run, Scope, Wanted, delete_all,
};
pub use provisioner::{BoxFuture, Provisioner};
pub(crate) use request::WaitNotice;
pub use request::{After, ByHand, IfMissing, Notice, Notices, Request, Requester, Want};
pub use wrapped::Wrapped;
