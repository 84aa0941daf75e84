//! The selection of several scenarios: nextest evaluates the filterset of each over the names that its cases have when
//! the scenario is run alone.
//!
//! Must not choose the cases of the run: the user's own selection comes later.

use std::collections::{HashMap, HashSet};

use super::listing;
use crate::{
    error::Result,
    execute::nextest::{CargoNextest, Stage},
    inventory::Inventory,
    plan::{self, Candidate, Choosing, Plan, Scenes},
    playbook::{PlaybookTarget, Scenario},
};

/// Several scenarios that are run together.
pub(super) struct StagedScenarios {
    /// The scenarios, in the order of the command line.
    pub scenarios: Vec<Scenario>,
    /// The targets of all scenarios. `--on` restricts the run to some of them, which changes no name.
    pub targets: Vec<PlaybookTarget>,
}

/// The part of the tests that several scenarios select.
pub(super) struct SceneChoice {
    pub scenes: Scenes,
    /// True if a scenario has a filterset.
    pub is_restricted: bool,
    /// Warnings for names of tests in filtersets that match none of the test's cases.
    pub warnings: Vec<String>,
}

/// Test names that a filterset matches, by nextest's id of the binary.
type Matches = HashSet<(String, String)>;

impl StagedScenarios {
    /// Asks nextest, once for each scenario with a filterset, which cases the filterset matches.
    ///
    /// # Errors
    /// Fails if nextest rejects a filterset, naming the scenario.
    pub(super) fn choose(
        &self,
        nextest: &CargoNextest,
        stage: &Stage,
        inventory: &Inventory,
        choosing: &Choosing<'_>,
    ) -> Result<SceneChoice> {
        let all = Scenes::all(inventory, &self.targets, choosing)?;
        let (mut matched, mut warnings) = (HashMap::new(), Vec::new());
        for scenario in &self.scenarios {
            let Some(set) = &scenario.filterset else {
                continue;
            };
            let matches = self.matches(&scenario.name, set, &all, (nextest, stage), inventory)?;
            matched.insert(scenario.name.as_str(), matches);
            let names = plan::exact_names(set);
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            warnings.extend(plan::missed(&all, inventory, &names));
        }
        let is_matched = |scenario: &str, candidate: &Candidate<'_>| {
            let test = &inventory.tests[candidate.test];
            let binary = &inventory.binaries[test.binary].id;
            let key = (binary.clone(), candidate.name.to_owned());
            let matches = matched.get(scenario);
            matches.is_none_or(|matches: &Matches| matches.contains(&key))
        };
        let scenes = Scenes::new(&all, inventory, &self.targets, |candidate| {
            let mut names = self.scenarios.iter().map(|one| one.name.as_str());
            match candidate.scenario {
                Some(scenario) => is_matched(scenario, candidate),
                None => names.any(|scenario| is_matched(scenario, candidate)),
            }
        });
        Ok(SceneChoice {
            scenes,
            is_restricted: !matched.is_empty(),
            warnings,
        })
    }

    /// Returns what the filterset of one scenario matches: its cases, and tests without cases.
    fn matches(
        &self,
        scenario: &str,
        set: &str,
        all: &Plan,
        (nextest, stage): (&CargoNextest, &Stage),
        inventory: &Inventory,
    ) -> Result<Matches> {
        let cases = all
            .cases
            .iter()
            .map(|case| Candidate::of(case, &self.targets));
        let cases = cases.filter(|one| one.scenario == Some(scenario));
        let cases = cases.map(|one| (one.test, one.name));
        let others = plan::caseless(all, inventory);
        let others = others.map(|test| (test, inventory.tests[test].name.as_str()));
        stage.list_all(&listing(inventory, cases.chain(others)))?;
        let refused = |error: crate::error::Error| {
            error.with_hint(format!("the filterset is `{set}` of scenario `{scenario}`"))
        };
        nextest.matching(stage, set).map_err(refused)
    }
}
