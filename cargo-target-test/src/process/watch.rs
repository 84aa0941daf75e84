//! Observes other processes through pidfds and `/proc`: exit, name, start time, children.
//!
//! Must not start or kill processes.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use tokio::io::unix::AsyncFd;

use super::{readable, ready, table::ProcessEntry};
use crate::{bounded, error::Result};

/// Detects the exit of any process, without polling if the kernel supports pidfds.
#[derive(Debug)]
pub struct Watch {
    pid: Pid,
    fd: Option<OwnedFd>,
    /// The start time, which detects a reused process id; `None` if there is a pidfd.
    started: Option<u64>,
}

impl Watch {
    /// Watches a process that exists now.
    pub fn new(pid: Pid) -> Self {
        let fd = super::pidfd(pid);
        let started = fd.is_none().then(|| start_time(pid)).flatten();
        Self { pid, fd, started }
    }

    /// Returns a descriptor that becomes readable when the process exits, if any.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Returns the polling interval; `None` if there is a descriptor.
    pub fn pause(&self) -> Option<Duration> {
        self.fd.is_none().then_some(Duration::from_millis(20))
    }

    /// True if the process has ended.
    pub fn has_ended(&self) -> bool {
        if let Some(fd) = self.fd() {
            let ended = ready([Some(readable(fd))], Some(Duration::ZERO));
            return ended.is_ok_and(|[ended]| ended);
        }
        rustix::process::test_kill_process(self.pid).is_err()
            || start_time(self.pid) != self.started
    }
}

impl Watch {
    /// Waits until the process has ended. Requires a tokio runtime.
    #[expect(
        unsafe_code,
        reason = "tokio asks for the promise that a descriptor stays open"
    )]
    pub async fn gone(&self) {
        if let Some(Ok(fd)) = self.fd().map(|fd| fd.try_clone_to_owned()) {
            // SAFETY: `AsyncFd` owns the descriptor, which therefore stays open while it is registered.
            if let Ok(fd) = unsafe { AsyncFd::register(fd) } {
                let _ = fd.readable().await;
                return;
            }
        }
        while !self.has_ended() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Returns the start time of a process in clock ticks since boot, which distinguishes processes with the same id.
///
/// `None` if the process has ended or is a zombie, or without `/proc`.
pub fn start_time(pid: Pid) -> Option<u64> {
    ProcessEntry::of(pid).map(|process| process.started)
}

/// A process that outlives its starter: its id, and its start time, which distinguishes it from a later one with the id.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartedProcess {
    /// The process id.
    pub pid: i32,
    /// The start time, in clock ticks since the host's boot.
    pub started: Option<u64>,
}

impl StartedProcess {
    /// The process that has this id now.
    pub fn of(pid: i32) -> Self {
        let started = Pid::from_raw(pid).and_then(start_time);
        Self { pid, started }
    }

    /// True if the process has not ended.
    pub fn lives(self) -> bool {
        self.started.is_some() && Self::of(self.pid) == self
    }
}

/// Returns the ids of a process's parent, its parent's parent, and so on.
pub fn ancestors(pid: Pid) -> Vec<Pid> {
    let parent = |pid: &Pid| Pid::from_raw(ProcessEntry::of(*pid)?.parent);
    // As many as no real tree has, should a process id be reused while it is read.
    std::iter::successors(parent(&pid), parent)
        .take(1000)
        .collect()
}

/// Makes this process the parent of every descendant whose own parent exits.
///
/// # Errors
/// The error of the system call.
pub fn reap_descendants() -> Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(std::io::Error::from)?;
    Ok(())
}

/// Returns the children of this process, including zombies.
pub fn children() -> Vec<Pid> {
    let tasks = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let lists =
        tasks.filter_map(|task| bounded::read_to_string(&task.path().join("children")).ok());
    let all: Vec<_> = lists.collect();
    let pids = all.iter().flat_map(|list| list.split_whitespace());
    pids.filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}

/// Returns the shorter of two durations; `None` is infinite.
pub fn shortest(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    [a, b].into_iter().flatten().min()
}
