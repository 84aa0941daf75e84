//! Reaching instances, and running cases on them through nextest.

pub mod broker;
pub mod nextest;
pub mod outcome;
pub mod runner;
pub mod session;
