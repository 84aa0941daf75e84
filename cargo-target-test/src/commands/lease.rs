//! `lease`: leases an instance by hand; a background process holds the lease.
//!
//! Must not know how a lease is kept.

mod hold;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    thread,
};

use crate::{
    cli::{Global, LeaseArgs},
    commands::own_program,
    error::{Error, Result},
    process,
    provision::platform::Platforms,
    run::workspace,
    ui,
};

/// The prefix of a line of the holder that is only printed.
const SAYS: &str = "says ";
/// The prefix of the holder's line that reports the lease: a machine for a shell, and the text. The parent process ends
/// then.
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
    let errors = BufReader::new(holder.stderr.take().ok_or_else(silent)?);
    let shown = thread::spawn(|| show(errors));
    for line in lines {
        let line = line?;
        if let Some(text) = line.strip_prefix(SAYS) {
            ui::note(text);
        } else if let Some(held) = line.strip_prefix(HELD) {
            let (machine, text) = held.split_once(' ').unwrap_or_default();
            let name = text.split_whitespace().next().unwrap_or_default();
            ui::out(text);
            ui::out(format!(
                "open a shell with `cargo target-test shell {machine}`; release it with `cargo target-test release {name}`"
            ));
            return Ok(0);
        }
    }
    drop(waits);
    let code = holder
        .wait()?
        .code()
        .and_then(|code| u8::try_from(code).ok());
    match (code, shown.join()) {
        (Some(code @ 1..), Ok(1..)) => Ok(code),
        _ => Err(silent()),
    }
}

/// Starts the holder in its own session, without inherited descriptors and variables.
fn start(global: &Global, args: &LeaseArgs) -> Result<Child> {
    let mut command = own_program()?;
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
    process::Spawn::new(command).own_session().start()
}

/// Prints what the holder writes to its standard error while this process waits. Returns the number of lines.
fn show(errors: impl BufRead) -> usize {
    let lines = errors.lines().map_while(std::io::Result::ok);
    lines.inspect(|line| ui::raw(&format!("{line}\n"))).count()
}

fn silent() -> Error {
    Error::other("the process that holds the lease ended without an error message")
}
