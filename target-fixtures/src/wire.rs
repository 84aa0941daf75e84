//! The protocol of the broker and its clients, runners and test processes, over a Unix socket.
//!
//! A frame is two big-endian `u32` lengths (header, body), a JSON header (one [`BrokerRequest`] or
//! [`Reply`]) and a raw body. Only [`BrokerRequest::Data`] and [`Reply::Data`] carry a body. A connection is used for one request at a time; a request may have several
//! replies, of which the last is not a [`Reply::Note`], [`Reply::Data`], [`Reply::Took`] or [`Reply::Signalled`].

// Must not know addresses, leases or processes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

mod command;
mod fault;
mod frame;
mod machine;
mod network;
mod orchestration;
mod result;
mod run;

pub use command::{Exit, Password, ShellCommand, Stream, Sudo};
pub use fault::{Fault, FaultKind};
pub use frame::{LONGEST, lengths_of, read_frame, write_frame};
pub use machine::{Act, ForwardTo, Question};
pub use network::NetworkAct;
pub use orchestration::{EarlyEnd, InvalidEvent, OrchestrationPlan, PlannedEvent};
pub use result::{Measurement, PreviousQuery, PreviousValue, SubResult, VerdictKind};
pub use run::{ExpectedFailure, Instance, InstanceLink, RolePlace, Run, Secret};

/// The version of the protocol: both ends must have the same.
pub const PROTOCOL: u32 = 12;

/// The exit code of a process that has torn down a fixture. (A test harness exits with 0 even if it found no test.)
pub const TORN_DOWN: i32 = 84;

/// The byte before the line in which a test binary answers if it only checks the arguments of events.
pub const CHECKED: char = '\u{1e}';

/// The maximum number of bytes of a file or of output in one frame.
pub const CHUNK: usize = 128 << 10;

/// The maximum number of bytes of [`BrokerRequest::Data`] that are not yet acknowledged by [`Reply::Took`]. The broker
/// buffers up to this many and always keeps reading.
pub const WINDOW: usize = 1 << 20;

