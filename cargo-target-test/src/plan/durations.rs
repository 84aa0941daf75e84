//! Durations of cases in earlier runs.
//!
//! Must not know where they are stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Seconds, by binary id, test name and the label in the brackets of the case name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Durations(BTreeMap<String, BTreeMap<String, BTreeMap<String, f64>>>);

impl Durations {
    /// Returns the recorded seconds of a test on a target.
    pub fn of(&self, binary: &str, test: &str, label: &str) -> Option<f64> {
        self.0.get(binary)?.get(test)?.get(label).copied()
    }

    /// Records the duration of a test. The new value is averaged with the recorded one, so that one slow run does not
    /// upset the order.
    pub fn note(&mut self, binary: &str, test: &str, label: &str, seconds: f64) {
        let tests = self.0.entry(binary.to_owned()).or_default();
        let labels = tests.entry(test.to_owned()).or_default();
        let noted = labels.entry(label.to_owned()).or_insert(seconds);
        // Rounded to milliseconds.
        *noted = ((*noted + seconds) / 2.0 * 1000.0).round() / 1000.0;
    }

    /// Returns true if no duration is recorded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
