//! Reaching instances, and running cases on them through nextest.

pub mod nextest;
pub mod runner;
pub mod transport;
