//! Who holds something: a process, told apart from all others, and what it holds it for.
//!
//! Owns the texts in lock files and what `/proc` says of a process. Must not know locks: that a holder
//! lives is the kernel's word, this is only what people and the next holder read.

use std::{
    fs,
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// A process as no other ever was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// The host's name.
    pub host: String,
    /// The host's boot id; empty where there is none.
    pub boot: String,
    /// Its number.
    pub pid: u32,
    /// Its start, in clock ticks since boot (field 22 of `/proc/<pid>/stat`); 0 where unknown.
    pub started: u64,
}

/// The text in a lease's lock file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// For whom the lease is held: the runner of a case, a shell, ...
    pub process: Process,
    /// The run.
    pub run: String,
    /// What it is held for: `smoke[alpha]`.
    pub case: String,
    /// The lease's mark on everything that it starts on the instance.
    pub lease: String,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// The leased record; the pool fills it in.
    pub record: String,
    /// Marks of dead holders before this one, not swept when it took over; the pool fills it in.
    pub unswept: Vec<String>,
    /// The person whose it is, of a lease that somebody took by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<Manual>,
}

/// What a lease by hand is beside a run's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manual {
    /// The number of the user who took it.
    pub uid: u32,
    /// When it ends, in seconds since 1970.
    pub until: u64,
}

impl Process {
    /// This process.
    pub fn current() -> Self {
        Self::of(std::process::id())
    }

    /// A living process of this host.
    pub fn of(pid: u32) -> Self {
        static HERE: OnceLock<(String, String)> = OnceLock::new();
        let (host, boot) = HERE.get_or_init(|| (host(), boot()));
        Self {
            host: host.clone(),
            boot: boot.clone(),
            pid,
            started: stat(pid).map_or(0, |(_, started)| started),
        }
    }

    /// Whether this host has no such process.
    pub(super) fn is_gone(pid: u32) -> bool {
        stat(pid).is_none_or(|(state, _)| state == 'Z')
    }

    /// Whether it is known to have ended: it was on this host.
    pub fn has_ended(&self) -> bool {
        let here = Self::current();
        let same_host = (&self.host, &self.boot) == (&here.host, &here.boot);
        same_host
            && stat(self.pid).is_none_or(|(state, started)| state == 'Z' || started != self.started)
    }

    /// Whether it lives, on this host, but is stopped (Ctrl-Z, SIGSTOP, a debugger).
    pub fn is_stopped(&self) -> bool {
        stat(self.pid).is_some_and(|(state, started)| {
            matches!(state, 'T' | 't') && *self == Self::of(self.pid) && started == self.started
        })
    }
}

impl Holder {
    /// A holder from now on; `lease` is its mark.
    pub fn new(process: Process, run: &str, case: &str, lease: &str) -> Self {
        Self {
            process,
            run: run.to_owned(),
            case: case.to_owned(),
            lease: lease.to_owned(),
            since: now(),
            ..Self::default()
        }
    }

    /// The marks of everything that it, and those before it, may have left running.
    pub fn marks(&self) -> impl Iterator<Item = &str> {
        let all = self.unswept.iter().chain([&self.lease]);
        all.map(String::as_str).filter(|mark| !mark.is_empty())
    }

    /// From a lock file's text; one that says nothing if the text was torn.
    pub(crate) fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// Who it is: `pid 4711 smoke[alpha]`.
    pub fn who(&self) -> String {
        if self.process.pid == 0 {
            return "a process that is letting it go".to_owned();
        }
        let stopped = if self.process.is_stopped() {
            " (stopped)"
        } else {
            ""
        };
        format!("pid {} {}{stopped}", self.process.pid, self.case)
    }

    /// Who it is, and for how long it has been so: `pid 4711 smoke[alpha], for 12 s`; of a lease by hand how long that
    /// will be so: `pid 4711 lease of ann until 17:30, for 1 h 59 min more`.
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

/// A time in its two largest units: `3 s`, `1 h 59 min`.
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

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_default()
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// A process's state letter and start time; `None` where it does not exist or there is no `/proc`.
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name, in parentheses, and may itself hold any of both.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_is_told_apart_by_its_start() {
        let me = Process::current();
        assert!(me.started > 0 && !me.boot.is_empty());
        assert!(!me.is_stopped());
        assert_eq!(me, Process::of(me.pid));
    }

    #[test]
    fn a_torn_text_is_a_holder_that_says_nothing() {
        let holder = Holder::read("{\"proc");
        assert_eq!(holder, Holder::default());
        assert_eq!(holder.describe(), "a process that is letting it go");
    }

    #[test]
    fn a_holder_says_who_and_how_long() {
        let mut holder = Holder::new(Process::current(), "r", "smoke[alpha]", "l");
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
