//! Making instances and keeping account of them.

pub mod platform;
pub mod pool;
mod provisioner;

pub use provisioner::{
    Ensured, Failure, Held, Provisioner, Report, Run, Scope, Wanted, delete_all,
};
