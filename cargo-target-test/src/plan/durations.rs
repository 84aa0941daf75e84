//! How long cases took in earlier runs.
//!
//! Owns the numbers. Must not know where they are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Seconds, by the binary's id, the test's name and what stands in its brackets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Durations(BTreeMap<String, BTreeMap<String, BTreeMap<String, f64>>>);

impl Durations {
    /// How long a test took on a target.
    pub fn of(&self, binary: &str, test: &str, label: &str) -> Option<f64> {
        self.0.get(binary)?.get(test)?.get(label).copied()
    }

    /// Notes how long a test took; an earlier figure counts as much as this one, so that one slow run does not turn
    /// the order upside down.
    pub fn note(&mut self, binary: &str, test: &str, label: &str, seconds: f64) {
        let tests = self.0.entry(binary.to_owned()).or_default();
        let labels = tests.entry(test.to_owned()).or_default();
        let noted = labels.entry(label.to_owned()).or_insert(seconds);
        // Milliseconds are enough.
        *noted = ((*noted + seconds) / 2.0 * 1000.0).round() / 1000.0;
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
