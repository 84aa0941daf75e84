//! What a run's outcomes come to.

pub mod summary;
