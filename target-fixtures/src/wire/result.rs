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

/// A question for values that earlier runs recorded for a test, on the target of the asking test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousQuery {
    /// The name of the test in the test binary: `net::bulk`; `None` for the asking test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// The name of the metric; `None` for the durations of the test, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// The maximum number of values.
    pub limit: usize,
}

/// A value of a test in a run that passed the test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreviousValue {
    /// The run's id.
    pub run: String,
    /// The end of the test, in microseconds since 1970.
    pub time: u64,
    /// The value.
    pub value: f64,
    /// The unit; `None` for a plain number.
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

impl VerdictKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Pass, Self::Fail, Self::Crash, Self::Skip, Self::Infra];

    /// The name, as in JSON: `pass`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Crash => "crash",
            Self::Skip => "skip",
            Self::Infra => "infra",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_json() {
        for kind in VerdictKind::ALL {
            let json = serde_json::to_value(kind).expect("JSON");
            assert_eq!(json, kind.name());
        }
    }
}
