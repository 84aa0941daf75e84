//! Provides machines for requests ([`Provisioner::acquire`]), and takes them back.
//!
//! Waits, deploys, health checks, recipes, restores, recycling and the killing of leftover processes are internal.

mod capacity;
pub(crate) mod describe;
mod disabled;
mod existing;
mod instances;
mod lease;
mod machine;
pub mod network;
mod orphan;
mod owner;
pub mod platform;
pub mod pool;
mod pool_provisioner;
mod pool_run;
pub(crate) mod prepare;
mod provisioner;
mod request;
pub(crate) mod unit;
mod wait_notice;
mod wrapped;

use std::sync::Arc;

use self::{
    platform::{DynPlatform, Platforms},
    pool::Record,
};
use crate::error::{Error, Result};

pub use disabled::{disable, enable};
pub use existing::Existing;
pub use instances::{InstanceSet, Need, ReadyInstance, Surplus, Used};
pub use lease::{Ended, Lease, LeaseEnd, Lost};
pub use machine::Machine;
pub use orphan::{Orphan, find_orphans, find_owned};
pub(crate) use pool::{FileLock, peek};
pub use pool_provisioner::PoolProvisioner;
pub use pool_run::{DeleteScope, Ensured, PoolRun, Preparer, RunInfo, Wanted, delete_all, forget};
pub use provisioner::{BoxFuture, Provisioner};
pub use request::{After, ByHand, IfMissing, Notice, Notices, Request, Requester, Want};
pub(crate) use wait_notice::WaitNotice;
pub use wrapped::Wrapped;

/// The platform of a recorded instance.
///
/// # Errors
/// [`ErrorKind::Infra`](crate::ErrorKind::Infra) if only another tool knows it; the hint names that tool.
pub(crate) fn platform_of<'p>(
    platforms: &'p Platforms,
    record: &Record,
) -> Result<&'p Arc<dyn DynPlatform>> {
    let known = platforms.known(&record.platform, record.tool.as_deref());
    known.map_err(|error| {
        let message = format!("`{}` cannot be used: {error}", record.name());
        Error::new(error.kind(), message).with_hint_of(&error)
    })
}
