//! Messages about results that a test reports in addition to its verdict: measurements and sub-results.

use serde::{Deserialize, Serialize};

/// A number that a test measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The name: `throughput`.
    pub name: String,
    /// The value.
    pub value: f64,
    /// The unit: `Gbit/s`; `None` for a plain number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// One of several results of one test, such as a line of a KTAP stream or a row of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubResult {
    /// The path below the test, outermost first.
    pub path: Vec<String>,
    /// The lane, such as an instance or a role; `None` if there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// The verdict.
    pub verdict: VerdictKind,
    /// The start time, in microseconds since 1970.
    pub started: u64,
    /// The duration, in microseconds.
    pub took: u64,
    /// The reason or the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The kind of a verdict, of a case or of a [`SubResult`]; the reason stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictKind {
    /// Passed.
    Pass,
    /// Failed.
    Fail,
    /// The system under test crashed.
    Crash,
    /// Skipped: does not apply.
    Skip,
    /// A required resource was unavailable or was lost.
    Infra,
}
