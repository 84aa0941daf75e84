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
    /// True if a background process still holds the output pipe; its next write gets SIGPIPE.
    pub held: bool,
}

/// A program about to be started: the one builder of processes.
///
/// `start` and `start_async` leave the standard streams to the caller; `run` feeds the program and collects its output.
#[must_use]
pub struct Spawn {
    command: Command,
    kind: Kind,
}

impl Spawn {
    /// Prepares a command; nothing is started yet.
    pub fn new(command: Command) -> Self {
        Self {
            command,
            kind: Kind::Ours,
        }
    }

    /// Starts the program in a session (and process group) of its own: no Ctrl-C of the terminal reaches it.
    pub fn own_session(mut self) -> Self {
        set_session(&mut self.command);
        self
    }

    /// Has the kernel kill the program when the thread that starts it ends, so that thread must outlast the program.
    pub fn dies_with_parent(mut self) -> Self {
        die_with_parent(&mut self.command);
        self
    }

    /// Marks a user's program, which may take long: [`kill_scripts`] ends it.
    pub fn script(mut self) -> Self {
        self.kind = Kind::Script;
        self
    }

    /// Starts the program; the caller waits for it.
    ///
    /// # Errors
    /// When it cannot be started (the program named).
    pub fn start(mut self) -> Result<Child> {
        let program = self.program();
        let started = self.command.spawn();
        started.map_err(|error| cannot_start(&program, error))
    }

    /// Starts the program for a tokio runtime to wait for.
    ///
    /// # Errors
    /// When it cannot be started (the program named), or outside a runtime.
    pub fn start_async(self) -> Result<tokio::process::Child> {
        tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let program = self.program();
        // Dropped with this function: it would keep the streams open that it passes on.
        let mut command = tokio::process::Command::from(self.command);
        let started = command.spawn();
        started.map_err(|error| cannot_start(&program, error))
    }

    /// Runs the program to its end in this session and collects both outputs.
    ///
    /// # Errors
    /// When it cannot be started (the program named).
    pub fn output(mut self) -> Result<std::process::Output> {
        let program = self.program();
        let output = self.command.output();
        output.map_err(|error| cannot_start(&program, error))
    }

    /// Runs the program in a session of its own, with `input` on its standard input, to its end or to the deadline, when
    /// its whole process group is killed. `on_stderr` gets each line of standard error as it comes, without its newline.
    /// Background processes of the program are not waited for.
    ///
    /// # Errors
    /// When it cannot be started (the program named), or ([`ErrorKind::Timeout`]) at the deadline.
    pub fn run(
        mut self,
        input: &[u8],
        deadline: Duration,
        on_stderr: &dyn Fn(&str),
    ) -> Result<Finished> {
        let program = self.program();
        let started = Instant::now();
        let group = Group::spawn(&mut self.command, self.kind);
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

    fn program(&self) -> String {
        self.command.get_program().to_string_lossy().into_owned()
    }
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

/// Kills the process group of every program that [`Spawn::script`] marked and [`Spawn::run`] waits for;
/// their callers see them killed by signal 9.
pub fn kill_scripts() {
    for (pid, _) in running().iter().filter(|(_, kind)| *kind == Kind::Script) {
        kill_group(*pid);
    }
}

#[expect(unsafe_code, reason = "setsid must run between fork and exec")]
fn set_session(command: &mut Command) {
    // SAFETY: setsid is async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            Ok(())
        });
    }
}

#[expect(unsafe_code, reason = "prctl must run between fork and exec")]
fn die_with_parent(command: &mut Command) {
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
        set_session(command);
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
