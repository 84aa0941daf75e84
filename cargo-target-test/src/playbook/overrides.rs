//! The syntax of overrides: changes of the playbook to the metadata that tests declare.
//!
//! Must not know tests; the plan matches tests against overrides.

use std::{collections::BTreeMap, num::NonZeroU32};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use target_fixtures::{
    metadata::{Condition, Metadata, ProcessPlace, RetryOn, Reuse},
    requirement::Requirement,
};

use super::{limit::Limit, names::wrong_size, schema::PlaceSchema, wait::Pattern};

/// An override of `[[overrides]]`. Each key replaces the value that a test and its modules declare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Override {
    /// Part of the test name (`a::smoke`), or a regular expression in slashes: `/^a::/`. Selects the tests to change.
    pub name: Pattern,
    /// The only platform the test runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Patterns of the names of targets the test runs on. An empty array allows any target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Vec<String>>,
    /// The category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// The area under test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub area: Option<String>,
    /// The priority, 0 (most important) to 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u8>", range(max = 4))]
    pub priority: Option<Priority>,
    /// Tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// The owner of the test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Features that a target must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Vec<String>>,
    /// Requirements by capability: `requires = { memory = ">= 1 GiB" }`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "requirements"
    )]
    pub requires: Option<BTreeMap<String, Required>>,
    /// Reuse of the instance by later tests: `true`, `false`, or `"snapshot"` to restore a snapshot first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Value", extend("anyOf" = [{ "type": "boolean" }, { "const": "snapshot" }]))]
    pub reuse: Option<Reuse>,
    /// Starts the test on an instance that no test has used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh: Option<bool>,
    /// The instance for the next attempt after a failed one: the same or a fresh one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("enum" = ["same", "fresh"]))]
    pub retry_on: Option<RetryOn>,
    /// The place of the test process: `"host"`, `"target"`, the instance itself, or a role of the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PlaceSchema>")]
    pub runs_on: Option<ProcessPlace>,
    /// Runs the test on one of the targets that fit, instead of on each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any: Option<bool>,
    /// The number of instances of one target that the test needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<NonZeroU32>,
    /// The maximum run time, counted from the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Limit>,
    /// The number of retries by nextest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u16>,
    /// The reason to skip the test. An empty string runs a test that declares `skip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<String>,
    /// The reason the test is expected to fail. An empty string expects a pass of a test that declares `expect_fail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_fail: Option<String>,
}

impl Override {
    /// True if the override changes nothing.
    pub(super) fn is_empty(&self) -> bool {
        let table = toml::Table::try_from(self).unwrap_or_default();
        table.len() == 1
    }

    /// The override's keys that affect the choice of targets and instances.
    pub fn target_keys(&self) -> Vec<String> {
        const TARGET_KEYS: [&str; 10] = [
            "any", "count", "features", "fresh", "platform", "requires", "retry-on", "reuse",
            "runs-on", "targets",
        ];
        let table = toml::Table::try_from(self).unwrap_or_default();
        let keys = table.into_iter().map(|(key, _)| key);
        keys.filter(|key| TARGET_KEYS.contains(&key.as_str()))
            .collect()
    }

    /// Applies the override to the metadata of a test.
    pub fn apply(&self, metadata: &mut Metadata) {
        // Name every field, so that the compiler reports a new one.
        let Self {
            name: _,
            platform,
            targets,
            category,
            area,
            priority,
            tags,
            owner,
            features,
            requires,
            reuse,
            fresh,
            retry_on,
            runs_on,
            any,
            count,
            timeout,
            retries,
            skip,
            expect_fail,
        } = self;
        or_keep(&mut metadata.platform, platform.clone());
        or_keep(&mut metadata.category, category.clone());
        or_keep(&mut metadata.area, area.clone());
        or_keep(&mut metadata.priority, priority.map(|one| one.0));
        or_keep(&mut metadata.owner, owner.clone());
        or_keep(&mut metadata.reuse, *reuse);
        or_keep(&mut metadata.fresh, *fresh);
        or_keep(&mut metadata.retry_on, *retry_on);
        or_keep(&mut metadata.runs_on, runs_on.clone());
        or_keep(&mut metadata.any, *any);
        or_keep(&mut metadata.count, count.map(NonZeroU32::get));
        let limit = |limit: Limit| humantime::format_duration(limit.0).to_string();
        or_keep(&mut metadata.timeout, timeout.map(limit));
        or_keep(&mut metadata.retries, retries.map(u32::from));
        set(&mut metadata.targets, targets.clone());
        set(&mut metadata.tags, tags.clone());
        set(&mut metadata.features, features.clone());
        set(
            &mut metadata.skip,
            skip.as_ref().map(|reason| unconditional(reason)),
        );
        set(
            &mut metadata.expect_fail,
            expect_fail.as_ref().map(|reason| unconditional(reason)),
        );
        for (capability, Required(wanted)) in requires.iter().flatten() {
            let requirements = &mut metadata.requirements;
            requirements.insert(capability.clone(), wanted.to_string());
        }
    }
}

