//! The frames that the broker and its clients exchange over one Unix socket.
//!
//! Owns the messages. Must not know sockets' addresses, leases or processes. Shared by the author's
//! crate and the broker.
//!
//! A frame is two big-endian `u32` lengths (header, body), a JSON header (one [`Request`] or
//! [`Reply`]) and a raw body. Only [`Request::Data`], [`Reply::Data`] and [`Request::Finished`]
//! carry a body. A connection is used for one request at a time; a request may have several
//! replies, of which the last is not a [`Reply::Note`] or [`Reply::Data`].

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;

mod frame;

pub use frame::{LONGEST, lengths_of, read_frame, write_frame};

/// The version of the protocol: both ends must have the same.
pub const PROTOCOL: u32 = 2;

/// How many bytes of a file or of a command's output travel in one frame.
pub const CHUNK: usize = 128 << 10;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Request {
    /// The first frame of every connection; answered by [`Reply::Welcome`] or [`Reply::Refused`].
    Hello {
        /// [`PROTOCOL`] of the client.
        protocol: u32,
        /// The client's crate version, for people.
        version: String,
    },
    /// A runner asks what to do for a name that nextest gave it; answered by any number of
    /// [`Reply::Note`], then [`Reply::Run`], [`Reply::Print`] or [`Reply::Refused`].
    Start {
        /// The test binary's path, as nextest gave it.
        binary: String,
        /// The case's or deploy entry's name, as nextest gave it.
        name: String,
        /// nextest's attempt, from 1.
        attempt: u32,
        /// How many attempts there are at most; 1 where nothing is tried again.
        #[serde(default)]
        attempts: u32,
    },
    /// A runner tells the process it started for the case; not answered.
    Started {
        /// The test process.
        pid: u32,
    },
    /// A runner tells how the case ended; the body is the output (standard output, then standard
    /// error). Answered by [`Reply::Done`] once it is recorded.
    Finished {
        /// How the test process ended.
        exit: Exit,
        /// Whether the declared timeout ended it.
        timed_out: bool,
        /// How long the test process lived, in milliseconds.
        millis: u64,
        /// How many bytes of the body are standard output.
        stdout: usize,
    },
    /// A test process asks for the instances of its lease; answered by [`Reply::Leased`].
    Attach {
        /// The lease, from the environment.
        lease: String,
    },
    /// A test process without a runner asks for a lease that lives as long as this connection;
    /// answered by any number of [`Reply::Note`], then [`Reply::Leased`] or [`Reply::Refused`].
    Acquire {
        /// The test binary.
        binary: String,
        /// The test's path in its crate, the crate's name included: `hello::smoke`.
        test: String,
        /// The test's package folder.
        directory: String,
        /// `TARGET_TEST_TARGET` of the test.
        target: Option<String>,
        /// `TARGET_TEST_PLAYBOOK` of the test.
        playbook: Option<String>,
    },
    /// Runs a command on an instance of the connection's lease; answered by any number of
    /// [`Reply::Data`], then [`Reply::Exited`] or [`Reply::Failed`]. Where `stdin` is true the
    /// client sends [`Request::Data`] frames, then [`Request::End`]. At any time it may send
    /// [`Request::Signal`].
    Exec {
        /// The instance: `alpha-0`.
        instance: String,
        /// What to run.
        command: Command,
        /// Whether standard input follows; `/dev/null` otherwise.
        stdin: bool,
    },
    /// Writes a file on an instance, atomically; the content follows as [`Request::Data`] frames and
    /// [`Request::End`]; answered by [`Reply::Done`] or [`Reply::Failed`].
    Put {
        /// The instance.
        instance: String,
        /// The absolute path on the instance.
        path: String,
        /// Permission bits; the content is private (0o600) until they are set.
        mode: u32,
    },
    /// Reads a file of an instance; answered by [`Reply::Data`] frames, then [`Reply::Done`] or
    /// [`Reply::Failed`].
    Get {
        /// The instance.
        instance: String,
        /// The absolute path on the instance.
        path: String,
    },
    /// Proves that an instance answers; answered by [`Reply::Pong`] or [`Reply::Failed`].
    Ping {
        /// The instance.
        instance: String,
    },
    /// The case's verdict is `skip`, whatever the process exits with; answered by [`Reply::Done`].
    Skip {
        /// Why, for people.
        reason: String,
    },
    /// Sends a signal to the process group of the command that runs; not answered. After `KILL` the command's end
    /// is told when nothing of the group is left.
    Signal {
        /// Its name: `TERM`.
        name: String,
    },
    /// A piece of standard input or of a file, in the body; not answered.
    Data,
    /// No more [`Request::Data`]; not answered.
    End,
}

