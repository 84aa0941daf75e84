//! `lease`: an instance held by hand, by a process in the background.
//!
//! Owns the two processes: the one that a person started, which says how it went, and the one that holds. Must not
//! know how a lease is kept.

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

/// How the holder begins a line that is only to be shown.
const SAYS: &str = "says ";
/// How it begins the one after which it needs nobody any more.
const HELD: &str = "held ";

/// The verb. Returns when the instance is held, by another process.
///
/// # Errors
/// When it cannot be had.
pub fn verb(platforms: &Platforms, global: &Global, args: &LeaseArgs) -> Result<u8> {
    if args.hold {
        return hold::hold(platforms, global, args);
    }
    let mut holder = start(global, args)?;
    // For as long as we have the other end, somebody waits for it.
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
                "`cargo target-test shell {name}` goes there, `cargo target-test release {name}` gives it back"
            ));
            return Ok(0);
        }
    }
    drop(waits);
    failed(&mut holder)
}

/// The holder, in a session of its own, nothing of ours inherited.
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
    // Whose mark it carried would end it with that lease.
    for name in [env::LEASE, env::BROKER] {
        command.env_remove(name);
    }
    process::Spawn::new(command).own_session().start()
}

/// The holder gave up; says what it said.
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
        "the process that was to hold the lease ended without a word",
    )
}