/// Returns a condition that holds on every target, or none for an empty reason.
fn unconditional(reason: &str) -> Vec<Condition> {
    let condition = Condition {
        reason: reason.to_owned(),
        ..Condition::default()
    };
    match reason.is_empty() {
        true => Vec::new(),
        false => vec![condition],
    }
}

fn or_keep<T>(value: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *value = new;
    }
}

fn set<T>(value: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *value = new;
    }
}

/// A priority, 0 to 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64")]
pub struct Priority(u8);

impl TryFrom<i64> for Priority {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        let number = u8::try_from(number).ok().filter(|number| *number <= 4);
        number
            .map(Self)
            .ok_or_else(|| "a priority is a number from 0 to 4".to_owned())
    }
}

/// A requirement of an override.
#[derive(Clone, Debug, PartialEq, schemars::JsonSchema)]
#[schemars(inline, with = "String", extend("examples" = [">= 1 GiB"]))]
pub struct Required(Requirement);

impl Serialize for Required {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Required {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

fn requirements<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<BTreeMap<String, Required>>, D::Error> {
    let all = BTreeMap::<String, Required>::deserialize(from)?;
    for (capability, Required(wanted)) in &all {
        if let Some(why) = wrong_size(capability, &wanted.to_string()) {
            let message = format!("invalid requirement `{wanted}` for `{capability}`: {why}");
            return Err(serde::de::Error::custom(message));
        }
    }
    Ok(Some(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_replace_declared_values() {
        let text = "name = \"a\"\npriority = 0\ntags = []\ntimeout = \"90s\"\nskip = \"\"\n\
                    requires = { memory = \">= 2 GiB\" }\nreuse = \"snapshot\"\n";
        let change: Override = toml::from_str(text).expect("an override");
        let declared = serde_json::json!({
            "priority": 3, "tags": ["slow"], "area": "net", "skip": [{"reason": "bug 7"}],
            "requirements": {"memory": "> 1 GiB", "cores": "2"},
        });
        let mut metadata: Metadata = serde_json::from_value(declared).expect("metadata");
        change.apply(&mut metadata);
        assert_eq!(
            (metadata.priority, metadata.area.as_deref()),
            (Some(0), Some("net"))
        );
        assert!(metadata.tags.is_empty() && metadata.skip.is_empty());
        assert_eq!(metadata.timeout.as_deref(), Some("1m 30s"));
        assert_eq!(metadata.reuse, Some(Reuse::Snapshot));
        assert_eq!(metadata.requirements["memory"], ">= 2 GiB");
        assert_eq!(metadata.requirements["cores"], "2");
        assert!(!change.is_empty());
    }

    #[test]
    fn invalid_overrides_are_refused() {
        for (text, expected) in [
            ("priority = 0", "missing field `name`"),
            (
                "name = \"a\"\npriority = 9",
                "a priority is a number from 0 to 4",
            ),
            (
                "name = \"a\"\nrequires = { memory = \"> lots\" }",
                "the requirement `> lots` compares",
            ),
            (
                "name = \"a\"\nreuse = \"maybe\"",
                "`reuse` must be true, false or",
            ),
            ("name = \"a\"\ntagz = []", "unknown field `tagz`"),
        ] {
            let error = toml::from_str::<Override>(text).unwrap_err();
            assert!(error.message().starts_with(expected), "{text}: {error}");
        }
        let empty: Override = toml::from_str("name = \"a\"").expect("an override");
        assert!(empty.is_empty());
    }
}
