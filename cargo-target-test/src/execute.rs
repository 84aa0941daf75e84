//! Reaching instances, and running cases on them through nextest.

pub mod broker;
pub(crate) mod instance;
pub mod nextest;
pub mod outcome;
mod prepare;
pub mod runner;
pub mod session;
pub mod transport;
