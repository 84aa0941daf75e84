//! The JSON objects on the standard streams of a platform's programs: requests and answers.
//!
//! Removes secrets from recorded data. Must not start processes.

use std::{collections::BTreeMap, num::NonZeroU16, path::PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    super::{Deployed, Found, Provenance, values::check_word},
    CommandSpec,
};
use crate::{
    connect::{ProgramReach, Reach},
    error::Result as Answered,
    secret::{self, Text},
};

/// The variable with the request as JSON, for programs that reach an instance.
const REQUEST: &str = "TARGET_TEST_REQUEST";

impl ProgramReach {
    /// The environment of the programs, with looked-up secrets.
    ///
    /// # Errors
    /// Fails if a secret cannot be looked up.
    pub fn environment(&self) -> Answered<BTreeMap<String, String>> {
        let mut env = secret::values(&self.env)?;
        let mut request: Map<String, Value> =
            serde_json::from_str(&self.request).map_err(std::io::Error::other)?;
        let target = request.get("target").and_then(Value::as_str);
        let target = target.unwrap_or_default().to_owned();
        if let Some(Value::Object(params)) = request.get_mut("params") {
            let bind = |key: &str, text: &Text| {
                text.bound(&format!("`{key}` of target `{target}`"), &self.directory)
            };
            *params = secret::filled("params", params, &bind)?;
        }
        env.insert(REQUEST.to_owned(), Value::Object(request).to_string());
        Ok(env)
    }
}

/// A request, written to a program's standard input. `action` is `deploy`, `delete`, `restart`, `renew`, `list` or `exec`, so
/// that one program can implement several. `data` is that of `deploy`'s answer; `None` if it never answered.
pub(super) fn request(
    action: &str,
    spec: &CommandSpec,
    params: &Map<String, Value>,
    data: Option<&Value>,
) -> Value {
    json!({
        "action": action,
        "instance": spec.instance,
        "target": spec.target,
        "index": spec.index,
        "label": spec.label,
        "unique": spec.unique,
        "params": params,
        "data": data,
        "owner": spec.provenance.owner,
        "born": spec.provenance.born,
        "expires": spec.provenance.expires,
        "pool": spec.provenance.pool,
    })
}

/// The answer of `deploy`.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a JSON object such as {\"host\": \"10.0.0.1\"}"
)]
pub(super) struct DeployAnswer {
    /// Host name or address.
    pub(super) host: String,
    pub(super) port: Option<NonZeroU16>,
    pub(super) user: Option<String>,
    /// For the login and for `sudo`: the password, or a reference to it.
    pub(super) password: Option<Text>,
    /// The private key file, relative to the playbook, or the private key.
    pub(super) identity: Option<String>,
    /// For tests, and for `delete`.
    #[serde(default)]
    pub(super) data: Map<String, Value>,
    #[serde(default)]
    pub(super) transport: AnswerTransport,
}

/// One element of the answer of `list`.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"unique\": \"tt-1f3a9c-a-0\"}"
)]
pub(super) struct Listed {
    unique: String,
    what: Option<String>,
    data: Option<Map<String, Value>>,
    #[serde(default)]
    owner: String,
    #[serde(default)]
    born: u64,
    #[serde(default)]
    expires: u64,
    #[serde(default)]
    pool: PathBuf,
}

impl Listed {
    /// Parses a program's standard output, which must contain only the JSON array.
    pub(super) fn read(stdout: &[u8]) -> Result<Vec<Self>, String> {
        parse(stdout, "list")
    }

    /// The result for `gc`; `by` names the program.
    pub(super) fn found(self, by: &str) -> Found {
        let unique = self.unique;
        let what = self.what;
        let what = what.unwrap_or_else(|| format!("`{unique}` (found by `{by}`)"));
        Found {
            deployed: self.data.map(|data| Deployed {
                data: Value::Object(data),
                ..Deployed::new("", Reach::local(""))
            }),
            provenance: Provenance {
                owner: self.owner,
                born: self.born,
                expires: self.expires,
                pool: self.pool,
            },
            ..Found::new(unique, what)
        }
    }
}

/// The transport to the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum AnswerTransport {
    #[default]
    Ssh,
    /// Commands run on this machine.
    Local,
}

impl DeployAnswer {
    /// Parses a program's standard output, which must contain only the JSON object.
    pub(super) fn read(stdout: &[u8]) -> Result<Self, String> {
        if stdout.trim_ascii().is_empty() {
            return Err("printed nothing to standard output".to_owned());
        }
        let mut answer: Self = parse(stdout, "answer")?;
        let user = answer.user.iter().map(|user| ("user", user));
        for (what, text) in user.chain([("host", &answer.host)]) {
            check_word(what, text)
                .map_err(|problem| format!("printed an invalid answer: {problem}"))?;
        }
        if let Some(Text::Plain(password)) = &answer.password {
            secret::register("password", password);
        }
        // Recorded in the pool, and visible to tests.
        secret::redact_strings(&mut answer.data);
        Ok(answer)
    }
}

/// Parses standard output that must contain only `what`.
fn parse<T: serde::de::DeserializeOwned>(stdout: &[u8], what: &str) -> Result<T, String> {
    serde_json::from_slice(stdout).map_err(|error| {
        let shown = excerpt(stdout);
        format!("printed an invalid {what} to standard output: {error}; output: `{shown}`")
    })
}

/// The beginning of a program's output, on one line.
fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if ["\"password\"", "PRIVATE KEY"]
        .iter()
        .any(|sign| text.contains(sign))
    {
        return "not shown, since it has a secret".to_owned();
    }
    // A truncated secret would not be recognized.
    let text = secret::redacted(&text);
    let text = text.trim();
    let mut shown: String = text.chars().take(120).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown.escape_debug().to_string()
}

#[cfg(test)]
mod tests;
