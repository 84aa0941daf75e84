//! The processes of this machine. A test finds its own by what no other test's have: a folder of its own.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

use super::eventually;

/// A process that was there a moment ago.
#[derive(Clone, Copy)]
pub(crate) struct Running(pub(crate) Pid);

/// Returns the processes for which this holds.
pub(crate) fn running(holds: impl Fn(Running) -> bool) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let processes = pids.filter_map(Pid::from_raw).map(Running);
    processes
        .filter(|one| holds(*one))
        .map(|one| one.0)
        .collect()
}

/// Returns the brokers of a pool.
pub(crate) fn brokers(pool: &Path) -> Vec<Pid> {
    let words = ["broker", "--pool", pool.to_str().expect("UTF-8")];
    running(|one| one.words().ends_with(&words.map(str::to_owned)))
}

/// Ends the brokers of a pool, as their idle time would; what they had deployed goes with them.
pub(crate) fn end_brokers(pool: &Path) {
    for broker in brokers(pool) {
        let _ = kill_process(broker, Signal::TERM);
    }
    eventually("the end of the brokers", || brokers(pool).is_empty());
}

impl Running {
    /// Returns the program and its arguments.
    pub(crate) fn words(self) -> Vec<String> {
        let line = self.read("cmdline");
        let line = line.strip_suffix('\0').unwrap_or(&line);
        line.split('\0').map(str::to_owned).collect()
    }

    /// True if a variable of the environment with which it was started begins like this: `NAME=value`.
    pub(crate) fn has_variable(self, beginning: &str) -> bool {
        let variables = self.read("environ");
        variables.split('\0').any(|one| one.starts_with(beginning))
    }

    /// True if it sees a mount on or of a path that contains this.
    pub(crate) fn has_mount(self, path: &str) -> bool {
        self.read("mountinfo").contains(path)
    }

    fn read(self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.0.as_raw_nonzero());
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }
}
