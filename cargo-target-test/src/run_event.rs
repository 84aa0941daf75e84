//! Run events: what happens in a run, as data.
//!
//! Defines version 1 of their format, and the sink that receives events. Pure: the creator of a sink adds sequence
//! numbers and times, and delivers the events.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use target_fixtures::wire::{Exit, Measurement, Stream, SubResult};

use crate::case::{
    CaseInfo,
    reason::{DirtyReason, NotRunReason, SkipReason},
    verdict::{CaseCounts, Verdict},
};

mod attempt;
mod clean_up;
mod instance_target;
mod micros;
mod origin;
mod schema;

pub use attempt::{Attempt, AttemptResult, CollectedArtifact, ConsoleEnd, OutputFile, TAIL};
pub use clean_up::{CleanUp, InstanceNote, TargetTime};
pub use instance_target::InstanceTarget;
pub use origin::{RunOrigin, RunTarget, TestBinary};
pub use schema::schema;

/// The version of the format that this code writes.
pub const RUN_EVENT_VERSION: u32 = 1;

/// One event of a run. Times are in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct RunEvent {
    /// The format's version: [`RUN_EVENT_VERSION`].
    pub version: u32,
    /// The number of this event in its run, from 0. A gap shows dropped events.
    pub seq: u64,
    /// The time since the run began, by a monotonic clock.
    #[serde(with = "micros")]
    #[schemars(with = "u64")]
    pub monotonic: Duration,
    /// The time since 1970.
    #[serde(with = "micros")]
    #[schemars(with = "u64")]
    pub wall: Duration,
    /// The kind of the event, with its data.
    #[serde(flatten)]
    pub kind: RunEventKind,
}

impl RunEvent {
    /// An event of the current version. Times are cut to whole microseconds: an event is what its line in a feed says.
    pub fn new(seq: u64, monotonic: Duration, wall: Duration, mut kind: RunEventKind) -> Self {
        kind.cut_times();
        Self {
            version: RUN_EVENT_VERSION,
            seq,
            monotonic: micros::cut(monotonic),
            wall: micros::cut(wall),
            kind,
        }
    }
}

