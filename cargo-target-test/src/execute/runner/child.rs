//! The test process: started, watched, timed, and nothing of it left.
//!
//! Owns one child and everything it starts: as a subreaper the runner becomes the parent of what the
//! test leaves behind, daemons with a session of their own included, and kills it. Must not know
//! verdicts.

use std::{
    fs::File,
    io::{IsTerminal, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::ExitStatusExt},
    },
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, WaitOptions},
};
use target_fixtures::wire::{Exit, Failure};

use super::broker::{Broker, gone};
use crate::{
    error::Result,
    process::{self, Watch},
    ui,
};

/// How much of each output stream is reported, from its end.
const TAIL: usize = 64 << 10;
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
pub(super) struct Ended {
    pub(super) exit: Exit,
    pub(super) timed_out: bool,
    pub(super) interrupted: bool,
    /// Why it was killed: an instance is lost, or the broker gone.
    pub(super) lost: Option<Failure>,
    pub(super) duration: Duration,
    /// The end of standard output and of standard error; empty where they are a terminal.
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    /// Processes that were left behind, and killed.
    pub(super) left: Vec<String>,
}

/// Runs the test to its end. A test that is not `ours` (it has no lease) keeps nextest's own pipes, and
/// what it leaves behind is nextest's to notice.
pub(super) fn run(
    mut command: Command,
    limit: Option<Duration>,
    ours: bool,
    signals: &Signals,
    broker: &mut Broker,
) -> Result<Ended> {
    if ours {
        process::reap_descendants()?;
    }
    if ours && !std::io::stdout().is_terminal() {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    let started = Instant::now();
    let mut child = process::start_with_us(command)?;
    broker.started(child.id())?;
    let mut tees = Tees::of(&mut child);
    let mut guard = Guard {
        pid: Pid::from_child(&child),
        deadline: limit.map(|limit| started + limit),
        timed_out: false,
        lost: None,
    };
    let status = guard.wait(&mut child, &mut tees, broker)?;
    let duration = started.elapsed();
    let left = if ours { kill_descendants() } else { Vec::new() };
    tees.drain();
    let tail = |tee: Option<Tee>| tee.map_or_else(Vec::new, |tee| tee.tail);
    Ok(Ended {
        exit: exit_of(status),
        timed_out: guard.timed_out,
        interrupted: signals.caught(),
        lost: guard.lost,
        duration,
        stdout: tail(tees.stdout),
        stderr: tail(tees.stderr),
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

/// What one wait told.
struct Facts {
    parent_gone: bool,
    broker_speaks: bool,
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
        broker: &mut Broker,
    ) -> Result<ExitStatus> {
        let watch = Watch::new(self.pid);
        let parent = rustix::process::getppid().map(Watch::new);
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            let facts = tees.poll(&watch, parent.as_ref(), broker.fd(), self.pause())?;
            if self.lost.is_none() && (facts.parent_gone || facts.broker_speaks) {
                self.lost = Some(match facts.broker_speaks {
                    true => broker.lost(),
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

/// A pipe whose bytes go on to nextest, the last of them kept.
struct Tee {
    pipe: File,
    tail: Vec<u8>,
    open: bool,
}

impl Tee {
    fn new(pipe: OwnedFd) -> Self {
        Self {
            pipe: pipe.into(),
            tail: Vec::new(),
            open: true,
        }
    }

    fn pass(&mut self, to: fn(&[u8])) {
        let mut piece = [0; 16 << 10];
        match self.pipe.read(&mut piece) {
            Ok(0) => self.open = false,
            Ok(length) => {
                // nextest may close its end first; the test shall not die of that.
                to(&piece[..length]);
                self.tail.extend_from_slice(&piece[..length]);
                if self.tail.len() > 2 * TAIL {
                    self.tail.drain(..self.tail.len() - TAIL);
                }
            }
            Err(error) => self.open = error.kind() == std::io::ErrorKind::Interrupted,
        }
    }
}

/// Both pipes; none where the test has the terminal.
struct Tees {
    stdout: Option<Tee>,
    stderr: Option<Tee>,
}

impl Tees {
    fn of(child: &mut std::process::Child) -> Self {
        Self {
            stdout: child.stdout.take().map(|pipe| Tee::new(pipe.into())),
            stderr: child.stderr.take().map(|pipe| Tee::new(pipe.into())),
        }
    }

    /// Waits for output, for the end of the test, of nextest or of the broker.
    fn poll(
        &mut self,
        test: &Watch,
        parent: Option<&Watch>,
        broker: BorrowedFd<'_>,
        pause: Option<Duration>,
    ) -> Result<Facts> {
        let mut fds = vec![PollFd::from_borrowed_fd(broker, PollFlags::IN)];
        let watches = [Some(test), parent]
            .into_iter()
            .flatten()
            .filter_map(Watch::fd);
        fds.extend(watches.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let (out, err) = (open(self.stdout.as_ref()), open(self.stderr.as_ref()));
        let first = fds.len();
        let pipes = [out, err].into_iter().flatten().map(|tee| tee.pipe.as_fd());
        fds.extend(pipes.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let timeout = process::shortest(pause, test.pause());
        let timeout = timeout.map(|pause| Timespec::try_from(pause).unwrap_or_default());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let mut pipes = ready[first..].iter();
        let out = out.is_some() && pipes.next().copied().unwrap_or(false);
        let err = err.is_some() && pipes.next().copied().unwrap_or(false);
        self.pass(out, err);
        Ok(Facts {
            broker_speaks: ready[0],
            parent_gone: parent.is_some_and(Watch::ended),
        })
    }

    fn pass(&mut self, out: bool, err: bool) {
        if let (true, Some(tee)) = (out, &mut self.stdout) {
            tee.pass(ui::bytes_out);
        }
        if let (true, Some(tee)) = (err, &mut self.stderr) {
            tee.pass(ui::bytes);
        }
    }

    /// What is still in the pipes: their writers are gone, so this ends.
    fn drain(&mut self) {
        loop {
            let (out, err) = (
                readable(self.stdout.as_ref()),
                readable(self.stderr.as_ref()),
            );
            if !out && !err {
                break;
            }
            self.pass(out, err);
        }
        for tee in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
            let surplus = tee.tail.len().saturating_sub(TAIL);
            tee.tail.drain(..surplus);
        }
    }
}

fn open(tee: Option<&Tee>) -> Option<&Tee> {
    tee.filter(|tee| tee.open)
}

fn readable(tee: Option<&Tee>) -> bool {
    open(tee).is_some_and(|tee| {
        let mut fds = [PollFd::new(&tee.pipe, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1..))
    })
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

/// A broker that the test's own `cargo test` started serves the whole pool, and ends by itself.
fn is_broker(pid: Pid) -> bool {
    let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0);
    let program = words.next().unwrap_or_default();
    program.ends_with(b"cargo-target-test") && words.next() == Some(b"broker")
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(process::signal_name(signal.unwrap_or(0))),
    }
}
