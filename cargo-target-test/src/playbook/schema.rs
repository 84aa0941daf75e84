//! The playbook as written: its tables, and the keys that every target has.
//!
//! Owns their names, types and documentation (which the JSON Schema shows). Must not know what the
//! values mean together.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::diagnostic::{Problem, Problems};

/// The tables and keys at the top of a playbook.
pub(super) const TABLES: [&str; 3] = ["select", "platforms", "targets"];

/// Tables of later versions: refused by name, since ignoring them would run something else than
/// what was written.
pub(super) const LATER_TABLES: [&str; 8] = [
    "recipes",
    "criteria",
    "overrides",
    "environments",
    "modes",
    "metadata",
    "pool",
    "scenarios",
];

/// Keys of a target that later versions will know.
pub(super) const LATER_KEYS: [&str; 1] = ["recipe"];

/// Keys that only a target itself can have; the others may stand in `[platforms.X]` too.
pub(super) const OWN_KEYS: [&str; 2] = ["name", "platform"];

/// What a target's name looks like, and what it must not end in (instances are `NAME-0`, `NAME-1`).
pub(super) const NAME_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._-]*$";

/// The longest name of a target: file names are made of it.
pub(super) const NAME_LENGTH: usize = 64;

/// Which tests are multiplied by the targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Select {
    /// Tests with `#[target_test]` where there are any, else all.
    #[default]
    Auto,
    /// All tests.
    All,
}

/// The keys that every target has, whatever its platform.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Common {
    /// The target's name: letters, digits, `.`, `_` and `-`, not ending in `-<digits>`.
    #[schemars(with = "String", regex(pattern = NAME_PATTERN), length(max = NAME_LENGTH))]
    pub(super) name: Option<Spanned<String>>,
    /// The way instances of the target are made.
    #[schemars(with = "String")]
    pub(super) platform: Option<Spanned<String>>,
    /// The most instances there may be at once; the platform decides where it is absent.
    #[schemars(with = "u32", range(min = 1))]
    pub(super) count: Option<Spanned<i64>>,
    /// Named capabilities with no quantity: `gpu`, `nested-virt`.
    #[schemars(with = "Vec<String>")]
    pub(super) features: Option<Vec<Spanned<String>>>,
    /// For "cheapest that fits"; 1 where it is absent.
    #[schemars(with = "f64", range(min = 0))]
    pub(super) cost: Option<Spanned<f64>>,
    /// What the target has to offer to requirements of tests: `memory = "8 GiB"`, `cores = 4`.
    #[schemars(with = "BTreeMap<String, Capability>")]
    pub(super) capabilities: Option<BTreeMap<Spanned<String>, Spanned<toml::Value>>>,
}

/// A capability as written.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    reason = "only its schema is used: serde would lose the position in it"
)]
pub(super) enum Capability {
    Text(#[schemars(length(min = 1))] String),
    Number(#[schemars(range(min = 0))] f64),
}

impl Common {
    /// Takes the common keys out of a target's table. A value of the wrong type is a problem, and
    /// absent from the result.
    pub(super) fn take(table: &mut DeTable<'_>, problems: &mut Problems<'_>) -> Self {
        let mut good = DeTable::new();
        for name in properties(&schemars::schema_for!(Self)) {
            let Some((key, value)) = table.remove_entry(name.as_str()) else {
                continue;
            };
            let mut alone = DeTable::new();
            let span = value.span();
            alone.insert(key.clone(), value.clone());
            match read::<Self>(Spanned::new(span.clone(), DeValue::Table(alone))) {
                Ok(_) => drop(good.insert(key, value)),
                Err(error) => problems.add(Problem::toml(&error, span)),
            }
        }
        read(Spanned::new(0..0, DeValue::Table(good))).unwrap_or_default()
    }
}

/// Reads one value of the parsed document into its type; errors carry the position.
pub(super) fn read<T: for<'de> Deserialize<'de>>(
    value: Spanned<DeValue<'_>>,
) -> Result<T, toml::de::Error> {
    T::deserialize(ValueDeserializer::from(value))
}

/// The keys that an object's schema knows.
pub(super) fn properties(schema: &schemars::Schema) -> Vec<String> {
    let properties = schema
        .get("properties")
        .and_then(|properties| properties.as_object());
    properties
        .into_iter()
        .flatten()
        .map(|(key, _)| key.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_keys_are_common_keys() {
        let keys = properties(&schemars::schema_for!(Common));
        assert!(
            OWN_KEYS.iter().all(|own| keys.iter().any(|key| key == own)),
            "{keys:?}"
        );
        assert!(
            LATER_KEYS
                .iter()
                .all(|later| keys.iter().all(|key| key != later))
        );
        assert_eq!(keys.len(), 6);
    }
}
