//! The one place that starts processes.
//!
//! Owns how programs are started, fed, waited for and killed. Must not know what they are for.

use std::{
    ffi::OsStr,
    io::{Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal},
};

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

/// Notices the end of a process, ours or not, without polling where the kernel can tell.
#[derive(Debug)]
pub struct Watch {
    pid: Pid,
    fd: Option<OwnedFd>,
    /// Where there is no pidfd, a number that was given to another process has another start time.
    started: Option<u64>,
}

impl Watch {
    /// Watches a process that exists now.
    pub fn new(pid: Pid) -> Self {
        #[cfg(target_os = "linux")]
        let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok();
        #[cfg(not(target_os = "linux"))]
        let fd = None;
        Self {
            pid,
            fd,
            started: start_time(pid),
        }
    }

    /// A descriptor that becomes readable at the end.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// How often to look where there is no descriptor.
    pub fn pause(&self) -> Option<Duration> {
        self.fd.is_none().then_some(Duration::from_millis(20))
    }

    /// Whether the process has ended.
    pub fn ended(&self) -> bool {
        if let Some(fd) = &self.fd {
            let mut fds = [PollFd::new(fd, PollFlags::IN)];
            return matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1..));
        }
        rustix::process::test_kill_process(self.pid).is_err()
            || start_time(self.pid) != self.started
    }
}

/// The start time of a process (clock ticks since boot), by which a number that was given again is
/// recognised. `None` where there is no such process, or no `/proc`.
pub fn start_time(pid: Pid) -> Option<u64> {
    stat_field(pid, 22)?.parse().ok()
}

/// A process's command name, unless it has ended (a zombie has).
pub fn name_if_alive(pid: Pid) -> Option<String> {
    if stat_field(pid, 3)? == "Z" {
        return None;
    }
    let name = std::fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero())).ok()?;
    Some(name.trim().to_owned())
}

/// Field `number` (from 3) of `/proc/PID/stat`, after the name, which may hold anything.
fn stat_field(pid: Pid, number: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number - 3).map(str::to_owned)
}

/// Makes this process the parent of every descendant whose own parent ends.
///
/// # Errors
/// What the kernel says.
pub fn reap_descendants() -> Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(std::io::Error::from)?;
    Ok(())
}

/// The children of this process, those that have ended and are not waited for included.
pub fn children() -> Vec<Pid> {
    let tasks = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let all: Vec<_> = lists.collect();
    let pids = all.iter().flat_map(|list| list.split_whitespace());
    pids.filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}

/// The shorter of two pauses, where `None` is for ever.
pub fn shortest(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    [a, b].into_iter().flatten().min()
}

const SIGNALS: &[(i32, &str)] = &[
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (4, "ILL"),
    (6, "ABRT"),
    (8, "FPE"),
    (9, "KILL"),
    (11, "SEGV"),
    (13, "PIPE"),
    (14, "ALRM"),
    (15, "TERM"),
];

/// A signal's name without `SIG`, or its number.
pub fn signal_name(number: i32) -> String {
    let known = SIGNALS.iter().find(|(n, _)| *n == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

/// The number of a signal's name as [`signal_name`] gives it.
pub fn signal_number(name: &str) -> Option<i32> {
    let known = SIGNALS
        .iter()
        .find(|(_, n)| *n == name)
        .map(|(number, _)| *number);
    known.or_else(|| name.parse().ok())
}
