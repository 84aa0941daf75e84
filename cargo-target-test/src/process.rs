//! Starts processes, writes their input, collects their output, waits for them and kills them.
//!
//! No other file starts processes. Must not know what a program is used for.

mod marked;
mod pump;
mod ready;
mod sessions;
mod signal;
mod table;
mod version;
mod watch;

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Mutex, MutexGuard, OnceLock},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, setrlimit};

use self::pump::Pump;
pub use self::{
    marked::{Remains, has_variable, kill_marked, kill_with_arguments, variables},
    sessions::SessionLog,
    signal::{code_of_signal, signal_name, signal_number, signal_of_code},
    table::{LeftProcess, user},
    version::{ProgramVersion, warn_if_older},
    watch::{StartedProcess, Watch, ancestors, children, reap_descendants, shortest, start_time},
};
pub(crate) use self::{
    ready::{readable, ready},
    sessions::kernel,
    table::ProcessEntry,
    version::version_of,
};
use crate::{
    bounded,
    error::{Error, ErrorKind, Result},
    sync,
};

/// After the program's exit, its pipes are read until they were idle for this time: a background process may hold them.
const QUIET: Duration = Duration::from_millis(200);
/// The maximum time for which the pipes are read after the program's exit.
const DRAIN: Duration = Duration::from_secs(2);

/// The user's limit for core files, if [`write_no_core`] has lowered it.
static CORE: OnceLock<Rlimit> = OnceLock::new();

/// Makes this process write no core file: its memory holds secrets. Programs that it starts have the user's limit.
pub fn write_no_core() {
    let theirs = getrlimit(Resource::Core);
    let none = Rlimit {
        current: Some(0),
        ..theirs
    };
    if theirs.current != Some(0) && setrlimit(Resource::Core, none).is_ok() {
        // Cannot be set: the limit is lowered once.
        let _ = CORE.set(theirs);
    }
}

/// Creates a command for a program, without arguments.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// The exit status and the output of a finished program.
#[derive(Debug)]
pub struct Finished {
    /// The exit status.
    pub status: ExitStatus,
    /// The standard output.
    pub stdout: Vec<u8>,
    /// The end of the standard error, at least 64 KiB if it was longer.
    pub stderr: Vec<u8>,
    /// True if a background process still holds the output pipe; its next write gets SIGPIPE.
    pub held: bool,
    /// The process id of the program, which led a session of its own.
    pub pid: u32,
}

impl Finished {
    /// Returns the standard output of a program that succeeded.
    ///
    /// # Errors
    /// The trimmed standard error of a program that failed.
    pub(crate) fn text(&self) -> Result<String, String> {
        match self.status.success() {
            true => Ok(String::from_utf8_lossy(&self.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&self.stderr).trim().to_owned()),
        }
    }
}

/// Returns the words of a program that failed with the line of the error first, since a headline shows the first line. All
/// words follow if another line was first.
pub(crate) fn error_first(words: &str, is_error: impl Fn(&str) -> bool) -> String {
    let error = words.lines().find(|line| is_error(line));
    match error.filter(|error| !words.starts_with(*error)) {
        Some(error) => format!("{error}\n{words}"),
        None => words.to_owned(),
    }
}

/// The builder of processes.
///
/// `start` and `start_async` leave the standard streams to the caller. `run` writes the input and collects the output.
#[must_use]
pub struct Spawn {
    command: Command,
    kind: Kind,
    shows_errors: bool,
}

impl Spawn {
    /// Creates a builder for a command.
    pub fn new(mut command: Command) -> Self {
        if let Some(limit) = CORE.get() {
            set_core_limit(&mut command, *limit);
        }
        Self {
            command,
            kind: Kind::Ours,
            shows_errors: false,
        }
    }

    /// Makes the program write no core file.
    pub fn without_core(mut self) -> Self {
        let none = Rlimit {
            current: Some(0),
            maximum: getrlimit(Resource::Core).maximum,
        };
        set_core_limit(&mut self.command, none);
        self
    }

