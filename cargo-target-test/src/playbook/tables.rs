//! The tables about tests: metadata, criteria, overrides, modes, scenarios.
//!
//! Owns reading them, and what is right about them together with targets and recipes. Must not know tests.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use serde::{Deserialize, Serialize};
use target_fixtures::metadata::{CATEGORIES, Metadata};
use toml::{Spanned, de::DeValue};

use super::{
    Recipe, Target,
    criteria::Rule,
    diagnostic::{Problem, Problems},
    overrides::Override,
    resolve::wrong_name,
    scenario::{Mode, Scenario, matches},
    schema,
    written::{a, table},
};

/// What a playbook says of tests.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rules {
    /// What tests have to declare.
    pub metadata: MetadataSettings,
    /// In the order of the file, which does not matter.
    pub criteria: Vec<Rule>,
    /// In the order of the file: later ones win.
    pub overrides: Vec<Override>,
    /// By name.
    pub modes: BTreeMap<String, Mode>,
    /// In the order of the file.
    pub scenarios: Vec<Scenario>,
}

/// The `[metadata]` table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct MetadataSettings {
    /// What every test with the attribute has to declare, or its module for it.
    pub required: Vec<MetadataKey>,
    /// The categories that there are; without it: functional, performance, stress, community, longhaul.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
}

/// What a playbook can demand of tests.
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
    /// Whether it is declared.
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
    /// The categories that there are.
    pub fn categories(&self) -> Vec<&str> {
        match &self.categories {
            Some(own) => own.iter().map(String::as_str).collect(),
            None => CATEGORIES.to_vec(),
        }
    }
}

/// What was read, each with its place.
#[derive(Default)]
pub(super) struct Read {
    metadata: MetadataSettings,
    criteria: Vec<Rule>,
    overrides: Vec<Override>,
    modes: Vec<(Spanned<String>, Mode)>,
    scenarios: Vec<Spanned<Scenario>>,
}

impl Read {
    /// Reads one of these tables.
    pub(super) fn take(
        &mut self,
        key: &Spanned<Cow<'_, str>>,
        value: Spanned<DeValue<'_>>,
        problems: &mut Problems<'_>,
    ) {
        match key.get_ref().as_ref() {
            "metadata" => match schema::read(value) {
                Ok(metadata) => self.metadata = metadata,
                Err(error) => problems.add(Problem::toml(&error, key.span())),
            },
            "criteria" => {
                let rules: Vec<Spanned<Rule>> = several(key, value, problems);
                for rule in &rules {
                    if let Some(why) = rule.get_ref().wrong() {
                        problems.add(Problem::new(why, rule.span()));
                    }
                }
                self.criteria
                    .extend(rules.into_iter().map(Spanned::into_inner));
            }
            "overrides" => {
                let overrides: Vec<Spanned<Override>> = several(key, value, problems);
                for change in overrides.iter().filter(|one| one.get_ref().is_empty()) {
                    problems.add(Problem::new(
                        "an override that changes nothing",
                        change.span(),
                    ));
                }
                self.overrides
                    .extend(overrides.into_iter().map(Spanned::into_inner));
            }
            "scenarios" => self.scenarios.append(&mut several(key, value, problems)),
            _ => {
                for (name, mode) in table(value, "`modes`", problems).unwrap_or_default() {
                    let span = name.span();
                    match schema::read(mode) {
                        Ok(mode) => {
                            let name = Spanned::new(span, name.into_inner().into_owned());
                            self.modes.push((name, mode));
                        }
                        Err(error) => problems.add(Problem::toml(&error, span)),
                    }
                }
            }
        }
    }

    pub(super) fn without_places(self) -> Rules {
        let modes = self.modes.into_iter();
        Rules {
            metadata: self.metadata,
            criteria: self.criteria,
            overrides: self.overrides,
            modes: modes
                .map(|(name, mode)| (name.into_inner(), mode))
                .collect(),
            scenarios: self
                .scenarios
                .into_iter()
                .map(Spanned::into_inner)
                .collect(),
        }
    }
}

/// An array of tables, each with its place.
fn several<T: for<'de> Deserialize<'de>>(
    key: &Spanned<Cow<'_, str>>,
    value: Spanned<DeValue<'_>>,
    problems: &mut Problems<'_>,
) -> Vec<Spanned<T>> {
    let (name, span) = (key.get_ref(), value.span());
    let items = match value.into_inner() {
        DeValue::Array(items) => items,
        other => {
            let message = format!("`{name}` must be an array of tables, not {}", a(&other));
            let hint = format!("write each under a header `[[{name}]]` of its own");
            problems.add(Problem::new(message, span).hint(hint));
            return Vec::new();
        }
    };
    let read = |item: Spanned<DeValue<'_>>| {
        let span = item.span();
        let read = schema::read(item).map(|read| Spanned::new(span.clone(), read));
        read.map_err(|error| problems.add(Problem::toml(&error, span)))
            .ok()
    };
    items.into_iter().filter_map(read).collect()
}

/// Checks what scenarios refer to.
pub(super) fn check(
    read: &Read,
    recipes: &BTreeMap<String, Recipe>,
    targets: &[Target],
    problems: &mut Problems<'_>,
) {
    let mut names = BTreeSet::new();
    for scenario in &read.scenarios {
        let (span, scenario) = (scenario.span(), scenario.get_ref());
        let name = &scenario.name;
        if let Some(why) = wrong_name(name) {
            problems
                .add(Problem::new(format!("bad scenario name `{name}`"), span.clone()).label(why));
        }
        if !names.insert(name) {
            problems.add(Problem::new(
                format!("two scenarios are named `{name}`"),
                span.clone(),
            ));
        }
        // Where a target has problems of its own, it is not there to be named.
        if problems.is_empty() {
            check_scenario(scenario, &span, (recipes, targets), problems);
        }
        let known: Vec<_> = (read.modes.iter().map(|(name, _)| name.get_ref().as_str()))
            .chain(BUILT_IN)
            .collect();
        if let Some(mode) = scenario
            .mode
            .as_deref()
            .filter(|mode| !known.contains(mode))
        {
            problems.add(Problem::unknown("mode", mode, span, &known));
        }
    }
}

/// The modes that need no playbook.
pub(crate) const BUILT_IN: [&str; 4] = ["dev", "debug", "ci", "demo"];

fn check_scenario(
    scenario: &Scenario,
    span: &Range<usize>,
    (recipes, targets): (&BTreeMap<String, Recipe>, &[Target]),
    problems: &mut Problems<'_>,
) {
    let names: Vec<_> = targets.iter().map(|target| target.name.as_str()).collect();
    for pattern in scenario.targets.iter().flat_map(|texts| &texts.0) {
        if !names.iter().any(|name| matches(pattern, name)) {
            problems.add(Problem::unknown("target", pattern, span.clone(), &names));
        }
    }
    if let Some(recipe) = scenario
        .recipe
        .as_deref()
        .filter(|name| !recipes.contains_key(*name))
    {
        let known: Vec<_> = recipes.keys().map(String::as_str).collect();
        problems.add(Problem::unknown("recipe", recipe, span.clone(), &known));
    }
}
