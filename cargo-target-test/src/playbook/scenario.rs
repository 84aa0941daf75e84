//! Scenarios and modes: their syntax, and the targets that scenarios derive from those of the playbook.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use target_fixtures::metadata::ProcessPlace;

use super::{
    Definition, PlaybookTarget, Recipe, criteria::Texts, diagnostic::list, nearest::did_you_mean,
    schema::PlaceSchema,
};
use crate::error::{Error, Result};

/// A scenario of `[[scenarios]]`: a combination of targets, a recipe and tests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    /// The name for `--scenario`: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// Names of targets, in which `*` matches any text. Default: all targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Texts>,
    /// The recipe that replaces the recipes of the targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// The place of test processes on all targets of the scenario: `"host"`, `"target"`, or a role of its environments.
    /// Default: that of each target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PlaceSchema>")]
    pub runs_on: Option<ProcessPlace>,
    /// A nextest filterset that selects the cases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filterset: Option<String>,
    /// The mode to run in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// A mode of `[modes.NAME]`: a named set of command-line options.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mode {
    /// Command-line arguments: `["--keep-targets", "--retries", "2"]`.
    pub options: Vec<String>,
}

impl Scenario {
    /// True if the scenario includes the target.
    pub(super) fn has(&self, target: &str) -> bool {
        let patterns = self.targets.as_ref();
        patterns.is_none_or(|all| all.0.iter().any(|one| matches(one, target)))
    }
}

/// Returns the scenarios with these names, without duplicates.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for an unknown name, with the most similar one as hint.
pub fn chosen<'a>(all: &'a [Scenario], names: &[String]) -> Result<Vec<&'a Scenario>> {
    let one = |name: &String| {
        let known: Vec<_> = all.iter().map(|scenario| scenario.name.as_str()).collect();
        let found = all.iter().find(|scenario| scenario.name == *name);
        found.ok_or_else(|| unknown("scenario", name, &known))
    };
    let mut chosen: Vec<&Scenario> = Vec::new();
    for scenario in names.iter().map(one) {
        let scenario = scenario?;
        if !chosen.iter().any(|known| known.name == scenario.name) {
            chosen.push(scenario);
        }
    }
    Ok(chosen)
}

/// The error for a name on the command line that the playbook does not define.
pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> Error {
    let message = format!("the playbook has no {what} `{name}`");
    let hint = match known {
        [] => format!("the playbook does not define any {what}"),
        known => nearest_or_all(name, known),
    };
    Error::usage(message).with_hint(hint)
}

/// Returns a hint with the most similar name, or with all known names.
pub(crate) fn nearest_or_all(name: &str, known: &[&str]) -> String {
    did_you_mean(name, known).unwrap_or_else(|| format!("known: {}", list(known)))
}

/// Returns a copy of each target for each scenario that includes it, with the scenario's recipe. The copies are named
/// `scenario.target` if several scenarios include the target.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if two of the resulting targets have the same name.
pub fn staged(
    targets: &[PlaybookTarget],
    recipes: &BTreeMap<String, Recipe>,
    scenarios: &[&Scenario],
) -> Result<Vec<PlaybookTarget>> {
    let mut staged: Vec<PlaybookTarget> = Vec::new();
    for scenario in scenarios {
        for target in targets.iter().filter(|target| scenario.has(&target.name)) {
            let others = scenarios.iter().filter(|other| other.has(&target.name));
            let mut target = target.clone();
            if others.count() > 1 {
                target.label = format!("{}/{}", scenario.name, target.name);
                target.name = format!("{}.{}", scenario.name, target.name);
            }
            target.scenario = Some(scenario.name.clone());
            if let Some(place) = &scenario.runs_on {
                target.lifecycle.around.runs_on = place.clone();
            }
            let recipe = scenario.recipe.as_ref().and_then(|name| recipes.get(name));
            if let Some(recipe) = recipe {
                target.set_recipe(&Arc::new(recipe.clone()));
            }
            if let Some(other) = staged.iter().find(|other| other.name == target.name) {
                let (this, other, name) = (&target.label, &other.label, &target.name);
                let message = format!(
                    "instances of `{this}` and of `{other}` would both be named `{name}-0`"
                );
                let hint = "rename a scenario or a target, or run the scenarios separately";
                return Err(Error::usage(message).with_hint(hint));
            }
            staged.push(target);
        }
    }
    Ok(staged)
}

impl PlaybookTarget {
    /// Replaces the recipe; that of each role of an environment.
    fn set_recipe(&mut self, recipe: &Arc<Recipe>) {
        for role in &mut self.roles {
            role.target.set_recipe(recipe);
        }
        if self.roles.is_empty() {
            self.lifecycle.recipe = Some(Arc::clone(recipe));
        }
        self.definition = Definition::of(self);
    }
}

/// True if a name matches a pattern, in which `*` matches any number of characters.
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<_> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(end)
}