    /// Starts the program in a new session and process group, so that a Ctrl-C in the terminal does not reach it.
    pub fn own_session(mut self) -> Self {
        set_session(&mut self.command);
        self
    }

    /// Lists the session in a file before the program starts, with a tag, so that its processes are found after the
    /// program was cut short. The caller notes in the file that the program was not ([`SessionLog::end`]).
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn session_in(mut self, log: &SessionLog, tag: &str) -> Result<Self> {
        let recorded = log.record(&mut self.command, tag);
        let shown = log.0.display();
        recorded.map_err(|error| {
            Error::other(format!("failed to write `{shown}`")).with_source(error)
        })?;
        Ok(self)
    }

    /// Makes the kernel kill the program when the thread that starts the program ends.
    ///
    /// That thread must therefore outlive the program.
    pub fn dies_with_parent(mut self) -> Self {
        die_with_parent(&mut self.command);
        self
    }

    /// Marks the program as a user's script, which [`kill_scripts`] kills.
    pub fn script(mut self) -> Self {
        self.kind = Kind::Script;
        self
    }

    /// Starts the program; the caller waits for its exit.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start(mut self) -> Result<Child> {
        let program = self.program();
        let started = self.command.spawn();
        started.map_err(|error| cannot_start(&program, error))
    }

    /// Starts the program as a tokio child.
    ///
    /// # Errors
    /// If the program cannot be started, or outside a tokio runtime.
    pub fn start_async(self) -> Result<tokio::process::Child> {
        tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let program = self.program();
        // Dropped at the end of this function: the command keeps its ends of the child's streams open.
        let mut command = tokio::process::Command::from(self.command);
        let started = command.spawn();
        started.map_err(|error| cannot_start(&program, error))
    }

    /// Passes standard error of the program through.
    pub fn shows_errors(mut self) -> Self {
        self.shows_errors = true;
        self
    }

    /// Runs the program in this session until it exits and collects its output, of standard error the end.
    ///
    /// # Errors
    /// If the program cannot be started; [`ErrorKind::Infra`] if its standard output exceeds 1 GiB.
    pub fn output(mut self) -> Result<Output> {
        let program = self.program();
        let stderr = match self.shows_errors {
            true => Stdio::inherit(),
            false => Stdio::piped(),
        };
        let command = self.command.stdin(Stdio::null()).stdout(Stdio::piped());
        let started = command.stderr(stderr).spawn();
        let mut child = started.map_err(|error| cannot_start(&program, error))?;
        let mut pump = Pump::new(&mut child, b"", bounded::LISTS, &|_| {})?;
        while !pump.is_closed() {
            if let Err(error) = pump.step(None, Duration::MAX) {
                let _ = child.kill();
                let _ = child.wait();
                return Err(unread(&program, error));
            }
        }
        let (stdout, stderr) = pump.finish();
        Ok(Output {
            status: child.wait()?,
            stdout,
            stderr,
        })
    }

    /// Runs the program in a new session until it exits, with `input` on its standard input.
    ///
    /// `on_stderr` is called with each line of standard error as it arrives, without its newline. The function does not
    /// wait for background processes of the program. The process group is killed after `timeout`.
    ///
    /// # Errors
    /// If the program cannot be started; [`ErrorKind::Infra`] if its standard output exceeds 16 MiB;
    /// [`ErrorKind::Timeout`] after the timeout.
    pub fn run(
        mut self,
        input: &[u8],
        timeout: Duration,
        on_stderr: &dyn Fn(&str),
    ) -> Result<Finished> {
        let program = self.program();
        let started = Instant::now();
        let group = RunningProgram::spawn(&mut self.command, self.kind);
        let mut group = group.map_err(|error| cannot_start(&program, error))?;
        let mut pump = Pump::new(&mut group.child, input, bounded::LIMIT, on_stderr)?;
        let mut ended: Option<(ExitStatus, Instant)> = None;
        loop {
            let left = match ended {
                Some(_) if pump.is_closed() => break,
                Some((_, at)) => QUIET
                    .saturating_sub(pump.last.max(at).elapsed())
                    .min(DRAIN.saturating_sub(at.elapsed())),
                None => timeout.saturating_sub(started.elapsed()),
            };
            if left.is_zero() {
                break;
            }
            match ended {
                Some(_) => pump.step(None, left),
                None => pump.step(group.pidfd.as_ref(), left),
            }
            .map_err(|error| unread(&program, error))?;
            if ended.is_none() {
                ended = group.try_wait()?.map(|status| (status, Instant::now()));
            }
        }
        let Some((status, _)) = ended else {
            let limit = humantime::format_duration(timeout);
            let message = format!("`{program}` timed out after {limit}");
            return Err(Error::new(ErrorKind::Timeout, message));
        };
        let held = !pump.is_closed();
        let (stdout, stderr) = pump.finish();
        Ok(Finished {
            status,
            stdout,
            stderr,
            held,
            pid: group.child.id(),
        })
    }

    fn program(&self) -> String {
        self.command.get_program().to_string_lossy().into_owned()
    }
}

