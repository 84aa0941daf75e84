//! What makes instances interchangeable: the definition and its hash.
//!
//! Owns the canonical text of a definition. Must not know what any key means.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Target;

/// What an instance was made from. A kept instance serves only while its definition's hash equals
/// that of the playbook's target. `count` and `cost` are no part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Definition {
    /// Key -> canonical text: `platform`, `platform-version`, `features`, `recipe.steps`, `recipe.files` (their content),
    /// `wait`, and every parameter by its dotted key. Absent (null) parameters are left out, paths are as written.
    pub keys: BTreeMap<String, String>,
    /// SHA-256 over the keys, the first 16 hex digits.
    pub hash: String,
}

impl Definition {
    /// The definition of these.
    pub(super) fn new(
        platform: &str,
        version: u32,
        features: &[String],
        care: Vec<(&'static str, Value)>,
        parameters: &Value,
    ) -> Self {
        let mut keys = BTreeMap::new();
        keys.extend(
            care.iter()
                .map(|(key, value)| ((*key).to_owned(), canonical(value))),
        );
        flatten("", parameters, &mut keys);
        keys.insert("platform".to_owned(), Value::from(platform).to_string());
        keys.insert("platform-version".to_owned(), version.to_string());
        keys.insert("features".to_owned(), Value::from(features).to_string());
        let mut hasher = Sha256::new();
        for (key, value) in &keys {
            hasher.update(format!("{key}={value}\n"));
        }
        let hash = hasher
            .finalize()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self { keys, hash }
    }

    /// That of a target whose recipe has changed.
    pub(super) fn of(target: &Target) -> Self {
        let version = target.definition.keys.get("platform-version");
        let version = version.and_then(|version| version.parse().ok());
        let (features, keys) = (&target.features, target.care.keys());
        let (platform, parameters) = (target.platform, &target.parameters);
        Self::new(
            platform,
            version.unwrap_or_default(),
            features,
            keys,
            parameters,
        )
    }

    /// The first key in which another definition's keys differ, for "which key changed".
    pub fn changed_key(&self, other_keys: &BTreeMap<String, String>) -> Option<String> {
        let keys = self.keys.keys().chain(other_keys.keys());
        keys.filter(|key| self.keys.get(*key) != other_keys.get(*key))
            .min()
            .cloned()
    }
}

/// Tables become dotted keys; everything else is a value, as JSON with sorted keys.
fn flatten(prefix: &str, value: &Value, keys: &mut BTreeMap<String, String>) {
    match value {
        Value::Null => {}
        Value::Object(map) if prefix.is_empty() || !map.is_empty() => {
            for (key, value) in map {
                flatten(&dotted(prefix, key), value, keys);
            }
        }
        value => {
            keys.insert(prefix.to_owned(), canonical(value));
        }
    }
}

/// JSON with sorted keys and no spaces, whatever order serde_json was built to keep.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            let entry = |(key, value)| format!("{}:{}", Value::from(key), canonical(value));
            let entries: Vec<_> = sorted
                .into_iter()
                .map(|(key, value)| entry((key.as_str(), value)))
                .collect();
            format!("{{{}}}", entries.join(","))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        scalar => scalar.to_string(),
    }
}

/// `prefix.key`, quoted as TOML would where needed.
pub(super) fn dotted(prefix: &str, key: &str) -> String {
    let key = toml_key(key);
    if prefix.is_empty() {
        key
    } else {
        format!("{prefix}.{key}")
    }
}

/// A key as TOML writes it: bare, else quoted.
pub(crate) fn toml_key(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !key.is_empty() && key.bytes().all(bare) {
        key.to_owned()
    } else {
        toml::Value::from(key).to_string()
    }
}

#[cfg(test)]
mod tests;
