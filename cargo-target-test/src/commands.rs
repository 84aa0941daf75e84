//! The verbs, one file each. Only verbs may use all rooms.

pub mod broker;
pub mod check;
pub mod completions;
pub mod cp;
pub mod delete;
pub mod down;
pub mod exec;
pub mod gc;
pub mod init;
mod interactive;
pub mod lease;
pub mod list;
pub mod logs;
pub mod pool;
pub mod release;
pub mod run;
pub mod schema;
pub mod shell;
pub mod targets;
pub mod up;
