//! The processes of this host and their descent, as `/proc/*/stat` shows them to every user.
//!
//! Must not start or kill processes.

use std::{collections::BTreeSet, fmt, fs, path::Path};

use rustix::process::Pid;

use crate::bounded;

/// A process at the time when `/proc` was read.
#[derive(Clone, Debug)]
pub(crate) struct ProcessEntry {
    pub(super) pid: Pid,
    pub(super) parent: i32,
    pub(super) session: i32,
    /// Clock ticks since boot.
    pub(crate) started: u64,
    program: String,
    pub(crate) is_stopped: bool,
}

/// All processes of this host except zombies and this process; empty without `/proc`.
pub(super) struct Table(Vec<ProcessEntry>);

impl Table {
    pub(super) fn read() -> Self {
        let own = rustix::process::getpid();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let all = pids.filter_map(|pid: i32| {
            ProcessEntry::of(Pid::from_raw(pid)?).filter(|process| process.pid != own)
        });
        Self(all.collect())
    }

    /// Returns the processes for which `is_root` is true, and all their descendants.
    pub(super) fn trees(&self, is_root: impl Fn(&ProcessEntry) -> bool) -> Vec<&ProcessEntry> {
        let mut found: BTreeSet<i32> = BTreeSet::new();
        loop {
            let before = found.len();
            for process in &self.0 {
                if found.contains(&process.parent) || is_root(process) {
                    found.insert(process.id());
                }
            }
            if found.len() == before {
                break;
            }
        }
        let all = self.0.iter();
        all.filter(|process| found.contains(&process.id()))
            .collect()
    }
}

impl ProcessEntry {
    /// Returns the process with this id; `None` if it has ended or is a zombie, or without `/proc`.
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        Self::parse(&stat)
    }

    /// The process id as a number.
    pub(super) fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Parses `/proc/PID/stat`; `None` for a zombie.
    pub(super) fn parse(stat: &str) -> Option<Self> {
        // The name, in parentheses, may contain any character.
        let (pid, rest) = stat.split_once(" (")?;
        let (program, rest) = rest.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let is_gone = matches!(*fields.first()?, "Z" | "X");
        let process = Self {
            pid: Pid::from_raw(pid.parse().ok()?)?,
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
            program: program.to_owned(),
            is_stopped: matches!(*fields.first()?, "T" | "t"),
        };
        Some(process).filter(|_| !is_gone)
    }
}

/// A process that still runs although it was to be killed: `sudo` (pid 4711, user root).
#[derive(Clone, Debug)]
pub struct LeftProcess {
    pid: Pid,
    program: String,
    user: String,
    is_stopped: bool,
}

impl LeftProcess {
    pub(super) fn of(process: &ProcessEntry) -> Self {
        Self {
            pid: process.pid,
            program: process.program.clone(),
            user: user_of(process.pid),
            is_stopped: process.is_stopped,
        }
    }

    /// Describes a process by its number; `None` if it has ended or is a zombie.
    pub fn find(pid: Pid) -> Option<Self> {
        ProcessEntry::of(pid).map(|process| Self::of(&process))
    }

    /// Joins descriptions: `` `sudo` (pid 4711, user root), `sh` (pid 4712, user root) ``.
    pub fn list(all: &[Self]) -> String {
        let all: Vec<_> = all.iter().map(Self::to_string).collect();
        all.join(", ")
    }
}

impl fmt::Display for LeftProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` (pid {}, user {}{})",
            self.program,
            self.pid.as_raw_nonzero(),
            self.user,
            if self.is_stopped { ", stopped" } else { "" }
        )
    }
}

/// Returns the name of the effective user of this process, or the user's number.
pub fn user() -> String {
    user_of(rustix::process::getpid())
}

/// Returns the name of the effective user of a process, or the user's number.
fn user_of(pid: Pid) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()));
    let status = status.unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let Some(uid) = ids.and_then(|ids| ids.split_ascii_whitespace().nth(1)) else {
        return "unknown".to_owned();
    };
    let users = bounded::read_to_string(Path::new("/etc/passwd")).unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| uid.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let tail = "1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        let found = ProcessEntry::parse(&format!("9 (a) R (b) S {tail}")).unwrap();
        assert_eq!(found.program, "a) R (b");
        assert_eq!((found.parent, found.session, found.started), (1, 7, 4242));
        assert!(ProcessEntry::parse(&format!("9 (sh) Z {tail}")).is_none());
    }
}
