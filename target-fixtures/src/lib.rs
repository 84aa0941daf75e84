//! What a test of `cargo target-test` depends on.

pub mod env;
pub mod metadata;
pub mod wire;
