//! The verbs, one file each.

pub mod delete;
pub mod targets;
