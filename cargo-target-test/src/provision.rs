//! Making instances and keeping account of them.

mod capacity;
pub mod platform;
pub mod pool;
mod provisioner;
mod stray;
pub mod visit;

pub(crate) use pool::{FileLock, peek};
pub use provisioner::{
    Caller, Ensured, Failure, Held, Provisioner, Report, Run, Scope, Wanted, delete_all,
};
pub use stray::{Stray, find_strays};