/// What the broker answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Reply {
    /// The broker speaks the client's protocol.
    Welcome {
        /// The broker's crate version, for people.
        version: String,
    },
    /// The request cannot be met, now or later.
    Refused(Failure),
    /// Progress for people, one line: `waiting for alpha: ...`.
    Note {
        /// The line.
        text: String,
    },
    /// A runner is to start the test.
    Run(Box<Run>),
    /// A runner is to print this text (to standard error) and exit: a deploy entry's result.
    Print {
        /// The text, lines ended.
        text: String,
        /// The exit code.
        code: i32,
    },
    /// The instances of a lease.
    Leased {
        /// The lease.
        lease: String,
        /// Its instances, in the order asked for.
        instances: Vec<Instance>,
        /// Why the test is expected to fail on them, where no runner sees to that.
        #[serde(default)]
        expect_fail: Option<String>,
    },
    /// A piece of output or of a file, in the body.
    Data {
        /// Which stream it belongs to.
        stream: Stream,
    },
    /// A command ended by itself.
    Exited {
        /// How.
        exit: Exit,
        /// How long it ran, in milliseconds.
        millis: u64,
    },
    /// An instance answered.
    Pong {
        /// The time from asking to the answer, in microseconds.
        micros: u64,
    },
    /// The request was met.
    Done,
    /// The request was not met; the connection stays usable.
    Failed(Failure),
}

/// Why a request was not met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// A lower-case fragment that completes "failed to ...", the instance named.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
}

/// Kinds of [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The instance could not be had or was lost: the verdict is `infra`.
    Infra,
    /// A command or transfer took longer than its timeout and was killed.
    Timeout,
    /// Not a failure: the test says itself that it is skipped on every target that it could have.
    Skip,
    /// The request itself is wrong: no such file, no such instance.
    Request,
    /// The other end speaks another protocol.
    Version,
}

/// Which output stream a piece belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output, or a file's content.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// With this exit code, 0-255.
    Code(i32),
    /// By this signal: `KILL`.
    Signal(String),
}

impl Exit {
    /// Whether it is exit code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        *self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// A command for an instance's POSIX shell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// The command line, for `/bin/sh`; empty where a program is run without one.
    pub line: String,
    /// The line's `"$1"`, `"$2"`, ..., or the program and its arguments; each arrives as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// Environment variables added to the login's.
    pub env: BTreeMap<String, String>,
    /// The folder to run in; the login's where there is none.
    pub directory: Option<String>,
    /// Milliseconds after which the command's process group is killed.
    pub timeout: Option<u64>,
    /// Whether it runs as root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sudo: Option<Sudo>,
}

/// That a command runs as root.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sudo {
    /// What `sudo` is told where it asks; where there is none, it must not ask.
    pub password: Option<Password>,
}

/// A text that no message shows.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Command {
    /// The command as people write it.
    #[must_use]
    pub fn text(&self) -> String {
        let text = match self.line.as_str() {
            "" => self.words.join(" "),
            line => line.to_owned(),
        };
        match &self.sudo {
            Some(_) => format!("sudo {text}"),
            None => text,
        }
    }
}

/// How a runner starts a test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// A runner that the user configured, to put before the binary; usually empty.
    pub prefix: Vec<String>,
    /// The test's own name: `smoke`.
    pub test: String,
    /// Whether the test is `#[ignore]`d, so that the harness must be told to run it.
    pub ignored: bool,
    /// Environment variables for the test process.
    pub env: BTreeMap<String, String>,
    /// The lease; none for a test that runs once, on the host.
    pub lease: Option<String>,
    /// Milliseconds from the start of the test process after which it is terminated.
    pub timeout: Option<u64>,
    /// Why the test is expected to fail; a pass is then a failure.
    pub expect_fail: Option<String>,
}

/// What a client knows of one leased instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// `alpha-0`.
    pub name: String,
    /// The target it is an instance of: `alpha`.
    pub target: String,
    /// The platform that made it: `ssh`.
    pub platform: String,
    /// Host name or address; `localhost` for `local`.
    pub host: String,
    /// SSH port, where there is one.
    pub port: Option<u16>,
    /// Login name, where there is one.
    pub user: Option<String>,
    /// The target's resolved parameters, an object.
    pub params: Value,
    /// What the platform said of this instance, an object.
    pub data: Value,
    /// The target's features.
    pub features: Vec<String>,
}
