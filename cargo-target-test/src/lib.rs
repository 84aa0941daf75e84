//! The engine of `cargo target-test`.

pub mod cli;
pub mod commands;
pub mod error;
pub mod execute;
pub mod fault;
pub mod inventory;
pub mod plan;
pub mod process;
pub mod provision;
pub mod ui;

pub use error::{Error, ErrorKind, Result};
