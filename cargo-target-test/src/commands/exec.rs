//! `exec`: runs a command on an instance, and passes on its streams and its exit code.
//!
//! Must not know how an instance is reached.

use std::{io::Read, thread, time::Duration};

use target_fixtures::wire::{Exit, ShellCommand, Stream};
use tokio::sync::mpsc;

use crate::{
    bounded,
    cli::{ExecArgs, Global},
    commands::interactive::{AccessRequest, MachineGuard},
    connect::{CommandEvent, Running, shell},
    error::{Error, ErrorKind, Result},
    execute::clean_up::signals::Signals,
    process,
    provision::{LeaseEnd, platform::Platforms},
    ui,
};

/// The size of a read, in bytes.
const CHUNK: usize = 64 << 10;
/// The exit code of `timeout(1)` after a timeout.
const TIMED_OUT: i32 = 124;
/// SIGPIPE.
const PIPE: i32 = 13;

/// Runs the verb. The exit code is that of the command.
///
/// # Errors
/// Fails if the instance is unavailable or unreachable, or if the command timed out.
pub fn verb(platforms: &Platforms, global: &Global, args: &ExecArgs) -> Result<u8> {
    let ask = AccessRequest {
        platforms,
        global,
        on: &args.on,
        now: args.now,
        what: "exec",
    };
    ask.run(async |guard, signals| run(guard, signals, args).await)
}

/// Returns the command line for the instance's shell.
fn line(args: &ExecArgs) -> String {
    match (&args.shell, &args.command[..]) {
        (Some(line), _) => line.clone(),
        (None, [line]) => line.clone(),
        (None, [program, arguments @ ..]) => shell::invocation(program, arguments),
        (None, []) => String::new(),
    }
}

async fn run(
    guard: &MachineGuard,
    signals: &mut Signals,
    args: &ExecArgs,
) -> Result<(u8, LeaseEnd)> {
    let millis = |timeout: Duration| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    let command = ShellCommand {
        line: line(args),
        env: guard.environment(),
        timeout: args.timeout.map(millis),
        ..ShellCommand::default()
    };
    let (machine, input) = (&guard.machine, standard_input());
    let (running, name) = (machine.start(&command, Some(input)).await?, machine.name());
    tokio::select! {
        ended = pass_on(running) => ended.map_err(|error| explained(error, name)),
        signal = signals.next() => Ok((signal.code(), LeaseEnd::CutOff)),
    }
}

/// Forwards output until the command has ended.
async fn pass_on(mut running: Running) -> Result<(u8, LeaseEnd)> {
    let mut stderr = Vec::new();
    while let Some(event) = running.events.recv().await {
        match event {
            CommandEvent::Output(Stream::Stdout, bytes) => {
                if !ui::try_bytes_out(&bytes) {
                    return Ok((process::code_of_signal(PIPE), LeaseEnd::CutOff));
                }
            }
            CommandEvent::Output(Stream::Stderr, bytes) => {
                ui::bytes(&bytes);
                bounded::extend_tail(&mut stderr, &bytes);
            }
            CommandEvent::Exited(exit) => {
                if let Some(hint) = exit.hint(&String::from_utf8_lossy(&stderr)) {
                    ui::hint(hint);
                }
                return Ok((code(&exit), LeaseEnd::Done));
            }
            CommandEvent::Lost(error) => return Err(error),
        }
    }
    Err(Error::infra("the command's events ended early"))
}

fn code(exit: &Exit) -> u8 {
    match exit {
        Exit::Code(code) => u8::try_from(*code).unwrap_or(255),
        Exit::Signal(name) => process::code_of_signal(process::signal_number(name).unwrap_or(127)),
    }
}

fn explained(error: Error, name: &str) -> Error {
    let message = format!("the command on `{name}` did not complete");
    let explained = Error::new(error.kind(), message);
    match error.kind() {
        ErrorKind::Timeout => explained.with_exit_code(TIMED_OUT),
        _ => explained.with_hint_of(&error),
    }
    .with_source(error)
}

/// Reads standard input in the background.
fn standard_input() -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel(4);
    // A read cannot be cancelled, so this thread is never joined.
    thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; CHUNK];
        while let Ok(read @ 1..) = stdin.read(&mut buffer) {
            if send.blocking_send(buffer[..read].to_vec()).is_err() {
                break;
            }
        }
    });
    receive
}
