//! The cases that the scenarios of a run select, and the tests that more than one of the scenarios selects.
//!
//! Must not know how a filterset is evaluated.

use std::collections::{HashMap, HashSet};

use super::{Case, Choosing, Plan, matrix};
use crate::{error::Result, inventory::Inventory, playbook::PlaybookTarget};

/// The part of the tests and cases that the scenarios of a run select, if a run has several.
#[derive(Clone, Debug, Default)]
pub struct Scenes {
    /// The places of the selected cases, by test. A test without cases is selected by its own name.
    cases: HashMap<usize, HashSet<ScenePlace>>,
    /// Tests that several scenarios select.
    shared: HashSet<usize>,
}

/// A selected case of a test.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ScenePlace {
    target: String,
    variant: Option<String>,
    repetition: Option<u32>,
}

/// A test or case to select, by the scenario it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The scenario; `None` if every scenario may select the test.
    pub scenario: Option<&'a str>,
    /// An index into the inventory's tests.
    pub test: usize,
    /// The name without a scenario: that of the case if only this scenario is run.
    pub name: &'a str,
}

impl Scenes {
    /// Returns the plan of all cases that the scenarios may select, on all targets. Cases of several scenarios may have
    /// the same name.
    ///
    /// # Errors
    /// The errors of [`build`](super::build).
    pub fn all(
        inventory: &Inventory,
        targets: &[PlaybookTarget],
        choosing: &Choosing<'_>,
    ) -> Result<Plan> {
        let mut inventory = inventory.clone();
        let declared = inventory.tests.iter_mut();
        for metadata in declared.filter_map(|test| test.metadata.as_mut()) {
            metadata.any = None;
        }
        let choosing = Choosing {
            expressions: &[],
            scenes: None,
            ..*choosing
        };
        matrix::build(&inventory, targets, &choosing)
    }

    /// Asks for each candidate of the plan of all cases and each scenario that may select it.
    pub fn new(
        all: &Plan,
        inventory: &Inventory,
        targets: &[PlaybookTarget],
        is_selected: impl Fn(&Candidate<'_>) -> bool,
    ) -> Self {
        let mut scenes = Self::default();
        let mut selected_by: HashMap<usize, HashSet<&str>> = HashMap::new();
        for case in &all.cases {
            let candidate = Candidate::of(case, targets);
            if !is_selected(&candidate) {
                continue;
            }
            let place = ScenePlace {
                target: targets[case.target].name.clone(),
                variant: case.variant.as_ref().map(|variant| variant.name.clone()),
                repetition: case.info.repetition,
            };
            scenes.cases.entry(case.test).or_default().insert(place);
            let by = selected_by.entry(case.test).or_default();
            by.extend(candidate.scenario);
        }
        for test in caseless(all, inventory) {
            let name = &inventory.tests[test].name;
            let scenario = None;
            if is_selected(&Candidate {
                scenario,
                test,
                name,
            }) {
                scenes.cases.entry(test).or_default();
            }
        }
        let shared = selected_by.into_iter().filter(|(_, by)| by.len() > 1);
        scenes.shared = shared.map(|(test, _)| test).collect();
        scenes
    }

    /// True if several scenarios select the test.
    pub(super) fn is_shared(&self, test: usize) -> bool {
        self.shared.contains(&test)
    }

    /// True if a scenario selects the test or one of its cases.
    pub(super) fn selects_test(&self, test: usize) -> bool {
        self.cases.contains_key(&test)
    }

    /// True if the target's scenario selects the test with this variant and repetition; with `None`, with any.
    pub(super) fn selects(
        &self,
        test: usize,
        target: &PlaybookTarget,
        case: Option<(Option<&str>, Option<u32>)>,
    ) -> bool {
        let places = self.cases.get(&test).into_iter().flatten();
        let mut on_target = places.filter(|place| place.target == target.name);
        on_target.any(|place| {
            let place = (place.variant.as_deref(), place.repetition);
            case.is_none_or(|wanted| wanted == place)
        })
    }
}

impl<'a> Candidate<'a> {
    /// Returns the candidate that a case is.
    pub fn of(case: &'a Case, targets: &'a [PlaybookTarget]) -> Self {
        Self {
            scenario: targets[case.target].scenario.as_deref(),
            test: case.test,
            name: &case.info.name,
        }
    }
}

/// Returns the tests that have no case: those of the host, and those that run nowhere.
pub fn caseless<'a>(plan: &Plan, inventory: &'a Inventory) -> impl Iterator<Item = usize> + 'a {
    let with_cases: HashSet<_> = plan.cases.iter().map(|case| case.test).collect();
    (0..inventory.tests.len()).filter(move |test| !with_cases.contains(test))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::{build, testing};

    fn staged(name: &str, scenario: &str, several: bool) -> PlaybookTarget {
        let mut target = testing::target(name);
        target.scenario = Some(scenario.to_owned());
        if several {
            target.label = format!("{scenario}/{name}");
            target.name = format!("{scenario}.{name}");
        }
        target
    }

    /// `quick` is target `x`, `full` is `x` and `y`.
    fn names(tests: &[(&str, Option<serde_json::Value>)], quick: &str, full: &str) -> Vec<String> {
        let targets = [
            staged("x", "quick", true),
            staged("x", "full", true),
            staged("y", "full", false),
        ];
        let inventory = testing::inventory(tests);
        let all = Scenes::all(&inventory, &targets, &Choosing::default()).expect("a plan");
        let scenes = Scenes::new(&all, &inventory, &targets, |candidate| {
            let has = |set: &str| set.split(' ').any(|part| candidate.name.contains(part));
            match candidate.scenario {
                Some("quick") => has(quick),
                Some(_) => has(full),
                None => has(quick) || has(full),
            }
        });
        let choosing = Choosing {
            scenes: Some(&scenes),
            ..Choosing::default()
        };
        let plan = build(&inventory, &targets, &choosing).expect("a plan");
        let cases = plan.cases.iter().map(|case| case.info.name.clone());
        let plain = plan
            .plain
            .iter()
            .map(|test| inventory.tests[*test].name.clone());
        cases.chain(plain).collect()
    }

    #[test]
    fn only_cases_of_tests_that_scenarios_share_name_the_scenario() {
        let on_targets = || Some(json!({}));
        let tests = [
            ("one", on_targets()),
            ("two", on_targets()),
            ("three", on_targets()),
            ("here", None),
            ("away", None),
        ];
        assert_eq!(
            names(&tests, "one two here", "two three"),
            [
                "one[x]",
                "two[quick/x]",
                "two[full/x]",
                "two[y]",
                "three[x]",
                "three[y]",
                "here"
            ]
        );
        // A filterset sees the names that the scenario's cases have alone.
        assert_eq!(
            names(&tests[..2], "one[x]", "two[x] one[y]"),
            ["one[quick/x]", "one[y]", "two[x]"]
        );
    }

    /// The targets that its scenario excludes are not among those that a test chooses from.
    #[test]
    fn a_test_that_runs_on_any_target_runs_where_its_scenario_selects_it() {
        let any = [("any", Some(json!({"any": true})))];
        assert_eq!(names(&any, "none", "any[y]"), ["any[y]"]);
        assert_eq!(names(&any, "any", "any[y]"), ["any[quick/x]", "any[y]"]);
    }
}
