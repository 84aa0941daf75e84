//! Making instances and keeping account of them.

mod capacity;
pub(crate) mod describe;
mod orphan;
pub mod platform;
pub mod pool;
pub(crate) mod prepare;
mod provisioner;
pub mod visit;

pub use orphan::{Orphan, find_orphans};
pub(crate) use pool::{FileLock, peek};
pub use provisioner::{
    Caller, Ensured, Failure, Held, Provisioner, Report, Run, Scope, Wanted, delete_all,
};
