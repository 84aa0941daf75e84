//! `lease`: leases an instance by hand; a background process holds the lease.
//!
//! Must not know how a lease is kept.

mod hold;

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Stdio},
};

use target_fixtures::env;

use crate::{
    cli::{Global, LeaseArgs},
    error::{Error, ErrorKind, Result},
    process,
    provision::platform::Platforms,
    run::workspace,
    ui,
};

/// The prefix of a line of the holder that is only printed.
const SAYS: &str = "says ";
/// The prefix of the holder's line that reports the lease. The parent process ends then.
const HELD: &str = "held ";

/// Runs the verb. Returns when another process holds the lease.
///
/// # Errors
/// Fails if the instance is unavailable.
pub fn verb(platforms: &Platforms, global: &Global, args: &LeaseArgs) -> Result<u8> {
    if args.hold {
        return hold::hold(platforms, global, args);
    }
    let mut holder = start(global, args)?;
    // The open pipe tells the holder that this process still waits.
    let waits = holder.stdin.take();
    let lines = BufReader::new(holder.stdout.take().ok_or_else(silent)?).lines();
    for line in lines {
        let line = line?;
        if let Some(text) = line.strip_prefix(SAYS) {
            ui::note(text);
        } else if let Some(text) = line.strip_prefix(HELD) {
            let name = text.split_whitespace().next().unwrap_or_default();
            ui::out(text);
            ui::out(format!(
                "open a shell with `cargo target-test shell {name}`; release it with `cargo target-test release {name}`"
            ));
            return Ok(0);
        }
    }
    drop(waits);
    failed(&mut holder)
}

/// Starts the holder in its own session, without inherited descriptors and variables.
fn start(global: &Global, args: &LeaseArgs) -> Result<Child> {
    let mut command = process::command(std::env::current_exe()?);
    command.args(["lease", "--hold"]);
    command
        .arg("--pool")
        .arg(workspace::pool_directory(global)?);
    command
        .arg("--for")
        .arg(humantime::format_duration(args.time).to_string());
    command.args(args.on.all.then_some("--all"));
    command.args(["--", &args.on.instance]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // With the mark of a lease, the holder would be killed at the end of that lease.
    for name in [env::LEASE, env::BROKER] {
        command.env_remove(name);
    }
    process::Spawn::new(command).own_session().start()
}

/// Prints the errors of a holder that ended without a lease, and returns its exit code.
fn failed(holder: &mut Child) -> Result<u8> {
    let mut said = String::new();
    if let Some(mut stderr) = holder.stderr.take() {
        stderr.read_to_string(&mut said)?;
    }
    let status = holder.wait()?;
    ui::raw(&said);
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code @ 1..) if !said.is_empty() => Ok(code),
        _ => Err(silent()),
    }
}

fn silent() -> Error {
    Error::new(
        ErrorKind::Other,
        "the process that holds the lease ended without an error message",
    )
}
