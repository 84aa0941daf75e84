//! The test process: starts, watches and times it, and kills the processes that it leaves behind.
//!
//! The runner is a subreaper: it becomes the parent of all processes that the test leaves behind, including daemons
//! with their own session. Must not know verdicts.

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{net::UnixStream, process::CommandExt as _},
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
    wire::{EarlyEnd, Exit, Failure, FailureKind},
};

use super::{
    broker::{BrokerClient, News},
    tees::Tees,
};
use crate::{
    error::Result,
    execute::executor::exit_of,
    process::{self, LeftProcess, Watch},
};

/// The time that a test has to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);
/// The time limit for killed processes to end.
const STUBBORN: Duration = Duration::from_secs(2);
/// The time limit for the output of processes that cannot be killed.
const LAST_OUTPUT: Duration = Duration::from_millis(100);

/// The signals by which nextest or a user ends a case. The test shares the runner's process group and receives the
/// signals too; the runner waits for its end.
pub(super) struct CaughtSignals {
    caught: Arc<AtomicBool>,
    /// Readable after a signal, so that a wait that begins at the same moment ends too.
    pipe: UnixStream,
}

impl CaughtSignals {
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

/// The end of a test process.
pub(super) struct ChildEnd {
    pub(super) exit: Exit,
    /// The time limit that passed, if one did.
    pub(super) timed_out: Option<Duration>,
    pub(super) interrupted: bool,
    /// The reason the test was killed: an instance is lost or the broker has gone.
    pub(super) lost: Option<Failure>,
    pub(super) duration: Duration,
    pub(super) remains: TestRemains,
}

/// Returns the failure of a test whose broker ended before the test.
pub(super) fn gone() -> Failure {
    let message = "broker gone: the `cargo target-test` of this run has ended";
    Failure::new(FailureKind::Infra, message)
}

/// The treatment of a test's output.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum OutputHandling {
    /// A test without a lease uses nextest's pipes, and nextest detects the processes that the test leaves behind.
    Theirs,
    /// The output is kept in files, unless it goes to a terminal.
    Kept,
    /// The output is always kept in files and secrets are removed, even on a terminal.
    Redacted,
}

/// The times that a test has.
#[derive(Clone, Copy, Default)]
pub(super) struct CaseLimits {
    /// The time limit of the test.
    pub(super) timeout: Option<Duration>,
    /// The time to end by itself when the broker tells it to, which takes the place of signals; `None`: signals end it.
    pub(super) stops_within: Option<Duration>,
    /// The time limit of the set-up of a test that ends by itself; `timeout` counts when the broker says so.
    pub(super) set_up: Option<Duration>,
}

impl CaseLimits {
    /// Returns the time limit that counts from the start.
    fn first(self) -> Option<Duration> {
        match self.stops_within {
            Some(_) => self.set_up,
            None => self.timeout,
        }
    }
}

