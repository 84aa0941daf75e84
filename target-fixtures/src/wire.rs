//! The frames that the broker and its clients exchange over one Unix socket.
//!
//! Owns the messages. Must not know sockets' addresses, leases or processes. Shared by the author's
//! crate and the broker.
//!
//! A frame is two big-endian `u32` lengths (header, body), a JSON header (one [`Request`] or
//! [`Reply`]) and a raw body. Only [`Request::Data`] and [`Reply::Data`] carry a body. A connection is used for one request at a time; a request may have several
//! replies, of which the last is not a [`Reply::Note`], [`Reply::Data`] or [`Reply::Took`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

mod command;
mod frame;
mod machine;
mod result;
mod run;

pub use command::{Command, Exit, Password, Stream, Sudo};
pub use frame::{LONGEST, lengths_of, read_frame, write_frame};
pub use machine::{Act, Direction, Question};
pub use result::{Measurement, SubResult, SubVerdict};
pub use run::{Instance, Run, Secret};

/// The version of the protocol: both ends must have the same.
pub const PROTOCOL: u32 = 5;

/// What a process exits with that has torn a fixture down: a test harness also exits with 0 where it found no test.
pub const TORN_DOWN: i32 = 84;

/// How many bytes of a file or of a command's output travel in one frame.
pub const CHUNK: usize = 128 << 10;

/// How many bytes of [`Request::Data`] a client may have sent that no [`Reply::Took`] has told of yet. The broker holds as
/// many, and always reads on.
pub const WINDOW: usize = 1 << 20;

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
        /// nextest's iteration of a stress run, from 0; `None` in any other run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stress_index: Option<u32>,
    },
    /// A runner tells the process it started for the case; not answered.
    Started {
        /// The test process.
        pid: u32,
    },
    /// A runner tells how the case ended; its output is in the files of [`Run::output`]. Answered by [`Reply::Done`]
    /// once it is recorded.
    Finished {
        /// How the test process ended.
        exit: Exit,
        /// Whether the declared timeout ended it.
        timed_out: bool,
        /// True if nextest or a user ended it.
        interrupted: bool,
        /// How long the test process lived, in milliseconds.
        millis: u64,
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
    /// client sends [`Request::Data`] frames, then [`Request::End`]; meanwhile any number of [`Request::Signal`].
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
    /// Copies a file or folder of this host to an instance; answered by any number of [`Reply::Note`], then
    /// [`Reply::Answer`] with how many files had to be sent, or [`Reply::Failed`].
    Upload {
        /// The instance.
        instance: String,
        /// The absolute path on this host.
        from: String,
        /// The absolute path on the instance.
        to: String,
    },
    /// Copies a file or folder of an instance to this host; answered by any number of [`Reply::Note`], then
    /// [`Reply::Done`] or [`Reply::Failed`].
    Download {
        /// The instance.
        instance: String,
        /// The absolute path on the instance.
        from: String,
        /// The absolute path on this host.
        to: String,
    },
    /// Finds out whether an instance can be reached; answered by [`Reply::Pong`] or [`Reply::Failed`].
    Ping {
        /// The instance.
        instance: String,
        /// For how long it is tried, in milliseconds.
        limit: u64,
    },
    /// Asks about an instance; answered by [`Reply::Answer`] or [`Reply::Failed`].
    Ask {
        /// The instance.
        instance: String,
        /// What.
        question: Question,
    },
    /// Does something with an instance; answered by any number of [`Reply::Note`], then [`Reply::Done`] or
    /// [`Reply::Failed`].
    Act {
        /// The instance.
        instance: String,
        /// What.
        act: Act,
        /// How long it may take, in milliseconds.
        limit: u64,
    },
    /// Forwards TCP connections for as long as the connection lasts; answered by [`Reply::Forwarded`] or
    /// [`Reply::Failed`].
    Forward {
        /// The instance.
        instance: String,
        /// Which way.
        direction: Direction,
        /// The port that is reached, on 127.0.0.1 of the instance or of this host.
        port: u16,
    },
    /// The case's verdict is `skip`, whatever the process exits with; answered by [`Reply::Done`].
    Skip {
        /// Why, for people.
        reason: String,
    },
    /// Sends a signal to the process group of the command that the connection runs, ahead of the input that waits for its
    /// reader; not answered. After `KILL` the command's end is told when nothing of the group is left.
    Signal {
        /// Its name: `TERM`.
        signal: String,
    },
    /// The test is expected to fail, and did; answered by [`Reply::Done`].
    ExpectFail {
        /// Why, for people.
        reason: String,
    },
    /// The test measured something; answered by [`Reply::Done`].
    Record(Measurement),
    /// The test reports one of many results; answered by [`Reply::Done`].
    SubResult(SubResult),
    /// A test needs a fixture that others may share; answered, once nobody else is setting it up, by
    /// [`Reply::Fixture`] or [`Reply::Failed`]. Whoever gets no state sets it up, and says on the same connection
    /// [`Request::FixtureUp`] or [`Request::FixtureFailed`].
    Fixture {
        /// Its path: `hello::db`.
        name: String,
        /// The file it is in, which tells it from those of other packages with that path.
        source: String,
        /// With whom it is shared.
        scope: Shared,
    },
    /// It is set up; answered by [`Reply::Done`].
    FixtureUp {
        /// Its value.
        state: Value,
        /// Whether there is something to do at its end.
        tears_down: bool,
    },
    /// It could not be set up; answered by [`Reply::Done`].
    FixtureFailed {
        /// Whether the tests that need it are skipped.
        skips: bool,
        /// Why, for people.
        message: String,
    },
    /// A fixture of this test alone is set up, which must be torn down; answered by [`Reply::Done`].
    FixtureOfTest {
        /// Its path.
        name: String,
        /// The instance it is on.
        instance: String,
        /// Its value.
        state: Value,
    },
    /// It is torn down; answered by [`Reply::Done`].
    FixtureDown {
        /// Its path.
        name: String,
        /// Why that failed.
        error: Option<String>,
    },
    /// How long setting up and tearing down took of the test process's time; answered by [`Reply::Done`].
    FixturesTook {
        /// In milliseconds.
        millis: u64,
    },
    /// A piece of standard input or of a file, in the body; answered by [`Reply::Took`] once somebody reads it.
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
    /// So much of what the client sent has found its reader.
    Took {
        /// How many bytes of [`Request::Data`].
        bytes: usize,
    },
    /// A command ended by itself.
    Exited {
        /// How.
        exit: Exit,
        /// How long it ran, in milliseconds.
        millis: u64,
    },
    /// A fixture's value; without one the client is to set it up.
    Fixture {
        /// The value.
        state: Option<Value>,
    },
    /// What was asked for.
    Answer {
        /// As the question says.
        value: Value,
    },
    /// Connections are forwarded.
    Forwarded {
        /// The port that connections are taken at, on 127.0.0.1 of this host or of the instance.
        port: u16,
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

/// With whom a fixture's value is shared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shared {
    /// With all tests of the run on one instance of the lease.
    Instance {
        /// The instance.
        instance: String,
    },
    /// With all tests of the run.
    Run,
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
