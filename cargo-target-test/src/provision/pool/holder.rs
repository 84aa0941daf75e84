//! Holders: the process that holds a lease, and its purpose.
//!
//! Contains the texts of leases, and reads `/proc`. A text is for people and for the next holder; the lock shows if a
//! holder is alive.

use std::{
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::process::{ProcessEntry, kernel};

/// A process, identified by more than its number, which may be reused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The host's name.
    pub host: String,
    /// The host's boot id; empty if it has none.
    pub boot: String,
    /// The process's number.
    pub pid: u32,
    /// The start time, in clock ticks since boot (field 22 of `/proc/<pid>/stat`); 0 if unknown.
    pub started: u64,
}

/// The text of a lease.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// The process that the lease is held for: the runner of a case, a shell, ...
    pub process: ProcessIdentity,
    /// The run's id.
    pub run: String,
    /// The purpose: `smoke[alpha]`.
    pub case: String,
    /// The mark on every process that the lease starts.
    pub lease: String,
    /// The time at which the lease began, in seconds since 1970.
    pub since: u64,
    /// The id of the leased record; set by the pool.
    pub record: String,
    /// The marks of earlier holders whose processes may still run on the instance; set by the pool.
    pub unswept: Vec<String>,
    /// The user and the end of a lease that was taken by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<Manual>,
    /// The time at which the lease ends unless its holder renews it, in seconds since 1970; `None` if it ends with
    /// its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

/// The additional data of a lease that was taken by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manual {
    /// The user's number.
    pub uid: u32,
    /// The end of the lease, in seconds since 1970.
    pub until: u64,
}

impl ProcessIdentity {
    /// Returns this process.
    pub fn current() -> Self {
        Self::of(std::process::id())
    }

    /// Returns the process of this host that has this number now.
    pub fn of(pid: u32) -> Self {
        static HERE: OnceLock<(String, String)> = OnceLock::new();
        let (host, boot) = HERE.get_or_init(|| (kernel("hostname"), kernel("random/boot_id")));
        Self {
            host: host.clone(),
            boot: boot.clone(),
            pid,
            started: entry(pid).map_or(0, |process| process.started),
        }
    }

    /// True if no process of this host has this number.
    pub(super) fn is_gone(pid: u32) -> bool {
        entry(pid).is_none()
    }

    /// True if this was a process of this host and has ended. False if unknown.
    pub fn has_ended(&self) -> bool {
        let here = Self::current();
        let same_host = (&self.host, &self.boot) == (&here.host, &here.boot);
        same_host && entry(self.pid).is_none_or(|process| process.started != self.started)
    }

    /// True if the process runs on this host and is stopped (Ctrl-Z, SIGSTOP, a debugger).
    pub fn is_stopped(&self) -> bool {
        entry(self.pid).is_some_and(|process| process.is_stopped) && *self == Self::of(self.pid)
    }
}

impl Holder {
    /// A holder whose lease begins now. `lease` is its mark.
    pub fn new(process: ProcessIdentity, run: &str, case: &str, lease: &str) -> Self {
        Self {
            process,
            run: run.to_owned(),
            case: case.to_owned(),
            lease: lease.to_owned(),
            since: now(),
            ..Self::default()
        }
    }

    /// The marks of all processes that this and earlier holders may have left on the instance.
    pub fn marks(&self) -> impl Iterator<Item = &str> {
        let all = self.unswept.iter().chain([&self.lease]);
        all.map(String::as_str).filter(|mark| !mark.is_empty())
    }

    /// Parses a lease's text. A torn text gives an empty holder.
    pub(crate) fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// The holder for people: `pid 4711 smoke[alpha]`.
    pub fn who(&self) -> String {
        if self.process.pid == 0 {
            return "a process that is releasing it".to_owned();
        }
        let stopped = if self.process.is_stopped() {
            " (stopped)"
        } else {
            ""
        };
        format!("pid {} {}{stopped}", self.process.pid, self.case)
    }

    /// The holder with the age of its lease: `pid 4711 smoke[alpha], for 12 s`. For a lease by hand, with the remaining
    /// time: `pid 4711 lease of ann until 17:30, for 1 h 59 min more`.
    pub fn describe(&self) -> String {
        let who = self.who();
        match self.manual {
            _ if self.process.pid == 0 => who,
            Some(manual) => format!(
                "{who}, for {} more",
                time(manual.until.saturating_sub(now()))
            ),
            None => format!("{who}, for {}", time(now().saturating_sub(self.since))),
        }
    }
}

/// Formats seconds in their two largest units: `3 s`, `1 h 59 min`.
pub fn time(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown = parts[first..].iter().take(2);
    let shown = shown
        .enumerate()
        .filter(|(at, part)| *at == 0 || part.0 > 0);
    let words: Vec<_> = shown
        .map(|(_, (count, unit))| format!("{count} {unit}"))
        .collect();
    words.join(" ")
}

/// Returns the process with this number, if one lives.
fn entry(pid: u32) -> Option<ProcessEntry> {
    ProcessEntry::of(Pid::from_raw(pid.cast_signed())?)
}

/// Returns the seconds since 1970. This clock continues while the machine sleeps.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_is_told_apart_by_its_start() {
        let me = ProcessIdentity::current();
        assert!(me.started > 0 && !me.boot.is_empty());
        assert!(!me.is_stopped());
        assert_eq!(me, ProcessIdentity::of(me.pid));
    }

    #[test]
    fn a_torn_text_is_a_holder_that_says_nothing() {
        let holder = Holder::read("{\"proc");
        assert_eq!(holder, Holder::default());
        assert_eq!(holder.describe(), "a process that is releasing it");
    }

    #[test]
    fn a_holder_says_who_and_how_long() {
        let mut holder = Holder::new(ProcessIdentity::current(), "r", "smoke[alpha]", "l");
        holder.since -= 12;
        let pid = std::process::id();
        assert_eq!(
            holder.describe(),
            format!("pid {pid} smoke[alpha], for 12 s")
        );
        holder.manual = Some(Manual {
            uid: 0,
            until: now() + 7190,
        });
        let said = holder.describe();
        assert_eq!(said, format!("pid {pid} smoke[alpha], for 1 h 59 min more"));
    }

    #[test]
    fn times_have_two_units() {
        let times = [0, 59, 60, 61, 3600, 3661, 86_399, 86_400, 90_061].map(time);
        let expected = [
            "0 s",
            "59 s",
            "1 min",
            "1 min 1 s",
            "1 h",
            "1 h 1 min",
            "23 h 59 min",
            "1 d",
            "1 d 1 h",
        ];
        assert_eq!(times, expected);
    }
}
