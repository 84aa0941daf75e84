//! The one place that starts processes.
//!
//! Owns how programs are started, fed, waited for and killed. Must not know what they are for.

use std::{
    ffi::OsStr,
    io::{Read, Write},
    os::unix::process::CommandExt,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use crate::error::{Error, ErrorKind, Result};

/// A program to start; the caller adds arguments.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// What a finished program left.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

/// Runs a program in a session of its own, with `input` on its standard input, to its end or to the
/// deadline, when its whole process group is killed. `on_stderr` sees each line of standard error as it
/// comes (without its newline).
///
/// # Errors
/// When it cannot be started (the program named), or ([`ErrorKind::Timeout`]) at the deadline.
pub fn run(
    mut command: Command,
    input: &[u8],
    deadline: Duration,
    on_stderr: &(dyn Fn(&str) + Sync),
) -> Result<Finished> {
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    own_session(&mut command);
    let started = Instant::now();
    let mut child = command
        .spawn()
        .map_err(|error| cannot_start(&program, error))?;
    let (mut stdin, mut stdout) = (child.stdin.take(), child.stdout.take());
    let stderr = child.stderr.take();
    let pid = Pid::from_child(&child);
    let finished = thread::scope(|scope| {
        // A program may end without reading its input: a broken pipe is its own affair.
        scope.spawn(move || stdin.take().map(|mut pipe| pipe.write_all(input)));
        let out = scope.spawn(move || {
            let mut bytes = Vec::new();
            if let Some(pipe) = &mut stdout {
                let _ = pipe.read_to_end(&mut bytes);
            }
            bytes
        });
        let err = scope.spawn(move || lines_of(stderr, on_stderr));
        let status = wait_until(&mut child, started + deadline);
        if !matches!(status, Ok(Some(_))) {
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            let _ = child.wait();
        }
        (
            status,
            out.join().unwrap_or_default(),
            err.join().unwrap_or_default(),
        )
    });
    match finished {
        (Ok(Some(status)), stdout, stderr) => Ok(Finished {
            status,
            stdout,
            stderr,
        }),
        (Ok(None), ..) => Err(Error::new(
            ErrorKind::Timeout,
            format!(
                "`{program}` did not end within {}",
                humantime::format_duration(deadline)
            ),
        )),
        (Err(error), ..) => Err(error.into()),
    }
}

/// Starts a program in a session of its own; the caller set its standard streams, and waits for it.
///
/// # Errors
/// When it cannot be started (the program named).
pub fn start(mut command: Command) -> Result<std::process::Child> {
    own_session(&mut command);
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .spawn()
        .map_err(|error| cannot_start(&program, error))
}

/// As [`start`], for a tokio runtime to wait for; no stream of it is kept open elsewhere.
///
/// # Errors
/// When it cannot be started (the program named), or outside a runtime.
pub fn start_async(mut command: Command) -> Result<tokio::process::Child> {
    tokio::runtime::Handle::try_current().map_err(std::io::Error::other)?;
    own_session(&mut command);
    let program = command.get_program().to_string_lossy().into_owned();
    let mut command = tokio::process::Command::from(command);
    command
        .spawn()
        .map_err(|error| cannot_start(&program, error))
}

/// Puts the program in a session (and process group) of its own: no Ctrl-C of the terminal reaches it.
#[expect(unsafe_code, reason = "setsid must run between fork and exec")]
pub fn own_session(command: &mut Command) {
    // SAFETY: setsid is async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
}

/// Has the kernel kill the program when the thread that starts it ends: call it, and spawn, only on a
/// thread that lives as long as the process.
#[expect(unsafe_code, reason = "prctl must run between fork and exec")]
pub fn dies_with_parent(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| {
            #[cfg(target_os = "linux")]
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            Ok(())
        });
    }
}

fn cannot_start(program: &str, error: std::io::Error) -> Error {
    let missing = error.kind() == std::io::ErrorKind::NotFound;
    let failed =
        Error::new(ErrorKind::Other, format!("cannot start `{program}`")).with_source(error);
    if missing {
        failed.with_hint(format!("is `{program}` installed and in PATH?"))
    } else {
        failed
    }
}

fn lines_of(pipe: Option<impl Read>, on_line: &(dyn Fn(&str) + Sync)) -> Vec<u8> {
    let mut all = Vec::new();
    let Some(pipe) = pipe else { return all };
    let mut reader = std::io::BufReader::new(pipe);
    let mut line = Vec::new();
    while let Ok(read) = std::io::BufRead::read_until(&mut reader, b'\n', &mut line) {
        if read == 0 {
            break;
        }
        on_line(String::from_utf8_lossy(&line).trim_end());
        all.append(&mut line);
    }
    all
}

fn wait_until(
    child: &mut std::process::Child,
    deadline: Instant,
) -> std::io::Result<Option<ExitStatus>> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
