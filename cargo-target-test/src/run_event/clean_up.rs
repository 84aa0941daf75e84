//! Parts of events: what a run used, and what is left of it.
//!
//! Owns their format.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::micros;

/// The use that a run made of one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TargetTime {
    /// The target's label.
    pub target: String,
    /// The number of instances.
    pub instances: usize,
    /// The time that they existed for the run, added up.
    #[serde(with = "micros")]
    pub time: Duration,
    /// The target's cost.
    pub cost: f64,
}

/// The instances at the end of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CleanUp {
    /// Instances that stay, as asked.
    pub kept: Vec<String>,
    /// Instances that were kept earlier and stay, since this run did not use them.
    pub unused: Vec<String>,
    /// Instances that interrupted runs had left, and that are gone now.
    pub left: Vec<String>,
    /// Instances that living processes use, and by whom.
    pub held: Vec<InstanceNote>,
    /// Instances that stay dirty, and the reasons.
    pub dirty: Vec<InstanceNote>,
    /// Instances of platforms that this tool does not know, and the tools that made them.
    pub unknown: Vec<InstanceNote>,
    /// Instances that could not be deleted, and the errors.
    pub failed: Vec<InstanceNote>,
}

/// An instance, and something to be said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct InstanceNote {
    /// The instance.
    pub instance: String,
    /// The note.
    pub note: String,
}
