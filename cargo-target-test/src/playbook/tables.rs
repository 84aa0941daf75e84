//! Reads and checks the tables about tests: metadata, criteria, overrides, modes and scenarios.
//!
//! Must not know tests.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use serde::{Deserialize, Serialize};
use target_fixtures::metadata::{CATEGORIES, Metadata};
use toml::{Spanned, de::DeValue};

use super::{
    Recipe,
    criteria::Rule,
    diagnostic::{Problem, Problems},
    limit::Limit,
    names::wrong_name,
    overrides::Override,
    reading::{read, table, with_article},
    scenario::{Mode, Scenario, matches},
};

/// The tables of a playbook about tests.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rules {
    /// Metadata that tests must declare.
    pub metadata: MetadataSettings,
    /// Metadata of tests that do not declare it.
    pub defaults: Defaults,
    /// Criteria; their order does not matter.
    pub criteria: Vec<Rule>,
    /// Overrides, lowest precedence first.
    pub overrides: Vec<Override>,
    /// Modes by name.
    pub modes: BTreeMap<String, Mode>,
    /// Scenarios, in the order of the file.
    pub scenarios: Vec<Scenario>,
}

/// The `[defaults]` table: what tests on targets have unless they declare it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Defaults {
    /// The time limit of a test, counted from its lease. `--timeout` and `TARGET_TEST_TIMEOUT` override it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Limit>,
}

/// The `[metadata]` table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct MetadataSettings {
    /// Keys that every test with `#[target_test]` must declare, itself or in its module.
    pub required: Vec<MetadataKey>,
    /// The allowed categories. Default: functional, performance, stress, community, longhaul.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
}

/// A key that a playbook can require tests to declare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[expect(
    missing_docs,
    reason = "the keys of `#[target_test]`, which are documented there"
)]
pub enum MetadataKey {
    Doc,
    Platform,
    Targets,
    Category,
    Area,
    Priority,
    Tags,
    Owner,
    Features,
    Timeout,
    Retries,
}

impl MetadataKey {
    /// True if the metadata declares the key.
    pub fn is_in(self, metadata: &Metadata) -> bool {
        match self {
            Self::Doc => metadata.doc.is_some(),
            Self::Platform => metadata.platform.is_some(),
            Self::Targets => !metadata.targets.is_empty(),
            Self::Category => metadata.category.is_some(),
            Self::Area => metadata.area.is_some(),
            Self::Priority => metadata.priority.is_some(),
            Self::Tags => !metadata.tags.is_empty(),
            Self::Owner => metadata.owner.is_some(),
            Self::Features => !metadata.features.is_empty(),
            Self::Timeout => metadata.timeout.is_some(),
            Self::Retries => metadata.retries.is_some(),
        }
    }
}

impl MetadataSettings {
    /// The allowed categories.
    pub fn categories(&self) -> Vec<&str> {
        match &self.categories {
            Some(own) => own.iter().map(String::as_str).collect(),
            None => CATEGORIES.to_vec(),
        }
    }
}

/// The tables about tests, with positions where checks need them.
#[derive(Default)]
pub(super) struct RuleTables {
    metadata: MetadataSettings,
    defaults: Defaults,
    criteria: Vec<Rule>,
    overrides: Vec<Override>,
    modes: BTreeMap<String, Mode>,
    scenarios: Vec<Item<Scenario>>,
}

/// One table of an array of tables.
struct Item<T> {
    span: Range<usize>,
    /// The positions of the values, by key.
    positions: BTreeMap<String, Range<usize>>,
    read: T,
}

impl<T> Item<T> {
    /// The position of a key's value, or of the table if the key is absent.
    fn position(&self, key: &str) -> Range<usize> {
        self.positions.get(key).unwrap_or(&self.span).clone()
    }
}

impl RuleTables {
    /// Reads one table.
    pub(super) fn take(
        &mut self,
        name: &str,
        value: Spanned<DeValue<'_>>,
        problems: &mut Problems<'_>,
    ) {
        match name {
            "defaults" => {
                let Defaults { timeout } = read(value, problems).unwrap_or_default();
                self.defaults.timeout = timeout.or(self.defaults.timeout);
            }
            "metadata" => self.metadata = read(value, problems).unwrap_or_default(),
            "criteria" => {
                let rules: Vec<Item<Rule>> = several(name, value, problems);
                for rule in &rules {
                    if let Some(why) = rule.read.error() {
                        problems.add(Problem::new(why, rule.span.clone()));
                    }
                }
                self.criteria
                    .extend(rules.into_iter().map(|item| item.read));
            }
            "overrides" => {
                let overrides: Vec<Item<Override>> = several(name, value, problems);
                for change in overrides.iter().filter(|one| one.read.is_empty()) {
                    problems.add(Problem::new(
                        "an override must have a key other than `name`",
                        change.span.clone(),
                    ));
                }
                self.overrides
                    .extend(overrides.into_iter().map(|item| item.read));
            }
            "scenarios" => self.scenarios.append(&mut several(name, value, problems)),
            _ => {
                for (name, mode) in table(value, "`modes`", problems).unwrap_or_default() {
                    // Keep an invalid mode: scenarios may name it.
                    let mode = read(mode, problems).unwrap_or_default();
                    self.modes.insert(name.into_inner().into_owned(), mode);
                }
            }
        }
    }

