//! One file per verb.

pub mod list;
