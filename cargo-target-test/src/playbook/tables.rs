//! Reads and checks the tables about tests: metadata, criteria, overrides, modes and scenarios.
//!
//! Must not know tests.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use target_fixtures::metadata::CATEGORIES;
use toml::{Spanned, de::DeValue};

use super::{
    PlaybookTarget, Recipe,
    criteria::Rule,
    diagnostic::{Problem, Problems},
    limit::Limit,
    names::wrong_name,
    overrides::Override,
    reading::{array, read, table},
    scenario::{Mode, Scenario, matches},
    variants::TestVariant,
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
    /// Variants, in the order of the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Arc<TestVariant>>,
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
    pub(super) rules: Rules,
    /// The positions in the scenarios.
    scenarios: Vec<Places>,
    /// The positions in the overrides.
    overrides: Vec<Places>,
    /// The positions in the variants.
    variants: Vec<Places>,
}

/// Takes the kind, the key, the name and the known names of a name that does not exist.
type Unknown<'a> = dyn FnMut(&str, &str, &str, &[&str]) + 'a;

/// The positions in one table of an array of tables.
struct Places {
    table: Range<usize>,
    /// The positions of the values, by key.
    values: BTreeMap<String, Range<usize>>,
}

impl Places {
    /// The position of a key's value, or of the table if the key is absent.
    fn of(&self, key: &str) -> Range<usize> {
        self.values.get(key).unwrap_or(&self.table).clone()
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
        let rules = &mut self.rules;
        match name {
            "defaults" => {
                let Defaults { timeout } = read(value, problems).unwrap_or_default();
                rules.defaults.timeout = timeout.or(rules.defaults.timeout);
            }
            "metadata" => rules.metadata = read(value, problems).unwrap_or_default(),
            "criteria" => {
                for (places, rule) in several::<Rule>(name, value, problems) {
                    if let Some(why) = rule.error() {
                        problems.add(Problem::new(why, places.table));
                    }
                    rules.criteria.push(rule);
                }
            }
            "overrides" => {
                for (places, change) in several::<Override>(name, value, problems) {
                    if change.is_empty() {
                        let why = "an override must have a key other than `name`";
                        problems.add(Problem::new(why, places.table.clone()));
                    }
                    self.overrides.push(places);
                    rules.overrides.push(change);
                }
            }
            "variants" => {
                for (places, variant) in several::<TestVariant>(name, value, problems) {
                    self.variants.push(places);
                    rules.variants.push(Arc::new(variant));
                }
            }
            "scenarios" => {
                let (places, scenarios): (Vec<_>, Vec<_>) =
                    several(name, value, problems).into_iter().unzip();
                self.scenarios.extend(places);
                rules.scenarios.extend(scenarios);
            }
            _ => {
                for (name, mode) in table(value, "`modes`", problems).unwrap_or_default() {
                    // Keep an invalid mode: scenarios may name it.
                    let mode = read(mode, problems).unwrap_or_default();
                    rules.modes.insert(name.into_inner().into_owned(), mode);
                }
            }
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
        self.check_variants(targets, problems);
        let mut names = BTreeSet::new();
        for (scenario, places) in self.rules.scenarios.iter().zip(&self.scenarios) {
            let name = &scenario.name;
            if let Some(why) = wrong_name(name) {
                let message = format!("invalid scenario name `{name}`");
                problems.add(Problem::new(message, places.of("name")).label(why));
            }
            if !names.insert(name) {
                let message = format!("two scenarios are named `{name}`");
                problems.add(Problem::new(message, places.of("name")));
            }
            let mut unknown = |what: &str, key: &str, name: &str, known: &[&str]| {
                problems.add(Problem::unknown(what, name, places.of(key), known));
            };
            self.check_names(scenario, recipes, targets, &mut unknown);
        }
    }

    /// Checks that each target of a scenario, and some target for an override, has the role that processes run on.
    pub(super) fn check_places(&self, targets: &[PlaybookTarget], problems: &mut Problems<'_>) {
        let key = "runs-on";
        for (scenario, places) in self.rules.scenarios.iter().zip(&self.scenarios) {
            let Some(place) = &scenario.runs_on else {
                continue;
            };
            let targets = targets.iter().filter(|target| scenario.has(&target.name));
            targets
                .filter_map(|target| target.place_problem(place, places.of(key)))
                .for_each(|problem| problems.add(problem));
        }
        for (change, places) in self.rules.overrides.iter().zip(&self.overrides) {
            let Some(place) = &change.runs_on else {
                continue;
            };
            let all = targets.iter();
            let all: Option<Vec<_>> = all
                .map(|target| target.place_problem(place, places.of(key)))
                .collect();
            // Environments follow other targets.
            if let Some(problem) = all.and_then(|mut all| all.pop()) {
                problems.add(problem);
            }
        }
    }

    /// Checks the names of variants and the targets they refer to.
    fn check_variants(&self, targets: Option<&[&str]>, problems: &mut Problems<'_>) {
        let mut names = BTreeSet::new();
        for (variant, places) in self.rules.variants.iter().zip(&self.variants) {
            let name = &variant.name;
            if let Some(why) = wrong_name(name) {
                let message = format!("invalid variant name `{name}`");
                problems.add(Problem::new(message, places.of("name")).label(why));
            }
            if !names.insert(name) {
                let message = format!("two variants are named `{name}`");
                problems.add(Problem::new(message, places.of("name")));
            }
            let Some(known) = targets else {
                continue;
            };
            for pattern in variant.targets.iter().flat_map(|texts| &texts.0) {
                if !known.iter().any(|name| matches(pattern, name)) {
                    let at = places.of("targets");
                    problems.add(Problem::unknown("target", pattern, at, known));
                }
            }
        }
    }

    /// Calls `unknown` with each name that does not exist: its kind, its key, the name and the known names.
    fn check_names(
        &self,
        scenario: &Scenario,
        recipes: &BTreeMap<String, Recipe>,
        targets: Option<&[&str]>,
        unknown: &mut Unknown<'_>,
    ) {
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
        let known = known_modes(self.rules.modes.keys().map(String::as_str).collect());
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

/// Reads an array of tables, each with its positions.
fn several<T: for<'de> Deserialize<'de>>(
    name: &str,
    value: Spanned<DeValue<'_>>,
    problems: &mut Problems<'_>,
) -> Vec<(Places, T)> {
    let items = array(value, name).unwrap_or_else(|problem| {
        problems.add(*problem);
        Vec::new()
    });
    let item = |item: Spanned<DeValue<'_>>| {
        let keys = item.get_ref().as_table().into_iter().flatten();
        let value = |(key, value): (&Spanned<Cow<'_, str>>, &Spanned<_>)| {
            (key.get_ref().clone().into_owned(), value.span())
        };
        let places = Places {
            table: item.span(),
            values: keys.map(value).collect(),
        };
        Some((places, read(item, problems)?))
    };
    items.into_iter().filter_map(item).collect()
}
