//! The verbs, one file each. Only verbs may use all rooms.

pub mod broker;
pub mod check;
pub mod completions;
pub mod cp;
pub mod delete;
pub mod down;
pub mod exec;
pub mod flaky;
pub mod gc;
pub mod history;
pub mod init;
mod interactive;
pub mod lease;
pub mod list;
pub mod logs;
pub mod pool;
pub mod release;
pub mod report;
pub mod repro;
pub mod run;
pub mod schema;
pub mod shell;
pub mod slow;
pub mod targets;
pub mod up;

use std::process::{Command, Stdio};

use target_fixtures::env;

use crate::{error::Result, process};

/// Returns a command of this program for a process that outlives the current one: without the marks of a lease, with which
/// the process would be killed at the end of that lease, and without streams.
fn own_program() -> Result<Command> {
    let mut command = process::command(std::env::current_exe()?);
    for name in [env::LEASE, env::SSH_LEASE, env::BROKER] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null());
    Ok(command)
}
