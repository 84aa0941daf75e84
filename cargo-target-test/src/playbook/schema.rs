//! The names and types of tables and of the keys that every target has. Doc comments become descriptions in the JSON
//! Schema.
//!
//! Must not check combinations of values.

use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use target_fixtures::{
    metadata::{Artifact, CollectWhen, ProcessPlace},
    wire::FaultKind,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    around::{ArtifactSchema, HealthCheck, OnFinding},
    criteria::Rule,
    diagnostic::{Problem, Problems},
    env::Env,
    environments::EnvironmentTable,
    lifecycle::CountsAs,
    limit::Limit,
    orchestration::OrchestrationSettings,
    overrides::Override,
    params::{ParamSchema, ParamsSchema},
    reading,
    recipe::Recipe,
    reports::{NotifySettings, ReportSettings},
    scenario::{Mode, Scenario},
    tables::{Defaults, MetadataSettings},
    variants::TestVariant,
    wait::{self, Wait},
};

/// Keys that are allowed in a target but not in `[platforms.X]`.
pub(super) const OWN_KEYS: [&str; 2] = ["name", "platform"];

/// The maximum of `count`.
pub(super) const MOST_INSTANCES: u32 = 10_000;
/// The maximum of `retries`.
pub(super) const MOST_RETRIES: u32 = 10;

/// The maximum of `max-spares`.
pub(super) const MOST_SPARES: u16 = 100;

/// The pattern of a target's name. The schema cannot express that a name must not end in `-<digits>`.
pub(super) const NAME_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._-]*$";

/// The maximum length of a target's name, which is used in file names.
pub(super) const NAME_LENGTH: usize = 64;

/// The tables and keys of a playbook.
#[derive(JsonSchema)]
#[schemars(
    deny_unknown_fields,
    rename_all = "kebab-case",
    title = "A playbook of `cargo target-test`"
)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct PlaybookTables {
    /// Playbooks to include, relative to this file. This file adds to them and overrides them.
    include: OneOrMore<String>,
    select: Select,
    pool: PoolSettings,
    report: ReportSettings,
    notify: NotifySettings,
    history: HistorySettings,
    on_target: OnTargetSettings,
    orchestration: OrchestrationSettings,
    /// Defaults for every target of a platform.
    platforms: BTreeMap<String, Common>,
    /// The kinds of system under test.
    targets: Vec<Common>,
    /// Environments of several machines in roles, by name.
    environments: BTreeMap<String, EnvironmentTable>,
    metadata: MetadataSettings,
    defaults: Defaults,
    /// Steps that prepare an instance before its first test, by name.
    recipes: BTreeMap<String, Recipe>,
    /// Rules that include, exclude or repeat cases.
    criteria: Vec<Rule>,
    /// Changes to the metadata that tests declare.
    overrides: Vec<Override>,
    /// Configurations that a test runs with, one case for each.
    variants: Vec<TestVariant>,
    /// Named sets of command-line options.
    modes: BTreeMap<String, Mode>,
    /// Named combinations of targets, a recipe and tests.
    scenarios: Vec<Scenario>,
}

/// The tests that are multiplied by the targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Select {
    /// Tests with `#[target_test]`; all tests if none has the attribute.
    #[default]
    Auto,
    /// All tests.
    All,
}

