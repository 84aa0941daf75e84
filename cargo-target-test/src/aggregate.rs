//! What a run's outcomes come to.

pub mod history;
pub mod junit;
pub mod summary;
