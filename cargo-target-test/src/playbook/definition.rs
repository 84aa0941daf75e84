//! The definition of a target's instances, in canonical form, and its hash.
//!
//! Must not know the meaning of any key.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::PlaybookTarget;
use crate::digest;

/// The values an instance is created and prepared from. A kept instance is used only if its definition has the same
/// hash as that of the target. `count` and `cost` are not part of a definition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Definition {
    /// Canonical values by key: `platform`, `platform-version`, `features`, `recipe.steps`, `recipe.files` (a digest of
    /// their content), `wait`, and each parameter by its dotted key. Absent (null) parameters are omitted; paths are as
    /// written.
    pub keys: BTreeMap<String, String>,
    /// The first 16 hex digits of the SHA-256 hash of the keys.
    pub hash: String,
}

impl Definition {
    pub(super) fn new(
        platform: &str,
        version: u32,
        features: &[String],
        lifecycle: Vec<(&'static str, Value)>,
        parameters: &Value,
    ) -> Self {
        let mut keys = BTreeMap::new();
        for (key, value) in lifecycle {
            keys.insert(key.to_owned(), canonical(&value));
        }
        flatten("", parameters, &mut |key, value| {
            keys.insert(key, canonical(value));
        });
        keys.insert("platform".to_owned(), Value::from(platform).to_string());
        keys.insert("platform-version".to_owned(), version.to_string());
        keys.insert("features".to_owned(), Value::from(features).to_string());
        Self::of_keys(keys)
    }

    /// The definition with these canonical values.
    pub(super) fn of_keys(keys: BTreeMap<String, String>) -> Self {
        let mut hasher = Sha256::new();
        for (key, value) in &keys {
            hasher.update(format!("{key}={value}\n"));
        }
        let hash = short_hash(hasher);
        Self { keys, hash }
    }

    /// Computes the definition of a target again, after its recipe has changed.
    pub(super) fn of(target: &PlaybookTarget) -> Self {
        if !target.roles.is_empty() {
            return Self::of_environment(target);
        }
        let version = target.definition.keys.get("platform-version");
        let version = version.and_then(|version| version.parse().ok());
        let version = version.unwrap_or_default();
        let (features, keys) = (&target.features, target.lifecycle.keys());
        Self::new(target.platform, version, features, keys, &target.parameters)
    }

    /// The first key whose value differs from that in `other_keys`.
    pub fn changed_key(&self, other_keys: &BTreeMap<String, String>) -> Option<String> {
        let keys = self.keys.keys().chain(other_keys.keys());
        keys.filter(|key| self.keys.get(*key) != other_keys.get(*key))
            .min()
            .cloned()
    }
}

/// Calls `each` for each value in `value` with its dotted key. Empty tables are values; absent (null) values are not.
pub(crate) fn flatten(prefix: &str, value: &Value, each: &mut dyn FnMut(String, &Value)) {
    match value {
        Value::Null => {}
        Value::Object(map) if prefix.is_empty() || !map.is_empty() => {
            for (key, value) in map {
                flatten(&dotted(prefix, key), value, each);
            }
        }
        value => each(prefix.to_owned(), value),
    }
}

/// Returns the first 16 hex digits of a hash.
pub(super) fn short_hash(hasher: Sha256) -> String {
    digest::hex(&hasher.finalize()[..8])
}

/// Returns compact JSON with sorted keys, regardless of serde_json's `preserve_order`.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            let entry = |(key, value): (&String, _)| {
                format!("{}:{}", Value::from(key.as_str()), canonical(value))
            };
            let entries: Vec<_> = sorted.into_iter().map(entry).collect();
            format!("{{{}}}", entries.join(","))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        scalar => scalar.to_string(),
    }
}

/// Returns `prefix.key`, with the key quoted if TOML requires it.
pub(super) fn dotted(prefix: &str, key: &str) -> String {
    let key = toml_key(key);
    if prefix.is_empty() {
        key
    } else {
        format!("{prefix}.{key}")
    }
}

/// True if a dotted key is inside the table of another key.
pub(crate) fn is_inside(key: &str, table: &str) -> bool {
    let rest = key.strip_prefix(table);
    rest.is_some_and(|rest| rest.starts_with('.'))
}

/// Returns a key in TOML syntax, quoted if it cannot be bare.
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