/// The keys of a target on any platform.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Common {
    /// The name: letters, digits, `.`, `_` and `-`, not ending in `-<digits>`.
    #[schemars(with = "String", regex(pattern = NAME_PATTERN), length(max = NAME_LENGTH))]
    pub(super) name: Option<Spanned<String>>,
    /// The platform that creates the target's instances.
    #[schemars(with = "String")]
    pub(super) platform: Option<Spanned<String>>,
    /// The maximum number of instances at a time. The default depends on the platform.
    #[schemars(with = "u32", range(min = 1, max = MOST_INSTANCES))]
    pub(super) count: Option<Spanned<i64>>,
    /// Named capabilities with no quantity: `gpu`, `nested-virt`.
    #[schemars(with = "Vec<String>")]
    pub(super) features: Option<Vec<Spanned<String>>>,
    /// The relative cost, for tests that run on the cheapest target that fits. Default: 1.
    #[schemars(with = "f64", range(min = 0))]
    pub(super) cost: Option<Spanned<f64>>,
    /// The number of spare instances beyond `count` that are kept ready to replace those used by tests with
    /// `reuse = false`. Default: 0.
    #[schemars(range(max = MOST_SPARES))]
    pub(super) max_spares: Option<u16>,
    /// Capabilities that requirements of tests are checked against: `memory = "8 GiB"`, `cores = 4`.
    #[schemars(with = "BTreeMap<String, Capability>")]
    pub(super) capabilities: Option<BTreeMap<Spanned<String>, Spanned<toml::Value>>>,
    /// The place of test processes: `"host"` (the default), or `"target"`, the instance itself.
    #[schemars(with = "String", extend("enum" = ["host", "target"]))]
    pub(super) runs_on: Option<Spanned<ProcessPlace>>,
    /// Faults that tests may cause on the instances by `target.faults()`, beside those that the platform allows: `"pause"`,
    /// `"power-cut"`, `"clock"`, `"disk"`, `"memory"`, `"link-cut"`, `"link-delay"`, `"link-loss"`.
    #[schemars(with = "Vec<String>")]
    pub(super) faults: Option<Vec<FaultKind>>,
    /// The triple that programs of tests are built for: `"aarch64-unknown-linux-gnu"`. Default: the one of the tests.
    #[schemars(with = "String")]
    pub(super) triple: Option<String>,
    /// The recipe that prepares a fresh instance before its first test.
    #[schemars(with = "String")]
    pub(super) recipe: Option<Spanned<String>>,
    /// Environment variables of the recipe's commands and scripts, above those of the recipe: `{ VERSION = "1.3" }`.
    pub(super) recipe_env: Option<Env>,
    /// Conditions to wait for after a fresh instance is reachable.
    #[serde(deserialize_with = "wait::one_or_more")]
    #[schemars(with = "OneOrMore<Wait>")]
    pub(super) wait: Option<Vec<Wait>>,
    /// The maximum time until a fresh instance is reachable. Default: 5 minutes.
    pub(super) ready_timeout: Option<Limit>,
    /// The number of retries of a failed deploy, at most 10. Default: 1.
    #[schemars(with = "u32", range(max = MOST_RETRIES))]
    pub(super) retries: Option<Spanned<i64>>,
    /// The cleaning of a dirty instance, on platforms that use existing machines. By default only the processes that a
    /// test left running are killed.
    #[schemars(with = "OnDirtyWritten")]
    pub(super) on_dirty: Option<Spanned<OnDirtyWritten>>,
    /// The verdict of a test under which the system crashes: `"fail"` (the default) or `"infra"`.
    pub(super) on_crash: Option<CountsAs>,
    /// The verdict of a test whose instance is deployed and does not become ready, on platforms that create machines:
    /// `"infra"` (the default), or `"fail"` where the kernel or the image is what is tested.
    #[schemars(with = "CountsAs")]
    pub(super) on_boot_failure: Option<Spanned<CountsAs>>,
    /// The description of `params`, on platforms that have them: values are checked, unknown ones are mistakes, and
    /// defaults are added. `{ size = { type = "string", default = "small", doc = "The size of the machine." } }`
    #[schemars(with = "BTreeMap<String, ParamSchema>")]
    pub(super) params_schema: Option<Spanned<ParamsSchema>>,
    /// The recipe to run for `on-dirty = "clean"`.
    #[schemars(with = "String")]
    pub(super) clean: Option<Spanned<String>>,
    /// Files, folders and commands of the instances of a test: `["/var/log/app", { command = "journalctl -b" }]`. They are
    /// collected into the run's folder after a test that failed, with the end of the console.
    #[schemars(with = "Vec<ArtifactSchema>")]
    pub(super) collect: Option<Vec<Spanned<Artifact>>>,
    /// The tests after which `collect` applies: `"failure"` (the default) or `"always"`.
    #[schemars(with = "String", extend("enum" = ["failure", "always"]))]
    pub(super) collect_when: Option<CollectWhen>,
    /// Checks of the instances before and after each test; what is new after it is a finding: `"taint"`, `"oops"`, `"oom"` and
    /// `"coredump"`, where a machine has a kernel of its own, `"failed-units"`, and own commands.
    #[schemars(with = "Vec<HealthCheck>")]
    pub(super) checks: Option<Vec<Spanned<HealthCheck>>>,
    /// The meaning of a finding: `"fail"` (the default) fails the test, `"warn"` only tells it.
    pub(super) on_finding: Option<OnFinding>,
}

