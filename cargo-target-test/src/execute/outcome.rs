//! What came of each attempt of a case, as the broker saw it.
//!
//! Owns the verdicts. Must not know nextest's, which are only pass and fail, nor reports.

use std::time::Duration;

use serde::Serialize;

use crate::secret::redact;

/// One attempt.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The test binary's path.
    pub binary: String,
    /// The case, test without a target, or deploy entry: `smoke[alpha]`.
    pub case: String,
    /// nextest's attempt, from 1.
    pub attempt: u32,
    /// What it means.
    pub verdict: Verdict,
    /// The instances it had.
    pub instances: Vec<String>,
    /// How long it waited for its lease.
    pub waited: Duration,
    /// How long the test process lived.
    pub took: Duration,
    /// How much of that fixtures took.
    pub fixtures: Duration,
    /// Why it failed as expected, where it did.
    pub expected: Option<String>,
    /// The end of its output, unless it passed.
    pub stdout: String,
    /// The end of its standard error, unless it passed.
    pub stderr: String,
}

/// What an attempt means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The test passed, or failed as expected.
    Pass,
    /// The test failed.
    Fail,
    /// The test said that it does not apply; why.
    Skip(String),
    /// The instance could not be had or was lost; why. Never a test's failure.
    Infra(String),
}

impl Outcome {
    /// What the test said of itself, beside how it ended.
    pub(crate) fn add_said(&mut self, expected: Option<String>, fixtures: Duration) {
        self.expected = self.expected.take().or(expected);
        self.expected = self
            .expected
            .take()
            .filter(|_| self.verdict == Verdict::Pass);
        self.fixtures = fixtures.min(self.took);
    }

    /// How long the test itself took.
    #[must_use]
    pub fn test_took(&self) -> Duration {
        self.took - self.fixtures
    }

    /// Takes secrets out of everything that programs said.
    pub(crate) fn redact(&mut self) {
        redact(&mut self.stdout);
        redact(&mut self.stderr);
        if let Verdict::Skip(why) | Verdict::Infra(why) = &mut self.verdict {
            redact(why);
        }
        self.expected.iter_mut().for_each(redact);
    }

    /// An attempt that has just begun.
    pub(crate) fn of_case(binary: &str, case: &str, attempt: u32) -> Self {
        Self {
            binary: binary.to_owned(),
            case: case.to_owned(),
            attempt,
            verdict: Verdict::Fail,
            instances: Vec::new(),
            waited: Duration::ZERO,
            took: Duration::ZERO,
            fixtures: Duration::ZERO,
            expected: None,
            stdout: String::new(),
            stderr: String::new(),
        }
    }
}
