//! Parts of events: an attempt, its result and its output.
//!
//! Owns their format.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use target_fixtures::wire::Exit;

use super::micros;
use crate::case::{CaseInfo, verdict::Verdict};

/// One attempt of one case: with these, nextest's own report names a test exactly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Attempt {
    /// The case, deploy entry, or test that runs on the host.
    #[serde(with = "crate::case::shared")]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AttemptResult {
    /// The verdict.
    pub verdict: Verdict,
    /// The instances it had.
    pub instances: Vec<String>,
    /// The time that it waited for its lease.
    #[serde(with = "micros")]
    pub waited: Duration,
    /// The lifetime of the test process.
    #[serde(with = "micros")]
    pub took: Duration,
    /// The part of `took` that was spent on the set-up and tear-down of fixtures.
    #[serde(with = "micros")]
    pub fixtures: Duration,
    /// The end of the test process; `None` if there was none, or nobody saw it end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// The reason it failed as expected, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// Its standard output; `None` where nextest or a terminal has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<OutputFile>,
    /// Its standard error, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<OutputFile>,
}

impl AttemptResult {
    /// The result of an attempt that has had nothing yet.
    pub fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            instances: Vec::new(),
            waited: Duration::ZERO,
            took: Duration::ZERO,
            fixtures: Duration::ZERO,
            exit: None,
            expected: None,
            stdout: None,
            stderr: None,
        }
    }
}

/// The file in the run's folder that holds what an attempt wrote to one stream, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OutputFile {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub length: u64,
    /// Its end, at most [`TAIL`] bytes.
    pub tail: String,
}

/// The maximum number of bytes, from the end of an output file, in an event.
pub const TAIL: usize = 64 << 10;