/// The value of `on-dirty`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OnDirtyWritten {
    /// Reboots the instance.
    Reboot,
    /// Runs the recipe named by `clean`.
    Clean,
    /// Keeps the instance out of use until a person has examined it.
    Hold,
}

/// The `[pool]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PoolSettings {
    /// The store of the pool: `"file"`, a folder on this machine.
    pub store: Store,
    /// The maximum number of deploys at a time on this machine, including those of other runs.
    pub max_parallel_deploys: NonZeroUsize,
    /// The owner that everything created carries, for `gc --owner`. Default: the CI job (GitHub, GitLab, Buildkite,
    /// Jenkins), or else the user, host and repository: `ann@lab/widget`. `TARGET_TEST_OWNER` overrides it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The time after which `gc --owner --expired` may collect an instance that no run keeps or renews. A run renews its
    /// instances every 10 minutes, once half of the time is over. Default: 12 hours.
    pub lifetime: Limit,
    /// The time after which it may collect an instance that a run kept. Default: 7 days.
    pub keep_for: Limit,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            store: Store::File,
            max_parallel_deploys: NonZeroUsize::new(16).unwrap_or(NonZeroUsize::MIN),
            owner: None,
            lifetime: Limit(Duration::from_secs(12 * 3600)),
            keep_for: Limit(Duration::from_secs(7 * 24 * 3600)),
        }
    }
}

/// The `[history]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct HistorySettings {
    /// The file of the history, relative to the playbook. Default: `history.sqlite` in the pool. `TARGET_TEST_HISTORY`
    /// overrides it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The time after which a later run removes a run of the repository. The last 100 passes of a case, and the last
    /// 100 values of its metrics, are kept. Default: 1 year.
    pub keep_for: Limit,
}

impl Default for HistorySettings {
    fn default() -> Self {
        Self {
            path: None,
            keep_for: Limit(Duration::from_secs(365 * 24 * 3600 + 6 * 3600)),
        }
    }
}

impl HistorySettings {
    /// True if the playbook has no such table.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The `[on-target]` table: the files of this host that tests find on their target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct OnTargetSettings {
    /// More files and folders than those of the test's package, relative to the playbook: `["../data", "/etc/app.toml"]`. The
    /// whole of a folder is sent, also what git ignores.
    #[schemars(with = "Vec<PathBuf>")]
    pub sync: Vec<Spanned<PathBuf>>,
    /// Patterns of files in the package's folder that are not sent: `["*.iso", "docs/images"]`. One without `/` is for names
    /// at any depth, another one for paths from the folder.
    pub exclude: Vec<String>,
}

impl OnTargetSettings {
    /// True if the playbook has no such table.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The store of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// A folder on this machine.
    File,
}

/// The schema of one value or several.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(
    dead_code,
    reason = "only its schema is used: serde would lose the position in it"
)]
pub(super) enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

/// The schema of a place of test processes.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(
    dead_code,
    reason = "only its schema is used: the type is of another crate"
)]
pub(super) enum PlaceSchema {
    Known(KnownPlace),
    Role(String),
}

/// The places that need no environment.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum KnownPlace {
    Host,
    Target,
}

/// The schema of a capability's value.
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
    /// Removes the common keys from a target's table and returns their values. A value of the wrong type is a problem
    /// and is absent from the result.
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

/// The property names of an object schema.
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
        assert_eq!(keys.len(), 24);
    }
}
