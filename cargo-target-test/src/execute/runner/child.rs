//! The test process: started, watched, timed, and nothing of it left.
//!
//! Owns one child and everything it starts: as a subreaper the runner becomes the parent of what the
//! test leaves behind, daemons with a session of their own included, and kills it. Must not know
//! verdicts.

use std::{
    io::IsTerminal,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{net::UnixStream, process::ExitStatusExt},
    },
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitOptions};
use target_fixtures::{
    env,
    wire::{Exit, Failure, FailureKind},
};

use super::tees::Tees;
use crate::{
    error::Result,
    process::{self, Watch},
};

/// How long a test may take to end after it was told to.
const GRACE: Duration = Duration::from_secs(10);

/// The signals by which nextest, or a user, ends a case. They reach the test too, which shares our
/// process group; we stay to see it end.
pub(super) struct Signals {
    caught: Arc<AtomicBool>,
    /// Readable from then on: a wait begun at the same moment ends too.
    pipe: UnixStream,
}

impl Signals {
    pub(super) fn catch() -> Result<Self> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
        let caught = Arc::new(AtomicBool::new(false));
        let (pipe, write) = UnixStream::pair()?;
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&caught))?;
            signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Self { caught, pipe })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    pub(super) fn caught(&self) -> bool {
        self.caught.load(Ordering::Relaxed)
    }
}

/// How a test process ended.
pub(super) struct ChildEnd {
    pub(super) exit: Exit,
    pub(super) timed_out: bool,
    pub(super) interrupted: bool,
    /// Why it was killed: an instance is lost, or the broker gone.
    pub(super) lost: Option<Failure>,
    pub(super) duration: Duration,
    /// Processes that were left behind, and killed.
    pub(super) left: Vec<String>,
}

/// The tie to whoever decides that a test goes on.
pub(super) trait Lifeline {
    /// Tells the number of the test process.
    ///
    /// # Errors
    /// When there is nobody to tell any more.
    fn started(&mut self, pid: u32) -> Result<()>;

    /// Readable when the test must end.
    fn fd(&self) -> BorrowedFd<'_>;

    /// The reason, once [`Lifeline::fd`] is readable: an instance is lost, or the broker gone.
    fn lost(&mut self) -> Failure;
}

/// The reason a test ends whose broker ended before it did.
pub(super) fn gone() -> Failure {
    Failure {
        kind: FailureKind::Infra,
        message: "broker gone: the `cargo target-test` of this run has ended".to_owned(),
        hint: None,
    }
}

/// What becomes of a test's output.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Output {
    /// The test (which has no lease) keeps nextest's own pipes, and what it leaves behind is nextest's to notice.
    Theirs,
    /// Its end is kept, unless it is a terminal.
    Kept,
    /// The same, a terminal too, for there are secrets to be taken out of it.
    Redacted,
}

/// Runs the test to its end; its output is kept in the files of `kept` too.
pub(super) fn run(
    mut command: Command,
    limit: Option<Duration>,
    (output, kept): (Output, Option<&Path>),
    signals: &Signals,
    lifeline: &mut dyn Lifeline,
) -> Result<ChildEnd> {
    let ours = output != Output::Theirs;
    if ours {
        process::reap_descendants()?;
    }
    if output == Output::Redacted || (ours && !std::io::stdout().is_terminal()) {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    let started = Instant::now();
    let mut child = process::Spawn::new(command).dies_with_parent().start()?;
    lifeline.started(child.id())?;
    let mut tees = Tees::of(&mut child, kept);
    let mut guard = Guard {
        pid: Pid::from_child(&child),
        deadline: limit.map(|limit| started + limit),
        timed_out: false,
        lost: None,
    };
    let status = guard.wait(&mut child, &mut tees, lifeline)?;
    let duration = started.elapsed();
    let left = if ours { kill_descendants() } else { Vec::new() };
    tees.drain();
    Ok(ChildEnd {
        exit: exit_of(status),
        timed_out: guard.timed_out,
        interrupted: signals.caught(),
        lost: guard.lost,
        duration,
        left,
    })
}

/// Ends this process by the signal that ended the test, so that nextest shows it.
pub(super) fn die_by(name: &str) -> u8 {
    let number = process::signal_number(name).unwrap_or(6);
    // No second core dump beside the test's own.
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    let _ = signal_hook::low_level::emulate_default_handler(number);
    128_u8.saturating_add(u8::try_from(number).unwrap_or(0))
}

/// Decides when the test is told to end, and when it is killed.
struct Guard {
    pid: Pid,
    /// The next moment to act at.
    deadline: Option<Instant>,
    /// Told to end, since its time was up; killed at the next deadline.
    timed_out: bool,
    /// The broker or nextest is gone, or the broker says that an instance is; killed.
    lost: Option<Failure>,
}

impl Guard {
    /// Waits for the end of the test, and brings it about where it is due.
    fn wait(
        &mut self,
        child: &mut Child,
        tees: &mut Tees,
        lifeline: &mut dyn Lifeline,
    ) -> Result<ExitStatus> {
        let watch = Watch::new(self.pid);
        let parent = rustix::process::getppid().map(Watch::new);
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            let facts = tees.poll(&watch, parent.as_ref(), lifeline.fd(), self.pause())?;
            if self.lost.is_none() && (facts.parent_gone || facts.broker_speaks) {
                self.lost = Some(match facts.broker_speaks {
                    true => lifeline.lost(),
                    false => gone(),
                });
                let _ = rustix::process::kill_process(self.pid, Signal::KILL);
            }
            self.step();
        }
    }

    fn pause(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    fn step(&mut self) {
        if self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
        {
            if self.timed_out {
                let _ = rustix::process::kill_process(self.pid, Signal::KILL);
            } else {
                self.timed_out = true;
                terminate(self.pid);
            }
            self.deadline = Some(Instant::now() + GRACE);
        }
    }
}

/// TERM to the test's process group, which is ours where nextest made it.
fn terminate(pid: Pid) {
    let _ = if rustix::process::getpgrp() == rustix::process::getpid() {
        // Not by its number: a group 1 would be everything there is.
        rustix::process::kill_current_process_group(Signal::TERM)
    } else {
        rustix::process::kill_process(pid, Signal::TERM)
    };
}

/// Kills what the test left behind, until nothing is left; returns what it was.
fn kill_descendants() -> Vec<String> {
    let mut left = Vec::new();
    loop {
        // Usually there is no child at all, and nothing to look for in `/proc`.
        let waited = rustix::process::wait(WaitOptions::NOHANG);
        let mut children = match waited {
            Err(rustix::io::Errno::CHILD) => Vec::new(),
            _ => process::children(),
        };
        children.retain(|pid| !is_broker(*pid));
        if children.is_empty() {
            return left;
        }
        for pid in children {
            if let Some(name) = process::name_if_alive(pid) {
                left.push(format!("`{name}` (pid {})", pid.as_raw_nonzero()));
            }
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
        }
    }
}

/// True for a broker that the test's own `cargo test` started, by whatever tool: it serves the whole pool, and ends by
/// itself. What a broker starts has its variable too, but not its verb.
fn is_broker(pid: Pid) -> bool {
    let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let verb = line.split(|byte| *byte == 0).nth(1);
    verb == Some(b"broker") && process::has_variable(pid, env::SERVES)
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(process::signal_name(signal.unwrap_or(0))),
    }
}
