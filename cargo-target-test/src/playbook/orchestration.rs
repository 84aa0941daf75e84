//! The `[orchestration]` table.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{criteria::Texts, limit::Limit};

/// The `[orchestration]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct OrchestrationSettings {
    /// The folder of the descriptions, or several, relative to the playbook. Each file `NAME.json` or `NAME.toml` in it
    /// describes the orchestration `NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptions: Option<Texts>,
    /// The longest break of the connection to an instance that is an error of the event it cut. A longer one ends the
    /// orchestration, which is then infra.
    pub link_grace: Limit,
    /// Ignored, with a note: events are compiled into the tests.
    #[serde(
        rename = "orchestration_sources",
        skip_serializing_if = "Option::is_none"
    )]
    pub sources: Option<Texts>,
    /// The absolute paths of the folders.
    #[serde(skip)]
    pub folders: Vec<PathBuf>,
}

impl Default for OrchestrationSettings {
    fn default() -> Self {
        Self {
            descriptions: None,
            link_grace: Limit(Duration::from_secs(60)),
            sources: None,
            folders: Vec::new(),
        }
    }
}

impl OrchestrationSettings {
    /// True if the playbook has no such table.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
