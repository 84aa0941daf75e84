//! Reaching instances, and running cases on them through nextest.

pub mod transport;
