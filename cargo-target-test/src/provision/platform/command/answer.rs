//! What a script is told on its standard input, and what `deploy` answers on its standard output.
//!
//! Owns both JSON objects. Must not start anything.

use std::{collections::BTreeMap, num::NonZeroU16, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::{Deployed, Found, Order, Reach, parameters::check_word};

/// What a script is told.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a> {
    /// `deploy`, `delete` or `restart`, so that one script can be all three.
    pub(super) action: &'static str,
    pub(super) instance: &'a str,
    pub(super) target: &'a str,
    pub(super) index: u32,
    pub(super) label: &'a str,
    pub(super) unique: &'a str,
    pub(super) params: &'a Map<String, Value>,
    /// `deploy`'s answer; `null` where it never answered.
    pub(super) data: Option<&'a Value>,
}

impl<'a> Request<'a> {
    pub(super) fn new(
        action: &'static str,
        order: &'a Order,
        params: &'a Map<String, Value>,
        data: Option<&'a Value>,
    ) -> Self {
        Self {
            action,
            instance: &order.instance,
            target: &order.target,
            index: order.index,
            label: &order.label,
            unique: &order.unique,
            params,
            data,
        }
    }

    /// The JSON, one line.
    pub(super) fn json(&self) -> Vec<u8> {
        // Strings, integers and a map with string keys cannot fail.
        let mut json = serde_json::to_vec(self).unwrap_or_default();
        json.push(b'\n');
        json
    }
}

/// What `deploy` answers.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    /// Host name or address.
    pub(super) host: String,
    pub(super) port: Option<NonZeroU16>,
    pub(super) user: Option<String>,
    /// For tests, and for `delete`.
    #[serde(default)]
    pub(super) data: Map<String, Value>,
    #[serde(default)]
    pub(super) transport: Transport,
}

/// One of what `list` prints.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    unique: String,
    what: Option<String>,
    data: Option<Map<String, Value>>,
}

impl Listed {
    /// Reads a script's standard output, which must be the JSON array and nothing else.
    pub(super) fn read(stdout: &[u8]) -> Result<Vec<Self>, String> {
        serde_json::from_slice(stdout).map_err(|error| {
            let shown = excerpt(stdout);
            format!("printed no valid list to standard output: {error}; it printed `{shown}`")
        })
    }

    /// For `gc`; `by` names the program.
    pub(super) fn found(self, by: &str) -> Found {
        let unique = self.unique;
        let deployed = self.data.map(|data| Deployed {
            host: String::new(),
            port: None,
            user: None,
            data: Value::Object(data),
            reach: Reach::Local {
                directory: PathBuf::new(),
                env: BTreeMap::new(),
                inherit: None,
                user: None,
            },
        });
        Found {
            what: self
                .what
                .unwrap_or_else(|| format!("`{unique}`, says `{by}`")),
            unique,
            parameters: Value::Null,
            deployed,
        }
    }
}

/// How the machine is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Transport {
    #[default]
    Ssh,
    /// Commands run on this machine.
    Local,
}

impl Answer {
    /// Reads a script's standard output, which must be the JSON object and nothing else.
    pub(super) fn read(stdout: &[u8]) -> Result<Self, String> {
        if stdout.trim_ascii().is_empty() {
            return Err("printed nothing to standard output".to_owned());
        }
        let answer: Self = serde_json::from_slice(stdout).map_err(|error| {
            let shown = excerpt(stdout);
            format!("printed no valid answer to standard output: {error}; it printed `{shown}`")
        })?;
        let user = answer.user.iter().map(|user| ("user", user));
        for (what, text) in user.chain([("host", &answer.host)]) {
            check_word(what, text).map_err(|problem| format!("gave a wrong answer: {problem}"))?;
        }
        Ok(answer)
    }
}

/// The beginning of what a script printed, on one line.
fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let mut shown: String = text.chars().take(120).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown.escape_debug().to_string()
}

#[cfg(test)]
mod tests;