/// Deserializes a number. JSON has `null` for one that is not finite.
fn any_number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Option::deserialize(from).map(|number| number.unwrap_or(f64::NAN))
}

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum BrokerRequest {
    /// The first frame of every connection; answered by [`Reply::Welcome`] or [`Reply::Refused`].
    Hello {
        /// The [`PROTOCOL`] of the client.
        protocol: u32,
        /// The crate version of the client, for messages.
        version: String,
    },
    /// A runner asks what to run for a name given by nextest; answered by any number of [`Reply::Note`], then
    /// [`Reply::Run`], [`Reply::Print`] or [`Reply::Refused`].
    Start(StartRequest),
    /// A runner reports the test process of the case; not answered.
    Started {
        /// The process ID.
        pid: u32,
    },
    /// A runner tells how the case ended; its output is in the files of [`Run::output`]. Answered by [`Reply::Judged`].
    Finished {
        /// The exit code or signal of the test process.
        exit: Exit,
        /// True if the test process was ended by the test's `timeout`.
        timed_out: bool,
        /// True if nextest or a user ended it.
        interrupted: bool,
        /// The lifetime of the test process, in milliseconds.
        millis: u64,
    },
    /// A test process requests the instances of its lease; answered by [`Reply::Leased`]. A test on the host has none: it
    /// can record and ask for values.
    Attach {
        /// The lease, or the attempt of a test on the host, from the environment.
        lease: String,
    },
    /// A test process without a runner requests a lease that ends with this connection; answered by any number of
    /// [`Reply::Note`], then [`Reply::Leased`] or [`Reply::Refused`].
    Acquire(AcquireRequest),
    /// Runs a command on an instance of the lease; answered by any number of [`Reply::Data`], then [`Reply::Exited`] or
    /// [`Reply::Failed`]. If `stdin` is true, the client sends [`BrokerRequest::Data`] frames, then [`BrokerRequest::End`]. It can
    /// send [`BrokerRequest::Signal`] at any time.
    Exec {
        /// The instance: `alpha-0`.
        instance: String,
        /// The command.
        command: ShellCommand,
        /// True if standard input follows; otherwise standard input is `/dev/null`.
        stdin: bool,
    },
    /// Writes a file on an instance; the content follows as [`BrokerRequest::Data`] frames and
    /// [`BrokerRequest::End`]; answered by [`Reply::Done`] or [`Reply::Failed`].
    Put {
        /// The instance.
        instance: String,
        /// The absolute path on the instance.
        path: String,
        /// The permission bits. `None`: an existing file keeps its own, a new file gets 0o644.
        mode: Option<u32>,
    },
    /// Reads a file on an instance; answered by [`Reply::Data`] frames, then [`Reply::Done`] or [`Reply::Failed`].
    Get {
        /// The instance.
        instance: String,
        /// The absolute path on the instance.
        path: String,
    },
    /// Copies a file or folder of this host to an instance; answered by any number of [`Reply::Note`], then
    /// [`Reply::Answer`] with the number of files sent, or [`Reply::Failed`].
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
    /// Puts a program of the workspace on an instance, unless it is there; answered by any number of [`Reply::Note`],
    /// then [`Reply::Answer`] with its absolute path on the instance, or [`Reply::Failed`].
    Program {
        /// The instance.
        instance: String,
        /// The name of the binary.
        name: String,
    },
    /// Checks that an instance is reachable; answered by [`Reply::Pong`] or [`Reply::Failed`].
    Ping {
        /// The instance.
        instance: String,
        /// The timeout in milliseconds.
        limit: u64,
    },
    /// Queries an instance; answered by [`Reply::Answer`] or [`Reply::Failed`].
    Ask {
        /// The instance.
        instance: String,
        /// The query.
        question: Question,
    },
    /// Performs an action on an instance; answered by any number of [`Reply::Note`], then [`Reply::Done`] or
    /// [`Reply::Failed`].
    Act {
        /// The instance.
        instance: String,
        /// The action.
        act: Act,
        /// The timeout in milliseconds.
        limit: u64,
    },
    /// Adds a fault to a network of a leased environment, or heals it; answered by [`Reply::Done`], a capture by
    /// [`Reply::Answer`] with the path of its file on the host, or by [`Reply::Failed`].
    Network {
        /// The environment: `lan-0`.
        environment: String,
        /// The network's name.
        network: String,
        /// The action.
        act: NetworkAct,
    },
    /// Forwards connections until this connection is closed; answered by [`Reply::Forwarded`],
    /// [`Reply::ForwardHere`] or [`Reply::Failed`].
    Forward {
        /// The instance.
        instance: String,
        /// The destination.
        to: ForwardTo,
    },
    /// Connects to a port or socket of the instance; input, output and answers are those of [`BrokerRequest::Exec`].
    Connect {
        /// The instance.
        instance: String,
        /// The destination.
        to: ForwardTo,
    },
    /// Sets the verdict of the case to `skip`, regardless of the exit code; answered by [`Reply::Done`].
    Skip {
        /// The reason.
        reason: String,
    },
    /// Sends a signal to the process group of the command on this connection, before any input that waits to be read;
    /// answered by [`Reply::Signalled`], unless the command ended before. After `KILL`, [`Reply::Exited`] is sent when
    /// all processes of the group have ended.
    Signal {
        /// The name: `TERM`.
        signal: String,
    },
    /// Reports that the test failed as expected; answered by [`Reply::Done`].
    ExpectFail {
        /// The reason.
        reason: String,
    },
    /// Reports that the test failed; answered by [`Reply::Done`].
    Failed {
        /// The message of the error or panic.
        message: String,
        /// The loss of an instance or of its connection that the message reports, if any.
        lost: Option<String>,
    },
    /// The test measured something; answered by [`Reply::Done`].
    Record(Measurement),
    /// The test asks for values of earlier runs; answered by [`Reply::Previous`].
    Previous(PreviousQuery),
    /// The test reports one of many results; answered by [`Reply::Done`].
    SubResult(SubResult),
    /// Requests the orchestration of the test; answered by [`Reply::Answer`] with an [`OrchestrationPlan`].
    Orchestration,
    /// Reports that the orchestration of the test has ended, however; answered by [`Reply::Done`].
    OrchestrationEnded,
    /// Reports that the fixtures of the orchestration are set up, so that the time limit of the test counts from now on;
    /// answered by [`Reply::Done`].
    ClockStarts,
    /// Waits until the orchestration must end early; answered by [`Reply::Answer`] with an [`EarlyEnd`].
    AwaitStop,
    /// A runner asks the orchestration to end early; not answered.
    Stop {
        /// The reason.
        reason: EarlyEnd,
    },
    /// Shows a line of progress on the terminal of the run; answered by [`Reply::Done`].
    Progress {
        /// The line.
        text: String,
    },
    /// Requests a shared fixture; answered by [`Reply::Fixture`] or [`Reply::Failed`], after another test has finished
    /// setting it up. A client that gets no state sets the fixture up, and sends [`BrokerRequest::FixtureUp`] or
    /// [`BrokerRequest::FixtureFailed`] on the same connection.
    Fixture {
        /// The path: `hello::db`.
        name: String,
        /// The source file, which distinguishes fixtures of different packages with the same path.
        source: String,
        /// The scope in which the value is shared.
        scope: Shared,
    },
    /// Reports that the fixture is set up; answered by [`Reply::Done`].
    FixtureUp {
        /// The value.
        state: Value,
        /// True if the fixture has a tear-down function.
        tears_down: bool,
    },
    /// Reports that the set-up of the fixture failed; answered by [`Reply::Done`].
    FixtureFailed {
        /// True if the tests that need the fixture are skipped.
        skips: bool,
        /// The error or the reason of the skip.
        message: String,
    },
    /// Reports a fixture that is set up for this test only and must be torn down; answered by [`Reply::Done`].
    FixtureOfTest {
        /// The path.
        name: String,
        /// The instance of the fixture.
        instance: String,
        /// The value.
        state: Value,
        /// The time of the set-up, in milliseconds.
        millis: u64,
    },
    /// Reports that a fixture of this test is torn down; answered by [`Reply::Done`].
    FixtureDown {
        /// The path.
        name: String,
        /// The error of the tear-down, if any.
        error: Option<String>,
        /// The time of the tear-down, in milliseconds.
        millis: u64,
    },
    /// Reports the time that the test process spent in set-ups and tear-downs; answered by [`Reply::Done`].
    FixturesTook {
        /// The time in milliseconds.
        millis: u64,
        /// The part of it that tear-downs took.
        tear_down: u64,
    },
    /// A piece of standard input or of a file, in the body; acknowledged by [`Reply::Took`] when it is read.
    Data,
    /// The end of [`BrokerRequest::Data`]; not answered.
    End,
}

