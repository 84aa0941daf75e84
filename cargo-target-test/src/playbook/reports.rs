//! The tables about the results of a run: `[report]` and `[notify]`.

use std::{num::NonZeroUsize, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::limit::Limit;
use crate::secret::Text;

/// The `[report]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ReportSettings {
    /// The number of run folders to keep in `<target directory>/target-test`. A run removes the oldest ones when it starts;
    /// the folder of an active run stays.
    pub keep: NonZeroUsize,
}

impl Default for ReportSettings {
    fn default() -> Self {
        Self {
            keep: NonZeroUsize::new(20).unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// The `[notify]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct NotifySettings {
    /// The events that are told: `"case"`, the end of each attempt of a test; `"failure"`, of each that failed, crashed or
    /// ended as infra; `"end"`, the end of the run.
    pub on: Vec<NotifyOn>,
    /// A command line of this host's `sh`, started in the playbook's folder for each event. The event is on its standard
    /// input, as one line of JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The address, `http://` or `https://`, to which each event is posted as JSON. It may be a reference to a secret.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "hook_address"
    )]
    pub url: Option<Text>,
    /// The maximum time of one command or post. One that fails or takes longer is tried three times.
    pub timeout: Limit,
}

impl Default for NotifySettings {
    fn default() -> Self {
        Self {
            on: vec![NotifyOn::End],
            command: None,
            url: None,
            timeout: Limit(Duration::from_secs(5)),
        }
    }
}

/// An event that `[notify]` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NotifyOn {
    /// The end of each attempt of a test.
    Case,
    /// The end of each attempt that failed, crashed or ended as infra.
    Failure,
    /// The end of the run.
    End,
}

impl NotifyOn {
    /// The name in a playbook.
    pub fn name(self) -> &'static str {
        match self {
            Self::Case => "case",
            Self::Failure => "failure",
            Self::End => "end",
        }
    }
}

fn hook_address<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Text>, D::Error> {
    let text = Text::deserialize(from)?;
    match &text {
        Text::Plain(url)
            if !["http://", "https://"]
                .iter()
                .any(|one| url.starts_with(one)) =>
        {
            Err(D::Error::custom(
                "the address must start with `http://` or `https://`",
            ))
        }
        _ => Ok(Some(text)),
    }
}