/// Runs the test until it ends, and keeps its output in the files of `kept`.
pub(super) fn run(
    mut command: Command,
    limits: CaseLimits,
    (output, kept): (OutputHandling, Option<&Path>),
    signals: &CaughtSignals,
    broker: &mut BrokerClient,
) -> Result<ChildEnd> {
    let ours = output != OutputHandling::Theirs;
    if ours {
        process::reap_descendants()?;
    }
    if output == OutputHandling::Redacted || (ours && !std::io::stdout().is_terminal()) {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    if limits.stops_within.is_some() {
        // The signals to this process's group do not reach the test.
        command.process_group(0);
    }
    let started = Instant::now();
    let mut child = process::Spawn::new(command).dies_with_parent().start()?;
    broker.started(child.id())?;
    let mut tees = Tees::of(&mut child, kept);
    let mut guard = Guard {
        pid: Pid::from_child(&child),
        limits,
        limit: limits.first(),
        deadline: limits.first().map(|limit| started + limit),
        is_stopping: false,
        timed_out: None,
        lost: None,
    };
    let status = guard.wait(&mut child, &mut tees, (signals, broker))?;
    let duration = started.elapsed();
    let remains = match ours {
        true => kill_descendants(),
        false => TestRemains::default(),
    };
    tees.drain(match remains.left.is_empty() {
        true => None,
        false => Some(LAST_OUTPUT),
    });
    Ok(ChildEnd {
        exit: exit_of(status),
        timed_out: guard.timed_out,
        interrupted: signals.caught(),
        lost: guard.lost,
        duration,
        remains,
    })
}

/// Ends this process by the signal that ended the test, so that nextest shows the signal.
pub(super) fn die_by(name: &str) -> u8 {
    let number = process::signal_number(name).unwrap_or(6);
    let _ = signal_hook::low_level::emulate_default_handler(number);
    128_u8.saturating_add(u8::try_from(number).unwrap_or(0))
}

/// Decides when the test gets SIGTERM and when it is killed.
struct Guard {
    pid: Pid,
    limits: CaseLimits,
    /// The time limit that counts.
    limit: Option<Duration>,
    /// The time of the next action.
    deadline: Option<Instant>,
    /// True if the test was told to end; it is killed at the next deadline.
    is_stopping: bool,
    /// The time limit that passed, if one did.
    timed_out: Option<Duration>,
    /// The reason the test was killed: the broker, nextest or an instance is gone.
    lost: Option<Failure>,
}

impl Guard {
    /// Waits for the end of the test, and ends the test when it must end.
    fn wait(
        &mut self,
        child: &mut Child,
        tees: &mut Tees,
        (signals, broker): (&CaughtSignals, &mut BrokerClient),
    ) -> Result<ExitStatus> {
        let watch = Watch::new(self.pid);
        let parent = rustix::process::getppid().map(Watch::new);
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            let waits_for_signal = self.limits.stops_within.is_some() && !self.is_stopping;
            let signal = waits_for_signal.then(|| signals.fd());
            let facts = tees.poll(&watch, parent.as_ref(), (broker.fd(), signal), self.pause())?;
            if self.lost.is_none() {
                let news = facts.broker_speaks.then(|| broker.news());
                match news.or(facts.parent_gone.then(|| News::Lost(gone()))) {
                    Some(News::ClockStarts) => self.clock_starts(),
                    Some(News::Lost(failure)) => {
                        self.lost = Some(failure);
                        let _ = rustix::process::kill_process(self.pid, Signal::KILL);
                    }
                    None => {}
                }
            }
            if waits_for_signal && signals.caught() {
                self.stop(broker, EarlyEnd::Interrupted);
            }
            self.step(broker);
        }
    }

    fn pause(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    fn step(&mut self, broker: &mut BrokerClient) {
        if self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
        {
            if self.is_stopping {
                let _ = rustix::process::kill_process(self.pid, Signal::KILL);
                self.deadline = Some(Instant::now() + GRACE);
            } else {
                self.timed_out = self.limit;
                self.stop(broker, EarlyEnd::TimedOut(self.limit.unwrap_or_default()));
            }
        }
    }

    /// Begins to count the time of a test that is set up.
    fn clock_starts(&mut self) {
        if !self.is_stopping {
            self.limit = self.limits.timeout;
            self.deadline = self.limit.map(|limit| Instant::now() + limit);
        }
    }

    /// Tells the test to end, by the broker or by a signal.
    fn stop(&mut self, broker: &mut BrokerClient, reason: EarlyEnd) {
        self.is_stopping = true;
        match self.limits.stops_within {
            // A broker that is gone is noticed by the next wait.
            Some(_) => drop(broker.stop(reason)),
            None => terminate(self.pid),
        }
        self.deadline = Some(Instant::now() + self.limits.stops_within.unwrap_or(GRACE));
    }
}

/// Sends SIGTERM to the test's process group if nextest created the group, else to the test.
fn terminate(pid: Pid) {
    let _ = if rustix::process::getpgrp() == rustix::process::getpid() {
        // Not by pid: a group 1 would mean all processes.
        rustix::process::kill_current_process_group(Signal::TERM)
    } else {
        rustix::process::kill_process(pid, Signal::TERM)
    };
}

/// The processes that a test left behind.
#[derive(Default)]
pub(super) struct TestRemains {
    /// Those that the runner killed, by their numbers.
    pub(super) killed: BTreeMap<i32, LeftProcess>,
    /// Those that the runner could not kill.
    pub(super) left: Vec<LeftProcess>,
}

/// Kills all processes that the test left behind. A process that cannot be killed, such as `sudo`, is waited for for 2 s.
fn kill_descendants() -> TestRemains {
    let mut remains = TestRemains::default();
    let started = Instant::now();
    loop {
        // Usually there are no children, and `/proc` need not be read.
        let waited = rustix::process::wait(WaitOptions::NOHANG);
        let mut children = match waited {
            Err(rustix::io::Errno::CHILD) => Vec::new(),
            _ => process::children(),
        };
        children.retain(|pid| !is_broker(*pid));
        if children.is_empty() {
            return remains;
        }
        for pid in &children {
            if let Some(process) = LeftProcess::find(*pid) {
                remains.killed.insert(pid.as_raw_nonzero().get(), process);
            }
            let _ = rustix::process::kill_process(*pid, Signal::KILL);
            let _ = rustix::process::waitpid(Some(*pid), WaitOptions::NOHANG);
        }
        if started.elapsed() > STUBBORN {
            let children = children.iter().map(|pid| pid.as_raw_nonzero().get());
            let left = children.filter_map(|pid| remains.killed.remove(&pid));
            remains.left = left.collect();
            return remains;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Returns true for a broker that a `cargo test` inside the test started. Such a broker serves the whole pool and ends
/// by itself. Processes that a broker starts inherit its variable, but do not have its verb.
fn is_broker(pid: Pid) -> bool {
    let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let verb = line.split(|byte| *byte == 0).nth(1);
    verb == Some(b"broker") && process::has_variable(pid, env::SERVES)
}