/// The question of a runner. See [`BrokerRequest::Start`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartRequest {
    /// The path of the test binary, as given by nextest.
    pub binary: String,
    /// The name of the case or deploy entry, as given by nextest.
    pub name: String,
    /// nextest's attempt, from 1.
    pub attempt: u32,
    /// The maximum number of attempts; 1 without retries.
    #[serde(default)]
    pub attempts: u32,
    /// nextest's iteration of a stress run, from 0; `None` in any other run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stress_index: Option<u32>,
}

/// A test that acquires its lease itself. See [`BrokerRequest::Acquire`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AcquireRequest {
    /// The path of the test binary.
    pub binary: String,
    /// The path of the test, with the crate name: `hello::smoke`.
    pub test: String,
    /// The folder of the test's package.
    pub directory: String,
    /// The value of `TARGET_TEST_TARGET`.
    pub target: Option<String>,
    /// The value of `TARGET_TEST_PLAYBOOK`.
    pub playbook: Option<String>,
}

/// A message of the broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Reply {
    /// Accepts the client's protocol version.
    Welcome {
        /// The crate version of the broker, for messages.
        version: String,
    },
    /// Refuses the request permanently.
    Refused(Failure),
    /// One line of progress to show: `waiting for alpha: ...`.
    Note {
        /// The line.
        text: String,
    },
    /// Tells a runner to start the test.
    Run(Box<Run>),
    /// Tells a runner that the time limit of its orchestration counts from now on.
    ClockStarts,
    /// Tells a runner to print a text to standard error and exit: the result of a deploy entry.
    Print {
        /// The text, with a newline after each line.
        text: String,
        /// The exit code.
        code: i32,
    },
    /// Tells a runner the verdict of its case.
    Judged {
        /// The verdict.
        verdict: VerdictKind,
        /// The reason of a skip or of an expected failure, or the cause of a crash or of infra; `None` for any other
        /// verdict.
        reason: Option<String>,
        /// Lines to show with the test's output.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
    },
    /// The instances of a lease.
    Leased {
        /// The lease.
        lease: String,
        /// The instances, in the order requested.
        instances: Vec<Instance>,
        /// The failures that are expected on these instances, if no runner checks that.
        #[serde(default)]
        expect_fail: Vec<ExpectedFailure>,
    },
    /// A piece of output or of a file, in the body.
    Data {
        /// The stream.
        stream: Stream,
    },
    /// Acknowledges data that has been read.
    Took {
        /// The number of bytes of [`BrokerRequest::Data`].
        bytes: usize,
    },
    /// A signal was sent. Signals are answered in their order, and before [`Reply::Exited`].
    Signalled {
        /// The reason that no process got the signal, if any.
        failed: Option<Failure>,
    },
    /// The end of a command.
    Exited {
        /// The exit code or signal.
        exit: Exit,
        /// The run time in milliseconds.
        millis: u64,
    },
    /// The value of a fixture. Without a value, the client must set up the fixture.
    Fixture {
        /// The value.
        state: Option<Value>,
    },
    /// The answer to a query.
    Answer {
        /// The value; its type is documented with each [`Question`].
        value: Value,
    },
    /// Values of earlier runs.
    Previous {
        /// The values, the newest first, at most one for each run.
        values: Vec<PreviousValue>,
        /// The reason that the history cannot be read, if it cannot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        missing: Option<String>,
    },
    /// Connections are forwarded.
    Forwarded {
        /// The listening port, on 127.0.0.1 of this host or of the instance.
        port: u16,
    },
    /// The test runs on an instance: it listens itself, and requests [`BrokerRequest::Connect`] for each connection.
    ForwardHere,
    /// The instance is reachable.
    Pong {
        /// The round-trip time in microseconds.
        micros: u64,
    },
    /// The request succeeded.
    Done,
    /// The request failed; the connection remains usable.
    Failed(Failure),
}

/// The scope in which a fixture's value is shared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shared {
    /// All tests of the run on one instance of the lease.
    Instance {
        /// The instance.
        instance: String,
    },
    /// All tests of the run.
    Run,
}

/// The error of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// A lower-case fragment that completes "failed to ..." and names the instance.
    pub message: String,
    /// A suggestion to fix the error, if any.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
        }
    }
}

/// Kinds of [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The instance is unavailable or was lost: the verdict is `infra`.
    Infra,
    /// The system under test crashed.
    Crash,
    /// A command or transfer exceeded its timeout and was killed.
    Timeout,
    /// Not a failure: the test declares a skip for every target that fits.
    Skip,
    /// The request is invalid: no such file, no such instance.
    Request,
    /// The peer uses another protocol version.
    Version,
}
