//! Making instances and keeping account of them.

mod capacity;
pub(crate) mod describe;
mod orphan;
pub mod platform;
pub mod pool;
pub(crate) mod prepare;
mod provisioner;
pub mod visit;

use std::sync::Arc;

use self::{
    platform::{DynPlatform, Platforms},
    pool::Record,
};
use crate::error::{Error, Result};

pub use orphan::{Orphan, find_orphans};
pub(crate) use pool::{FileLock, peek};
pub use provisioner::{
    Caller, Ensured, Failure, Held, Provisioner, Report, Run, Scope, Wanted, delete_all,
};

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
        let hint = error.hint().unwrap_or_default().to_owned();
        Error::new(error.kind(), message).with_hint(hint)
    })
}
