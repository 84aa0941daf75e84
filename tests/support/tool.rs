//! The tool as a process, and what came of it.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use super::PATIENCE;

/// The environment variables that a test's program inherits: the places of programs and of Cargo's caches.
const KEPT: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TMPDIR",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUSTFLAGS",
];

/// A command of the test's, in an environment of its own.
pub(crate) struct Tool {
    command: Command,
    patience: Duration,
}

impl Tool {
    /// `cargo-target-test` in this folder, with state, configuration and pool below `private`.
    pub(crate) fn new(directory: &Path, private: &Path) -> Self {
        Self::program(env!("CARGO_BIN_EXE_cargo-target-test"), directory, private)
    }

    /// Any program in the same environment.
    pub(crate) fn program(program: impl AsRef<OsStr>, directory: &Path, private: &Path) -> Self {
        let mut command = Command::new(program);
        command.current_dir(directory).env_clear();
        command.envs(
            KEPT.iter()
                .filter_map(|name| Some((*name, std::env::var_os(name)?))),
        );
        for (name, folder) in [
            ("XDG_STATE_HOME", "state"),
            ("XDG_RUNTIME_DIR", "run"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_CACHE_HOME", "cache"),
            ("TARGET_TEST_POOL", "pool"),
        ] {
            command.env(name, private.join(folder));
        }
        command.env("TARGET_TEST_TOOL", env!("CARGO_BIN_EXE_cargo-target-test"));
        command.env("NO_COLOR", "1").env("COLUMNS", "100");
        Self {
            command,
            patience: PATIENCE,
        }
    }

    /// Adds arguments.
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Waits for it for longer than for others, or shorter.
    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The command, to be started by the caller.
    pub(super) fn into_command(self) -> Command {
        self.command
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(self) -> Outcome {
        self.start().wait()
    }

    /// Starts it, in a process group of its own.
    #[track_caller]
    pub(crate) fn start(mut self) -> Started {
        let line = format!("{:?}", self.command);
        let output = TempDir::new().expect("a temporary folder");
        let file = |name| File::create(output.path().join(name)).expect("a temporary file");
        let child = self
            .command
            .process_group(0)
            .stdin(std::process::Stdio::null());
        let child = child.stdout(file("stdout")).stderr(file("stderr")).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
        Started {
            child,
            line,
            output,
            patience: self.patience,
            ended: false,
        }
    }
}

/// A running command; killed, with its process group, when the test lets go of it.
pub(crate) struct Started {
    child: Child,
    line: String,
    output: TempDir,
    patience: Duration,
    ended: bool,
}

impl Started {
    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The output so far: standard output, then standard error.
    pub(crate) fn printed(&self) -> String {
        self.read("stdout") + &self.read("stderr")
    }

    /// True if it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits until it has printed this.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + self.patience;
        while !self.printed().contains(text) {
            let ended = matches!(self.child.try_wait(), Ok(Some(_)));
            if (ended && !self.printed().contains(text)) || Instant::now() > deadline {
                panic!(
                    "{} never printed {text:?} but\n{}",
                    self.line,
                    self.printed()
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Signals the process alone.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid(), signal);
    }

    /// Signals its process group, as a terminal does for Ctrl-C.
    pub(crate) fn signal_group(&self, signal: Signal) {
        let _ = kill_process_group(self.pid(), signal);
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Outcome {
        let deadline = Instant::now() + self.patience;
        let mut pause = Duration::from_millis(1);
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < deadline => {}
                other => panic!("{} did not end ({other:?})\n{}", self.line, self.printed()),
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        self.ended = true;
        let (stdout, stderr) = (self.read("stdout"), self.read("stderr"));
        Outcome {
            line: self.line.clone(),
            status,
            stdout,
            stderr,
        }
    }

    fn read(&self, name: &str) -> String {
        let path: PathBuf = self.output.path().join(name);
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if thread::panicking() {
            let state = match self.has_ended() {
                true => "had ended",
                false => "still ran",
            };
            eprintln!("{} {state}; it had printed\n{}", self.line, self.printed());
        }
        self.signal_group(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// The exit status and the output of a command.
#[derive(Debug)]
pub(crate) struct Outcome {
    line: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// It must have exited with this code.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Self {
        let found = self.status.code();
        assert!(
            found == Some(expected),
            "{}",
            self.but(&format!("exit code {expected}"))
        );
        self
    }

    /// It must have printed this, on either stream.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let found = self.stdout.contains(text) || self.stderr.contains(text);
        assert!(found, "{}", self.but(&format!("{text:?}")));
        self
    }

    /// It must not have printed this, on either stream.
    #[track_caller]
    pub(crate) fn never_says(self, text: &str) -> Self {
        let found = self.stdout.contains(text) || self.stderr.contains(text);
        assert!(!found, "{}", self.but(&format!("not {text:?}")));
        self
    }

    /// One of its lines must hold all of these: `["PASS", "smoke[alpha]"]`.
    #[track_caller]
    pub(crate) fn line_with(self, parts: &[&str]) -> Self {
        let mut lines = self.stdout.lines().chain(self.stderr.lines());
        let found = lines.any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "{}", self.but(&format!("a line with {parts:?}")));
        self
    }

    /// The number of lines that contain all of these parts.
    pub(crate) fn lines_with(&self, parts: &[&str]) -> usize {
        let lines = self.stdout.lines().chain(self.stderr.lines());
        lines
            .filter(|line| parts.iter().all(|part| line.contains(part)))
            .count()
    }

    fn but(&self, expected: &str) -> String {
        let Self {
            line,
            status,
            stdout,
            stderr,
        } = self;
        format!(
            "expected {expected} of\n{line}\nbut: {status}\n--- standard output\n{stdout}\n\
             --- standard error\n{stderr}\n---"
        )
    }
}

/// The harness itself: output is seen as it comes, and what a test lets go of is gone, its children too.
#[test]
fn programs_are_watched_and_ended() {
    let folder = TempDir::new().expect("a temporary folder");
    let shell = |line| Tool::program("sh", folder.path(), folder.path()).args(["-c", line]);
    shell("echo one; echo two >&2; exit 3")
        .run()
        .code(3)
        .line_with(&["one"])
        .says("two")
        .never_says("three");
    let mut hanging = shell("sleep 1000 & echo $!; wait").start();
    hanging.wait_for("\n");
    let child = hanging.printed().trim().to_owned();
    drop(hanging);
    super::eventually("the child's end", || {
        let status = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        status.is_empty() || status.contains(") Z ")
    });
}