    pub(super) fn without_positions(self) -> Rules {
        Rules {
            metadata: self.metadata,
            defaults: self.defaults,
            criteria: self.criteria,
            overrides: self.overrides,
            modes: self.modes,
            scenarios: self.scenarios.into_iter().map(|item| item.read).collect(),
        }
    }

    /// Checks the names of scenarios and the names they refer to. `targets`: the names of all targets, or `None` to
    /// skip that check.
    pub(super) fn check(
        &self,
        recipes: &BTreeMap<String, Recipe>,
        targets: Option<&[&str]>,
        problems: &mut Problems<'_>,
    ) {
        let mut names = BTreeSet::new();
        for item in &self.scenarios {
            let name = &item.read.name;
            if let Some(why) = wrong_name(name) {
                let problem = Problem::new(
                    format!("invalid scenario name `{name}`"),
                    item.position("name"),
                );
                problems.add(problem.label(why));
            }
            if !names.insert(name) {
                let message = format!("two scenarios are named `{name}`");
                problems.add(Problem::new(message, item.position("name")));
            }
            self.check_names(item, recipes, targets, problems);
        }
    }

    fn check_names(
        &self,
        item: &Item<Scenario>,
        recipes: &BTreeMap<String, Recipe>,
        targets: Option<&[&str]>,
        problems: &mut Problems<'_>,
    ) {
        let scenario = &item.read;
        let mut unknown = |what: &str, key: &str, name: &str, known: &[&str]| {
            problems.add(Problem::unknown(what, name, item.position(key), known));
        };
        if let Some(known) = targets {
            for pattern in scenario.targets.iter().flat_map(|texts| &texts.0) {
                if !known.iter().any(|name| matches(pattern, name)) {
                    unknown("target", "targets", pattern, known);
                }
            }
        }
        if let Some(recipe) = &scenario.recipe
            && !recipes.contains_key(recipe)
        {
            let known: Vec<_> = recipes.keys().map(String::as_str).collect();
            unknown("recipe", "recipe", recipe, &known);
        }
        let known = known_modes(self.modes.keys().map(String::as_str).collect());
        if let Some(mode) = &scenario.mode
            && !known.contains(&mode.as_str())
        {
            unknown("mode", "mode", mode, &known);
        }
    }
}

/// Returns the modes of a playbook together with the built-in modes.
pub(crate) fn known_modes(mut own: Vec<&str>) -> Vec<&str> {
    let built_in = BUILT_IN.into_iter().filter(|name| !own.contains(name));
    let mut built_in: Vec<_> = built_in.collect();
    own.append(&mut built_in);
    own
}

/// The modes that exist without a playbook.
pub(crate) const BUILT_IN: [&str; 4] = ["dev", "debug", "ci", "demo"];

/// Reads an array of tables, each with its position.
fn several<T: for<'de> Deserialize<'de>>(
    name: &str,
    value: Spanned<DeValue<'_>>,
    problems: &mut Problems<'_>,
) -> Vec<Item<T>> {
    let span = value.span();
    let items = match value.into_inner() {
        DeValue::Array(items) => items,
        other => {
            let message = format!(
                "`{name}` must be an array of tables, not {}",
                with_article(&other)
            );
            let hint = format!("write each under its own `[[{name}]]` header");
            problems.add(Problem::new(message, span).hint(hint));
            return Vec::new();
        }
    };
    let item = |item: Spanned<DeValue<'_>>| {
        let keys = item.get_ref().as_table().into_iter().flatten();
        let position = |(key, value): (&Spanned<Cow<'_, str>>, &Spanned<_>)| {
            (key.get_ref().clone().into_owned(), value.span())
        };
        Some(Item {
            span: item.span(),
            positions: keys.map(position).collect(),
            read: read(item, problems)?,
        })
    };
    items.into_iter().filter_map(item).collect()
}
