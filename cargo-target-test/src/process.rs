//! The one place that starts processes.
//!
//! Owns how programs are started, fed, waited for and killed. Must not know what they are for.

mod marked;
mod pump;
mod signal;
mod watch;

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use self::pump::Pump;
pub use self::{
    marked::{has_variable, kill_marked, marked_values},
    signal::{signal_name, signal_number},
    watch::{Watch, children, name_if_alive, reap_descendants, shortest, start_time},
};
use crate::error::{Error, ErrorKind, Result};

/// How long the pipes of an ended program may be quiet before what still holds them is left alone.
const QUIET: Duration = Duration::from_millis(200);
/// How long they are read at most, whatever still writes.
const DRAIN: Duration = Duration::from_secs(2);

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
    /// Whether a process that it left behind still holds its output: that one gets SIGPIPE when it
    /// writes there again.
    pub held: bool,
}

/// Runs a program in a session of its own, with `input` on its standard input, to its end or to the
/// deadline, when its whole process group is killed. `on_stderr` sees each line of standard error as it
/// comes (without its newline). A process that it leaves behind is not waited for.
///
/// # Errors
/// When it cannot be started (the program named), or ([`ErrorKind::Timeout`]) at the deadline.
pub fn run(
    command: Command,
    input: &[u8],
    deadline: Duration,
    on_stderr: &dyn Fn(&str),
) -> Result<Finished> {
    run_as(Kind::Ours, command, input, deadline, on_stderr)
}

/// As [`run`], for a user's program, which may take long: [`kill_scripts`] ends it.
///
/// # Errors
/// As [`run`].
pub fn run_script(
    command: Command,
    input: &[u8],
    deadline: Duration,
    on_stderr: &dyn Fn(&str),
) -> Result<Finished> {
    run_as(Kind::Script, command, input, deadline, on_stderr)
}

fn run_as(
    kind: Kind,
    mut command: Command,
    input: &[u8],
    deadline: Duration,
    on_stderr: &dyn Fn(&str),
) -> Result<Finished> {
    let program = command.get_program().to_string_lossy().into_owned();
    let started = Instant::now();
    let group = Group::spawn(&mut command, kind);
    let mut group = group.map_err(|error| cannot_start(&program, error))?;
    let mut pump = Pump::new(&mut group.child, input, on_stderr)?;
    let mut ended: Option<(ExitStatus, Instant)> = None;
    loop {
        let left = match ended {
            Some(_) if pump.closed() => break,
            Some((_, at)) => QUIET
                .saturating_sub(pump.last().max(at).elapsed())
                .min(DRAIN.saturating_sub(at.elapsed())),
            None => deadline.saturating_sub(started.elapsed()),
        };
        if left.is_zero() {
            break;
        }
        match ended {
            Some(_) => pump.step(None, left)?,
            None => pump.step(group.pidfd.as_ref(), left)?,
        }
        if ended.is_none() {
            ended = group.try_wait()?.map(|status| (status, Instant::now()));
        }
    }
    let Some((status, _)) = ended else {
        let limit = humantime::format_duration(deadline);
        let message = format!("`{program}` did not end within {limit}");
        return Err(Error::new(ErrorKind::Timeout, message));
    };
    let held = !pump.closed();
    let (stdout, stderr) = pump.finish();
    Ok(Finished {
        status,
        stdout,
        stderr,
        held,
    })
}

/// Runs a program that is ours to wait for, in our own session, its standard error and output kept.
///
/// # Errors
/// When it cannot be started (the program named).
pub fn output(mut command: Command) -> Result<std::process::Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .output()
        .map_err(|error| cannot_start(&program, error))
}

/// Starts a program in a session of its own; the caller set its standard streams, and waits for it.
///
/// # Errors
/// When it cannot be started (the program named).
pub fn start(mut command: Command) -> Result<Child> {
    own_session(&mut command);
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .spawn()
        .map_err(|error| cannot_start(&program, error))
}