/// Kinds of [`RunEvent`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
#[non_exhaustive]
pub enum RunEventKind {
    /// The run began.
    RunStarted {
        /// The run's id.
        run: String,
        /// Version of the tool.
        tool: String,
        /// The workspace's folder.
        workspace: PathBuf,
        /// The playbook; `None` for the embedded one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        playbook: Option<PathBuf>,
        /// The number of chosen cases.
        cases: usize,
        /// The number of chosen tests that run once, on the host.
        on_host: usize,
        /// The source, the programs and the targets.
        #[serde(flatten)]
        origin: Box<RunOrigin>,
    },
    /// The run ended. The last event.
    RunEnded {
        /// The run's exit code.
        exit_code: u8,
        /// True if a user interrupted the run.
        interrupted: bool,
    },
    /// The platform is called to deploy an instance.
    DeployStarted {
        /// The instance.
        instance: String,
        /// The instance's target; `None` in the feed of an older version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<InstanceTarget>,
    },
    /// The deploy has ended, or an existing instance is ready.
    DeployEnded {
        /// The instance.
        instance: String,
        /// The duration of the deploy or of the health check.
        #[serde(with = "micros")]
        #[schemars(with = "u64")]
        took: Duration,
        /// True if the instance existed before.
        reused: bool,
        /// The instance's target; `None` in the feed of an older version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<InstanceTarget>,
        /// A command line of this host that opens a shell on the instance, or its address if no such line is known,
        /// without secrets. `None` if the deploy failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reach: Option<String>,
        /// The error, if the deploy failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// nextest has shown the result of a deploy.
    DeployShown {
        /// The entry: `deploy[ubuntu-0]` of the binary `@target-test`.
        attempt: Attempt,
        /// The instance.
        instance: String,
        /// The time that the entry waited.
        #[serde(with = "micros")]
        #[schemars(with = "u64")]
        took: Duration,
        /// `Pass`, `Infra`, or `Skip` if nextest ended the entry before the deploy.
        verdict: Verdict,
    },
    /// The preparation of a deployed instance began.
    PrepareStarted {
        /// The instance.
        instance: String,
    },
    /// The preparation has ended.
    PrepareEnded {
        /// The instance.
        instance: String,
        /// The duration of the preparation.
        #[serde(with = "micros")]
        #[schemars(with = "u64")]
        took: Duration,
        /// The error, if the preparation failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A step of a recipe has run.
    RecipeStep {
        /// The instance.
        instance: String,
        /// The step, as the playbook writes it.
        step: String,
        /// The duration of the step.
        #[serde(with = "micros")]
        #[schemars(with = "u64")]
        took: Duration,
        /// The error, if the step failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// Facts were collected.
    Facts {
        /// The instance.
        instance: String,
        /// The facts, by name.
        facts: BTreeMap<String, String>,
    },
    /// A case requests its lease.
    LeaseWaiting {
        /// The attempt.
        attempt: Attempt,
    },
    /// A case got its lease.
    LeaseGranted {
        /// The lease.
        lease: String,
        /// The attempt.
        attempt: Attempt,
        /// The leased instances.
        instances: Vec<String>,
        /// The time from the request to the lease.
        #[serde(with = "micros")]
        #[schemars(with = "u64")]
        waited: Duration,
    },
    /// A lease has ended.
    LeaseEnded {
        /// The lease.
        lease: String,
        /// The leased instances.
        instances: Vec<String>,
        /// The time from the start of the lease to its end.
        #[serde(with = "micros")]
        #[schemars(with = "u64")]
        held: Duration,
    },
    /// A test process was started.
    AttemptStarted {
        /// The attempt.
        attempt: Attempt,
        /// The leased instances.
        instances: Vec<String>,
    },
    /// A test wrote something. May be dropped. Emitted for shell tests; the tests of a run by nextest write to the files
    /// that [`AttemptResult`] names.
    AttemptOutput {
        /// The attempt.
        attempt: Attempt,
        /// The stream.
        #[schemars(with = "schema::StreamSchema")]
        stream: Stream,
        /// The text, without secrets.
        text: String,
    },
    /// An attempt of a case or of a test on the host has ended, even if it got no instance.
    AttemptEnded {
        /// The attempt.
        attempt: Attempt,
        /// The result.
        result: Box<AttemptResult>,
    },
    /// The artifacts of an attempt were collected. They are taken after the attempt has ended.
    Collected {
        /// The attempt.
        attempt: Attempt,
        /// The folder.
        folder: PathBuf,
        /// The artifacts, by instance, in the order in which they were taken.
        artifacts: Vec<CollectedArtifact>,
    },
    /// A test reported a measurement.
    Record {
        /// The attempt.
        attempt: Attempt,
        /// The measurement.
        #[serde(flatten)]
        #[schemars(with = "schema::MeasurementSchema")]
        measurement: Measurement,
    },
    /// A test reported one of several results.
    SubResult {
        /// The attempt.
        attempt: Attempt,
        /// The result.
        #[schemars(with = "schema::SubResultSchema")]
        result: SubResult,
    },
    /// A fixture was set up or torn down: one that tests share, or one of a single test that has a tear-down.
    Fixture {
        /// The path of the fixture: `hello::db`.
        name: String,
        /// The instance of the fixture; `None` if all tests of the run share the fixture.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// True for a tear-down.
        torn_down: bool,
        /// The duration of the set-up or tear-down.
        #[serde(with = "micros")]
        #[schemars(with = "u64")]
        took: Duration,
        /// The error, if the set-up or tear-down failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A test, or one of its cases, does not run, by the plan. There is no attempt.
    Skipped {
        /// The test or case.
        case: Arc<CaseInfo>,
        /// The reason.
        reason: SkipReason,
    },
    /// A case or a test on the host is one of the run: all of these come before the first attempt. Without a later event
    /// about the case, the run was killed before it.
    Planned {
        /// The case.
        case: Arc<CaseInfo>,
    },
    /// A planned case has not run. Emitted at the end of the run.
    NotRun {
        /// The case.
        case: Arc<CaseInfo>,
        /// The reason.
        reason: NotRunReason,
    },
    /// nextest's settings decide otherwise about an attempt than its end, if it ever began: a leak that fails, or a limit
    /// that passes. This verdict counts. Emitted at the end of the run.
    Overruled {
        /// The attempt of a case, of a test that runs on the host, or of a deploy entry.
        attempt: Attempt,
        /// `Pass` or `Fail`.
        verdict: Verdict,
        /// nextest's reason.
        reason: String,
    },
    /// A case has failed although its last attempt passed, by `flaky-result = "fail"`. Emitted at the end of the run.
    FlakyFailed {
        /// The last attempt.
        attempt: Attempt,
    },
    /// An instance was restored to a snapshot.
    Restored {
        /// The instance.
        instance: String,
        /// The duration of the restore.
        #[serde(with = "micros")]
        #[schemars(with = "u64")]
        took: Duration,
        /// The error, if the restore failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// An instance must not serve again before it is recycled.
    Dirty {
        /// The instance.
        instance: String,
        /// The reason.
        reason: DirtyReason,
    },
    /// An instance serves no further case of the run, while another one of its target serves: it had several infra
    /// verdicts in a row.
    SetAside {
        /// The instance.
        instance: String,
    },
    /// An instance was deleted: by an early release, for a recycle, after a failed deploy, or at the end of the run. A
    /// machine that existed before stays.
    Deleted {
        /// The instance.
        instance: String,
        /// The duration of the delete.
        #[serde(with = "micros")]
        #[schemars(with = "u64")]
        took: Duration,
        /// The error, if the delete failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// The use of a target by the run.
    TargetUsed(TargetTime),
    /// The run has cleaned up.
    CleanedUp(CleanUp),
    /// The cases of the run by their results.
    CasesCounted(CaseCounts),
    /// A command ran on an instance.
    RemoteCommand {
        /// The instance.
        instance: String,
        /// The lease.
        lease: String,
        /// The command, without secrets.
        command: String,
        /// The duration of the command.
        #[serde(with = "micros")]
        #[schemars(with = "u64")]
        took: Duration,
        /// The exit status of the command.
        #[schemars(with = "schema::ExitSchema")]
        exit: Exit,
    },
    /// An instance that has a console failed: its deploy or preparation, or under a case. May be dropped.
    Console {
        /// The instance.
        instance: String,
        /// The end of the console's text, without secrets.
        text: String,
        /// The copy of the whole console in the run's folder. It is written again before the instance is deleted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<PathBuf>,
    },
    /// A fault was injected on purpose. Not emitted yet, because the protocol of tests has no request for faults.
    FaultStarted {
        /// The fault's name.
        name: String,
        /// The affected instances.
        instances: Vec<String>,
    },
    /// A fault has ended. Not emitted yet, like [`FaultStarted`](Self::FaultStarted).
    FaultEnded {
        /// The fault's name.
        name: String,
        /// The error, if the fault could not be ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A warning was shown to the user.
    Warning {
        /// The message.
        message: String,
    },
    /// A long step continues. May be dropped.
    Progress {
        /// The message.
        message: String,
    },
}

impl RunEventKind {
    fn cut_times(&mut self) {
        match self {
            Self::DeployEnded { took, .. }
            | Self::DeployShown { took, .. }
            | Self::PrepareEnded { took, .. }
            | Self::RecipeStep { took, .. }
            | Self::LeaseGranted { waited: took, .. }
            | Self::LeaseEnded { held: took, .. }
            | Self::Fixture { took, .. }
            | Self::Restored { took, .. }
            | Self::Deleted { took, .. }
            | Self::RemoteCommand { took, .. } => *took = micros::cut(*took),
            Self::AttemptEnded { result, .. } => result.cut_times(),
            Self::TargetUsed(used) => used.time = micros::cut(used.time),
            _ => {}
        }
    }

    /// True for output and progress, which a slow aggregator may miss.
    pub fn may_be_dropped(&self) -> bool {
        matches!(
            self,
            Self::AttemptOutput { .. } | Self::Console { .. } | Self::Progress { .. }
        )
    }
}

/// Receives the events of a run. Cheap to clone.
#[derive(Clone)]
pub struct Sink(Arc<dyn Fn(RunEventKind) + Send + Sync>);

impl Sink {
    /// A sink that passes every event to `deliver`, which must return at once.
    pub fn new(deliver: impl Fn(RunEventKind) + Send + Sync + 'static) -> Self {
        Self(Arc::new(deliver))
    }

    /// A sink that discards everything.
    pub fn discard() -> Self {
        Self::new(drop)
    }

    /// Emits an event. Never blocks.
    pub fn emit(&self, kind: RunEventKind) {
        (self.0)(kind);
    }
}

impl Default for Sink {
    fn default() -> Self {
        Self::discard()
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

#[cfg(test)]
mod tests;
