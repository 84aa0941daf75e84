//! Parts of events: the use of targets by a run, and the instances at its end.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::micros;
use crate::case::verdict::CaseCounts;

/// The use of one target by a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TargetTime {
    /// The target's label.
    pub target: String,
    /// The number of instances.
    pub instances: usize,
    /// The sum of the times for which the instances existed in the run.
    #[serde(with = "micros")]
    #[schemars(with = "u64")]
    pub time: Duration,
    /// The target's cost.
    pub cost: f64,
    /// The cases on the target by their results.
    #[serde(default, skip_serializing_if = "CaseCounts::is_empty")]
    pub cases: CaseCounts,
}

/// The instances at the end of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CleanUp {
    /// Instances that do not exist any more.
    #[serde(skip)]
    pub deleted: Vec<String>,
    /// Existing machines that are not in the pool any more.
    #[serde(skip)]
    pub released: Vec<String>,
    /// Instances that stay, as requested.
    pub kept: Vec<String>,
    /// Instances that an earlier run kept and that stay, since this run did not use them; for example of a renamed
    /// target.
    pub unused: Vec<String>,
    /// Instances that an earlier run kept, and that this run used and did not keep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unkept: Vec<String>,
    /// Instances that dead runs left; they were deleted or released.
    pub left: Vec<String>,
    /// Instances that stay, since a living process uses them: `pid 4711 smoke[alpha], for 12 s`.
    pub held: Vec<InstanceNote>,
    /// Instances that stay dirty until the user or a later run repairs them; the notes are the reasons.
    pub dirty: Vec<InstanceNote>,
    /// Instances of platforms that this tool does not know; the notes name the tools that created them.
    pub unknown: Vec<InstanceNote>,
    /// Instances that may still exist, and stay in the pool until a delete succeeds; the notes are the errors.
    pub failed: Vec<InstanceNote>,
}

/// An instance with a note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct InstanceNote {
    /// The instance.
    pub instance: String,
    /// The note.
    pub note: String,
}

impl InstanceNote {
    /// A note on an instance.
    pub(crate) fn new(instance: &str, note: impl Into<String>) -> Self {
        Self {
            instance: instance.to_owned(),
            note: note.into(),
        }
    }
}
