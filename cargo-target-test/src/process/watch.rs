//! Other processes seen from outside: whether they live, what they are, what they leave behind.
//!
//! Owns what is read from `/proc` and pidfds. Must not start or kill anything.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::Pid,
};

use tokio::io::unix::AsyncFd;

use crate::error::Result;

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
        let fd = super::pidfd(pid);
        let started = fd.is_none().then(|| start_time(pid)).flatten();
        Self { pid, fd, started }
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

impl Watch {
    /// Done when the process has ended. Within a tokio runtime.
    #[expect(
        unsafe_code,
        reason = "tokio asks for the promise that a descriptor stays open"
    )]
    pub async fn gone(&self) {
        if let Some(Ok(fd)) = self.fd().map(|fd| fd.try_clone_to_owned()) {
            // SAFETY: the descriptor is owned by what is registered, and so open until it is deregistered.
            if let Ok(fd) = unsafe { AsyncFd::register(fd) } {
                let _ = fd.readable().await;
                return;
            }
        }
        while !self.ended() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
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
