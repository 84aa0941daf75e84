//! Making instances and keeping account of them.

mod capacity;
pub(crate) mod describe;
mod orphan;
pub mod platform;
pub mod pool;
mod pool_run;
pub(crate) mod prepare;
pub mod visit;

pub use orphan::{Orphan, find_orphans};
pub(crate) use pool::{FileLock, peek};
pub use pool_run::{
    Ensured, Failure, Held, PoolRun, Preparer, Report, Run, Scope, Wanted, delete_all,
};
