//! Results that a test reports beside its own verdict: measurements and sub-results.
//!
//! Owns those parts of messages. Must not know how they are reported.

use serde::{Deserialize, Serialize};

/// A number that a test measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Its name: `throughput`.
    pub name: String,
    /// The value.
    pub value: f64,
    /// The unit: `Gbit/s`; `None` for a plain number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// One of many results inside one test: a line of a KTAP stream, a row of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubResult {
    /// Its path below the test, outermost first.
    pub path: Vec<String>,
    /// The lane it ran in, an instance or a role for example; `None` if there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// Its verdict.
    pub verdict: SubVerdict,
    /// When it began, in microseconds since 1970.
    pub started: u64,
    /// How long it took, in microseconds.
    pub took: u64,
    /// The reason or the output, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The verdict of a [`SubResult`]; its reason is the sub-result's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SubVerdict {
    /// It passed.
    Pass,
    /// It failed.
    Fail,
    /// The system under test died under it.
    Crash,
    /// It does not apply.
    Skip,
    /// What it needs could not be had or was lost.
    Infra,
}
