//! What a test of `cargo target-test` depends on.
#![forbid(unsafe_code)]

extern crate self as target_fixtures;

mod client;
pub mod env;
mod error;
mod harness;
mod lease;
pub mod metadata;
pub mod requirement;
mod target;
pub mod wire;

pub use target_fixtures_macros::{target_defaults, target_test};

pub use self::{
    error::{Error, ErrorKind, Result, TargetError, skip},
    target::{Command, Output, Target},
    wire::Exit,
};

/// What a test file needs: `use target_fixtures::prelude::*;`.
pub mod prelude {
    pub use crate::{Error, Result, Target, skip, target_defaults, target_test};
}

#[doc(hidden)]
pub mod __private {
    //! For generated code alone.
    pub use crate::harness::*;
}
