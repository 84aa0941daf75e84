//! Parts of events: an attempt, its result and its output.

use std::{path::PathBuf, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use target_fixtures::wire::Exit;

use super::{micros, schema};
use crate::case::{CaseInfo, verdict::Verdict};

/// One attempt of one case. Identifies an entry of nextest's own report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Attempt {
    /// The case, deploy entry, or test that runs on the host.
    pub case: Arc<CaseInfo>,
    /// The iteration of a stress run, from 0; `None` in any other run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stress_index: Option<u32>,
    /// nextest's number of the attempt, from 1.
    pub number: u32,
}

impl Attempt {
    /// The first attempt of a case, outside a stress run.
    pub fn first(case: &Arc<CaseInfo>) -> Self {
        Self {
            case: Arc::clone(case),
            stress_index: None,
            number: 1,
        }
    }
}

/// The result of one attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AttemptResult {
    /// The verdict.
    pub verdict: Verdict,
    /// The leased instances, including lost ones. Empty for a test on the host and for a case that got no lease.
    pub instances: Vec<String>,
    /// The time that the attempt waited for its lease.
    #[serde(with = "micros")]
    #[schemars(with = "u64")]
    pub waited: Duration,
    /// The lifetime of the test process.
    #[serde(with = "micros")]
    #[schemars(with = "u64")]
    pub took: Duration,
    /// The part of `took` that was spent on the set-up and tear-down of fixtures.
    #[serde(with = "micros")]
    #[schemars(with = "u64")]
    pub fixtures: Duration,
    /// The part of `fixtures` that was spent on tear-downs.
    #[serde(default, skip_serializing_if = "Duration::is_zero", with = "micros")]
    #[schemars(with = "u64")]
    pub tear_down: Duration,
    /// The exit status of the test process; `None` if it was not started, or if its exit status is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::ExitSchema>")]
    pub exit: Option<Exit>,
    /// The message of the failure, if the test failed and reported one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The time limit, if it ended the test.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "micros::option"
    )]
    #[schemars(with = "Option<u64>")]
    pub timed_out: Option<Duration>,
    /// The reason that the test is expected to fail, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// The file with the standard output; `None` if it went to nextest or a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<OutputFile>,
    /// The file with the standard error; `None` if it went to nextest or a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<OutputFile>,
    /// The file with both streams, in the order in which the test wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
    /// The ends of the consoles of the leased instances, after an attempt that failed, crashed or ended as infra.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consoles: Vec<ConsoleEnd>,
    /// The findings of the target's health checks, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    /// The folder of the attempt's artifacts; `None` if none are collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<PathBuf>,
}

impl AttemptResult {
    pub(super) fn cut_times(&mut self) {
        for time in [
            &mut self.waited,
            &mut self.took,
            &mut self.fixtures,
            &mut self.tear_down,
        ] {
            *time = micros::cut(*time);
        }
        self.timed_out = self.timed_out.map(micros::cut);
    }

    /// A result without instances, times and output.
    pub fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            instances: Vec::new(),
            waited: Duration::ZERO,
            took: Duration::ZERO,
            fixtures: Duration::ZERO,
            tear_down: Duration::ZERO,
            exit: None,
            message: None,
            timed_out: None,
            expected: None,
            stdout: None,
            stderr: None,
            log: None,
            consoles: Vec::new(),
            findings: Vec::new(),
            artifacts: None,
        }
    }

    /// The reason of the verdict: of a skip, crash, infra or expected failure; of any other failure its message, the time
    /// limit, a finding or the exit status. `None` for a pass.
    pub fn reason(&self) -> Option<String> {
        match &self.verdict {
            Verdict::Pass => self.expected.clone(),
            Verdict::Skip(reason) => Some(reason.to_string()),
            Verdict::Infra(cause) | Verdict::Crash(cause) => Some(cause.clone()),
            Verdict::Fail => {
                let message = self.message.clone().or_else(|| self.timeout());
                let finding = message.or_else(|| self.findings.first().cloned());
                finding.or_else(|| self.exit.as_ref().map(ToString::to_string))
            }
        }
    }

    /// The time limit that made the test fail, as a message; `None` if none did.
    pub fn timeout(&self) -> Option<String> {
        let limit = self.timed_out.filter(|_| self.verdict.is_failure())?;
        let limit = humantime::format_duration(limit);
        Some(format!("timed out after {limit}"))
    }
}

/// One artifact of an instance, collected or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CollectedArtifact {
    /// The instance.
    pub instance: String,
    /// The path, or the command line, or `console`.
    pub artifact: String,
    /// The number of bytes that were written.
    pub bytes: u64,
    /// The reason that the artifact is missing or incomplete, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The end of an instance's console after an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConsoleEnd {
    /// The instance.
    pub instance: String,
    /// The file with the end of the console.
    pub output: OutputFile,
}

/// The file in the run's folder with the output of an attempt to one stream, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct OutputFile {
    /// The file.
    pub path: PathBuf,
    /// The length of the file in bytes.
    pub length: u64,
    /// The end of the file, at most [`TAIL`] bytes.
    pub tail: String,
}

/// The maximum number of bytes, from the end of an output file, in an event.
pub const TAIL: usize = 64 << 10;