/// Starts a program in our own session and process group, where Ctrl-C reaches it too; the kernel kills it
/// when the thread that starts it ends, so that thread must outlast it.
///
/// # Errors
/// When it cannot be started (the program named).
pub fn start_with_us(mut command: Command) -> Result<Child> {
    dies_with_parent(&mut command);
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .spawn()
        .map_err(|error| cannot_start(&program, error))
}

/// As [`start_with_us`], for a tokio runtime of one thread to wait for.
///
/// # Errors
/// When it cannot be started (the program named).
pub fn start_with_us_async(mut command: Command) -> Result<tokio::process::Child> {
    dies_with_parent(&mut command);
    let program = command.get_program().to_string_lossy().into_owned();
    tokio::process::Command::from(command)
        .spawn()
        .map_err(|error| cannot_start(&program, error))
}

/// As [`start`], for a tokio runtime to wait for; no stream of it is kept open elsewhere.
///
/// # Errors
/// When it cannot be started (the program named), or outside a runtime.
pub fn start_async(mut command: Command) -> Result<tokio::process::Child> {
    tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
    own_session(&mut command);
    let program = command.get_program().to_string_lossy().into_owned();
    let mut command = tokio::process::Command::from(command);
    command
        .spawn()
        .map_err(|error| cannot_start(&program, error))
}

/// Whether there is a terminal from which we, or what we start, may be stopped.
pub fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// How a program ended, in words: `exited with code 3`, `was killed by signal 9`.
pub fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// Kills the process group of every program that [`run_script`] is waiting for; their callers see them
/// killed by signal 9.
pub fn kill_scripts() {
    for (pid, _) in running().iter().filter(|(_, kind)| *kind == Kind::Script) {
        kill_group(*pid);
    }
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
/// thread that outlives the program (one that waits for it in [`run`], for instance).
#[expect(unsafe_code, reason = "prctl must run between fork and exec")]
pub fn dies_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    // SAFETY: prctl and getppid are async-signal-safe and touch no memory of ours.
    unsafe {
        command.pre_exec(move || {
            #[cfg(target_os = "linux")]
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // A parent that died before the line above sends no signal any more.
            if rustix::process::getppid() != Some(parent) {
                return Err(rustix::io::Errno::CANCELED.into());
            }
            Ok(())
        });
    }
}

/// Whose program runs.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// One of ours: short.
    Ours,
    /// A user's: it may take as long as it likes.
    Script,
}

/// A running program with its process group; listed in [`running`] until it is reaped, so that
/// nobody ever kills a group whose number belongs to somebody else.
struct Group {
    child: Child,
    pid: Pid,
    /// Readable when the program has ended; absent on old kernels and other systems.
    pidfd: Option<OwnedFd>,
}

impl Group {
    fn spawn(command: &mut Command, kind: Kind) -> io::Result<Self> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        own_session(command);
        let mut running = running();
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        running.push((pid, kind));
        let pidfd = pidfd(pid);
        Ok(Self { child, pid, pidfd })
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let mut running = running();
        let status = self.child.try_wait()?;
        if status.is_some() {
            running.retain(|(pid, _)| *pid != self.pid);
        }
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut running = running();
        if running.iter().any(|(pid, _)| *pid == self.pid) {
            kill_group(self.pid);
            running.retain(|(pid, _)| *pid != self.pid);
            drop(running);
            let _ = self.child.wait();
        }
    }
}

fn running() -> MutexGuard<'static, Vec<(Pid, Kind)>> {
    static RUNNING: Mutex<Vec<(Pid, Kind)>> = Mutex::new(Vec::new());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kill_group(pid: Pid) {
    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
}

#[cfg(target_os = "linux")]
fn pidfd(pid: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn pidfd(_pid: Pid) -> Option<OwnedFd> {
    None
}

fn cannot_start(program: &str, error: io::Error) -> Error {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let failed =
        Error::new(ErrorKind::Other, format!("cannot start `{program}`")).with_source(error);
    if missing {
        failed.with_hint(format!("is `{program}` installed and in PATH?"))
    } else {
        failed
    }
}

#[cfg(test)]
mod tests;
