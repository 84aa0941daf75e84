//! A run of the tool in a check, and its result.

use std::{
    ffi::OsStr,
    fmt,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus},
    thread,
    time::Duration,
};

use crate::process::{self, Finished};

/// The tool with arguments and environment, not started yet.
pub(super) struct ToolRun {
    pub(super) command: Command,
    /// The time limit after which the run counts as hung.
    pub(super) patience: Duration,
}

impl ToolRun {
    /// Sets an environment variable.
    pub(super) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs the tool to its end.
    #[track_caller]
    pub(super) fn run(self) -> ToolOutput {
        let line = format!("{:?}", self.command);
        match process::Spawn::new(self.command).run(b"", self.patience, &|_| {}) {
            Ok(finished) => ToolOutput::new(line, finished),
            Err(error) => panic!("{line}: {}", error.chain()),
        }
    }

    /// Starts the tool in the background.
    pub(super) fn start(self) -> thread::JoinHandle<ToolOutput> {
        thread::spawn(move || self.run())
    }
}

/// The exit status and the output of a run.
pub(super) struct ToolOutput {
    line: String,
    status: ExitStatus,
    text: String,
}

impl ToolOutput {
    fn new(line: String, finished: Finished) -> Self {
        let [stdout, stderr] =
            [&finished.stdout, &finished.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        Self {
            line,
            status: finished.status,
            text: format!("{stdout}{stderr}"),
        }
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(super) fn code(self, expected: i32) -> Self {
        let found = self.status.code();
        assert!(
            found == Some(expected),
            "expected exit code {expected} of {self}"
        );
        self
    }

    /// Asserts that the run died of SIGKILL; `why` describes when.
    #[track_caller]
    pub(super) fn killed(&self, why: &str) {
        assert_eq!(self.status.signal(), Some(9), "{why}: {self}");
    }

    /// Asserts that the run printed this text, on either stream.
    #[track_caller]
    pub(super) fn says(self, text: &str) -> Self {
        assert!(self.text.contains(text), "expected {text:?} of {self}");
        self
    }

    /// Asserts that the run did not print this text.
    #[track_caller]
    pub(super) fn never_says(self, text: &str) -> Self {
        assert!(!self.text.contains(text), "unexpected {text:?} of {self}");
        self
    }

    /// The number of output lines that contain all of these parts.
    pub(super) fn lines_with(&self, parts: &[&str]) -> usize {
        let has_all = |line: &&str| parts.iter().all(|part| line.contains(part));
        self.text.lines().filter(has_all).count()
    }
}

impl fmt::Display for ToolOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, status, text } = self;
        write!(f, "{line}: {status}\n{text}")
    }
}
