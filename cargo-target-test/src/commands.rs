//! The verbs: one file each.
//!
//! Owns what several of them need. Verbs are the only place that sees all rooms.

pub mod broker;
pub mod check;
pub mod choice;
pub mod cp;
pub mod delete;
pub mod exec;
pub mod gc;
pub mod lease;
pub mod list;
pub mod logs;
pub mod mode;
pub mod partitions;
mod people;
pub mod release;
pub mod run;
pub mod schema;
pub mod setting;
pub mod shell;
pub mod targets;