/// The error of a program whose output cannot be read.
fn unread(program: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::FileTooLarge => {
            Error::infra(format!("standard output of `{program}` is {error}"))
        }
        _ => error.into(),
    }
}

/// Removes this tool's variables from the environment of a program of the user.
pub(crate) fn remove_own_variables(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TARGET_TEST_") {
            command.env_remove(name);
        }
    }
}

/// True if this process has a controlling terminal, from which it and its children can be stopped.
pub fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Returns the program and the arguments of a command.
pub(crate) fn words(command: &Command) -> Vec<String> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| word.to_string_lossy().into_owned());
    words.collect()
}

/// Describes an exit status: `exited with code 3`, `was killed by signal 9`.
pub fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended with an unknown status".to_owned(),
    }
}

/// Kills every script ([`Spawn::script`]) that [`Spawn::run`] is waiting for, with its session.
///
/// The callers of [`Spawn::run`] get an exit status of signal 9.
pub fn kill_scripts() {
    for (pid, _) in running().iter().filter(|(_, kind)| *kind == Kind::Script) {
        kill_group(*pid);
    }
}

fn set_session(command: &mut Command) {
    before_exec(command, || Ok(rustix::process::setsid().map(drop)?));
}

fn set_core_limit(command: &mut Command, limit: Rlimit) {
    before_exec(command, move || Ok(setrlimit(Resource::Core, limit)?));
}

fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    before_exec(command, move || {
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // No signal is sent if the parent died before the line above.
        if rustix::process::getppid() != Some(parent) {
            return Err(rustix::io::Errno::CANCELED.into());
        }
        Ok(())
    });
}

/// Runs `calls` in the new process between fork and exec, where only system calls are permitted, and no allocation.
#[expect(unsafe_code, reason = "the only place that runs code there")]
fn before_exec(
    command: &mut Command,
    calls: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: the callers make async-signal-safe system calls only: setsid, setrlimit, prctl, getppid, open, read and
    // write. Nothing allocates, and nothing accesses memory of others.
    unsafe {
        command.pre_exec(calls);
    }
}

/// The kind of a program.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// A short helper program of this tool.
    Ours,
    /// A program of the user, which may run for any time.
    Script,
}

/// A running program and its process group.
///
/// The group is listed in [`running`] until the program is reaped, so that a reused process id is never killed.
struct RunningProgram {
    child: Child,
    pid: Pid,
    /// Readable when the program has ended; `None` on old kernels and other systems.
    pidfd: Option<OwnedFd>,
}

impl RunningProgram {
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

impl Drop for RunningProgram {
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
    sync::lock(&RUNNING)
}

/// Kills a process that leads a session and a group, and has not been reaped, with all others of these.
pub fn kill_group(leader: Pid) {
    // Before the leader: its children are found by their parents.
    marked::kill_session(leader);
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
        Error::new(ErrorKind::Other, format!("failed to start `{program}`")).with_source(error);
    if missing {
        failed.with_hint(format!("check that `{program}` is installed and in PATH"))
    } else {
        failed
    }
}

#[cfg(test)]
mod tests;
