//! The playbook as written: its tables, and the keys that every target has.
//!
//! Owns their names, types and documentation (which the JSON Schema shows). Must not know what the
//! values mean together.

use std::{collections::BTreeMap, num::NonZeroUsize};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    diagnostic::{Problem, Problems},
    limit::Limit,
    reading,
    wait::{self, Wait},
};

/// The tables and keys at the top of a playbook.
pub(super) const TABLES: [&str; 11] = [
    "include",
    "select",
    "platforms",
    "targets",
    "recipes",
    "pool",
    "metadata",
    "criteria",
    "overrides",
    "modes",
    "scenarios",
];

/// Tables of later versions: refused by name, since ignoring them would run something else than
/// what was written.
pub(super) const LATER_TABLES: [&str; 1] = ["environments"];

/// Keys that only a target itself can have; the others may stand in `[platforms.X]` too.
pub(super) const OWN_KEYS: [&str; 2] = ["name", "platform"];

/// The most instances of a target that make sense: each is thought of by every run.
pub(super) const MOST_INSTANCES: u32 = 10_000;
/// The most retries of a deploy that make sense.
pub(super) const MOST_RETRIES: u32 = 10;

/// The most spare instances that make sense.
pub(super) const MOST_SPARES: u16 = 100;

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
    #[schemars(with = "u32", range(min = 1, max = MOST_INSTANCES))]
    pub(super) count: Option<Spanned<i64>>,
    /// Named capabilities with no quantity: `gpu`, `nested-virt`.
    #[schemars(with = "Vec<String>")]
    pub(super) features: Option<Vec<Spanned<String>>>,
    /// For "cheapest that fits"; 1 where it is absent.
    #[schemars(with = "f64", range(min = 0))]
    pub(super) cost: Option<Spanned<f64>>,
    /// How many instances beyond `count` stand ready for those that tests with `reuse = false` spend; 0 where it is
    /// absent.
    #[schemars(range(max = MOST_SPARES))]
    pub(super) max_spares: Option<u16>,
    /// What the target has to offer to requirements of tests: `memory = "8 GiB"`, `cores = 4`.
    #[schemars(with = "BTreeMap<String, Capability>")]
    pub(super) capabilities: Option<BTreeMap<Spanned<String>, Spanned<toml::Value>>>,
    /// The recipe that prepares a fresh instance before its first test.
    #[schemars(with = "String")]
    pub(super) recipe: Option<Spanned<String>>,
    /// What a fresh instance is waited for once it answers.
    #[serde(deserialize_with = "wait::one_or_more")]
    #[schemars(with = "OneOrMore")]
    pub(super) wait: Option<Vec<Wait>>,
    /// How long a fresh instance may take to answer; 5 minutes where it is absent.
    pub(super) ready_timeout: Option<Limit>,
    /// How often a failed deploy is tried again, up to 10; once where it is absent.
    #[schemars(with = "u32", range(max = MOST_RETRIES))]
    pub(super) retries: Option<Spanned<i64>>,
    /// What happens to a dirty instance where the platform makes no machines; where it is absent, only what a test
    /// left running is killed.
    #[schemars(with = "OnDirtyWritten")]
    pub(super) on_dirty: Option<Spanned<OnDirtyWritten>>,
    /// The recipe that cleans, for `on-dirty = "clean"`.
    #[schemars(with = "String")]
    pub(super) clean: Option<Spanned<String>>,
}

/// What happens to a dirty instance, as written.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OnDirtyWritten {
    /// It is rebooted.
    Reboot,
    /// The recipe `clean` is run.
    Clean,
    /// It serves nobody until somebody has looked at it.
    Hold,
}

/// The `[pool]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PoolSettings {
    /// Where the pool is: only `"file"`, a folder of this machine.
    pub store: Store,
    /// How many deploys run at once on this machine, those of other runs included.
    pub max_parallel_deploys: NonZeroUsize,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            store: Store::File,
            max_parallel_deploys: NonZeroUsize::new(16).unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// Where a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// In a folder of this machine.
    File,
}

/// One wait or several, as written.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    reason = "only its schema is used: serde would lose the position in it"
)]
pub(super) enum OneOrMore {
    One(Wait),
    More(Vec<Wait>),
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
        let mut own = DeTable::new();
        for name in properties(&schemars::schema_for!(Self)) {
            if let Some((key, value)) = table.remove_entry(name.as_str()) {
                own.insert(key, value);
            }
        }
        let own = Spanned::new(0..0, DeValue::Table(own));
        let (common, mistakes) = reading::attempt(own, |value| Self::deserialize(value));
        for mistake in &mistakes {
            problems.add(Problem::toml(mistake, 0..0));
        }
        common.unwrap_or_default()
    }
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
        assert_eq!(keys.len(), 13);
    }
}
