//! Parts of events: the target of an instance.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The target of an instance. An instance's name must not be parsed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct InstanceTarget {
    /// The target's name.
    pub name: String,
    /// The target's label: the text in the brackets of its cases.
    pub label: String,
    /// The target's platform.
    pub platform: String,
}
