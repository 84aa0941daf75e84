//! The orchestrations of a run: the tests that run them, and their descriptions.
//!
//! Must not know how descriptions are written.

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use target_fixtures::wire::OrchestrationPlan;

use super::Selection;
use crate::{
    error::{Error, ErrorKind, Result},
    execute::invalid_events,
    inventory::Inventory,
    plan,
    playbook::{self, Descriptions, OrchestrationSettings},
    ui,
};

/// The options of nextest that choose packages and binaries.
const BINARIES: &[&str] = &[
    "package", "exclude", "lib", "bin", "bins", "test", "tests", "example", "examples", "bench",
    "benches",
];

/// The descriptions of the playbook, if a test runs an orchestration or the playbook names folders.
pub(super) struct Orchestrations {
    settings: OrchestrationSettings,
    time_scale: f64,
    descriptions: Result<Descriptions>,
}

impl Orchestrations {
    /// Reads the descriptions. Errors in them are of the orchestrations that run, and otherwise warnings.
    pub(super) fn read(settings: &OrchestrationSettings, time_scale: f64) -> Self {
        Self {
            settings: settings.clone(),
            time_scale,
            descriptions: Descriptions::read(settings),
        }
    }

    /// Declares the time limit of each test that runs an orchestration.
    pub(super) fn declare(&self, inventory: &mut Inventory) {
        for test in &mut inventory.tests {
            let Some(metadata) = &mut test.metadata else {
                continue;
            };
            let name = metadata.orchestration.as_deref();
            if let Some(plan) = name.and_then(|name| self.plan(name)) {
                let limit = humantime::format_duration(limit(&plan)).to_string();
                metadata.timeout = Some(limit);
            }
        }
    }

    /// Returns the plan of an orchestration; `None` without a description.
    pub(super) fn plan(&self, name: &str) -> Option<OrchestrationPlan> {
        let descriptions = self.descriptions.as_ref().ok()?;
        descriptions.plan(name, &self.settings, self.time_scale)
    }

    /// True if the orchestration has a description.
    fn has_description(&self, name: &str) -> bool {
        let mut names = self.descriptions.iter().flat_map(Descriptions::names);
        names.any(|described| described == name)
    }

    /// Notes about a key, files and events that have no effect.
    fn ignored(&self) -> Vec<String> {
        let note = "`orchestration_sources` is ignored: events are compiled into the tests";
        let sources = self.settings.sources.iter().map(|_| note.to_owned());
        let files = self.descriptions.iter().flat_map(Descriptions::notes);
        let descriptions = self.descriptions.iter();
        let never_run = descriptions.flat_map(Descriptions::never_run);
        sources.chain(files).chain(never_run).collect()
    }

    /// Descriptions without a test, if all tests `are_known`, and tests without a description.
    fn unmatched(&self, inventory: &Inventory, are_known: bool) -> Vec<String> {
        let tests = inventory.tests.iter();
        let tests = tests.filter_map(|test| test.declared().orchestration.as_deref());
        let tests: Vec<_> = tests.collect();
        let described: Vec<_> = match &self.descriptions {
            Ok(descriptions) => descriptions.names().collect(),
            Err(_) => return Vec::new(),
        };
        let is_untested = |name: &&&str| are_known && !tests.contains(name);
        let untested = described.iter().filter(is_untested);
        let untested = untested.map(|name| without_test(name));
        let undescribed = tests.iter().filter(|name| !described.contains(name));
        let undescribed =
            undescribed.map(|name| playbook::without_description(name, &self.settings));
        let mut unmatched: Vec<_> = untested.chain(undescribed).collect();
        unmatched.dedup();
        unmatched
    }
}

/// The message for a description without a test.
fn without_test(name: &str) -> String {
    format!("description `{name}` has no test: add `orchestration!(\"{name}\");` to one")
}

/// Returns the hint about a name that is none of the known orchestrations.
fn hint(name: &str, known: &[&str], is_described: bool, is_test: bool) -> String {
    match known {
        known if known.contains(&name) => {
            format!("write `--run-orch {name}`; `--on` selects its targets")
        }
        _ if is_described => without_test(name),
        _ if is_test => format!("`{name}` is an ordinary test: `cargo target-test {name}` runs it"),
        [] => "none of the selected packages has an `orchestration!`".to_owned(),
        known => playbook::nearest_or_all(name, known),
    }
}

/// Returns the time limit of the test of an orchestration.
fn limit(plan: &OrchestrationPlan) -> Duration {
    let limit = plan.duration.div_f64(plan.time_scale) + to_end(plan);
    // Whole seconds, for people.
    Duration::from_secs(limit.as_secs() + 1)
}

/// Returns the time that nextest gives an orchestration after a signal: more than the runner gives it for running events, and
/// for each tear-down event.
pub(super) fn to_end(plan: &OrchestrationPlan) -> Duration {
    let tear_downs = plan.events.iter().filter(|event| event.at_teardown).count();
    let tear_downs = u32::try_from(tear_downs.max(1)).unwrap_or(u32::MAX);
    plan.grace.saturating_mul(tear_downs.saturating_add(2))
}

impl Selection {
    /// Checks that the orchestrations of `--run-orch` exist.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for an unknown name.
    pub(super) fn check_run_orch(
        inventory: &Inventory,
        orchestrations: &Orchestrations,
        names: &[String],
    ) -> Result<()> {
        let known = inventory.tests.iter();
        let known = known.filter_map(|test| test.declared().orchestration.as_deref());
        let known: Vec<_> = known.collect();
        let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) else {
            return Ok(());
        };
        // Perhaps the name of a case: `soak[local]`.
        let name = unknown.split('[').next().unwrap_or_default();
        let is_test = inventory.tests.iter().any(|test| test.name == name);
        let hint = hint(name, &known, orchestrations.has_description(name), is_test);
        Err(Error::usage(format!("unknown orchestration `{unknown}`")).with_hint(hint))
    }

    /// Keeps only the orchestrations of `--run-orch`, if it is given.
    pub(super) fn keep_run_orch(&mut self) {
        let names = &self.run.tests.choosing.run_orch;
        if names.is_empty() {
            return;
        }
        let (inventory, plan) = (&self.inventory, &self.plan);
        let cases = plan.cases.iter().filter(|case| {
            let name = inventory.tests[case.test].declared().orchestration.as_ref();
            name.is_some_and(|name| names.contains(name))
        });
        let key = |case: &plan::Case| {
            let binary = &inventory.binary_of(case.test).id;
            (binary.clone(), case.info.name.clone())
        };
        let cases: HashSet<_> = cases.map(key).collect();
        self.chosen.retain(|case| cases.contains(case));
    }

    /// Returns the plan of the orchestration that a test runs, if it runs one.
    pub(super) fn orchestration(&self, test: usize) -> Option<Arc<OrchestrationPlan>> {
        let name = self.inventory.tests[test]
            .declared()
            .orchestration
            .as_ref()?;
        let plan = self.orchestrations.plan(name)?;
        Some(Arc::new(OrchestrationPlan {
            set_up_limit: self.default_timeout(),
            ..plan
        }))
    }

    /// Checks the orchestrations of the chosen cases, and warns of what does not match.
    ///
    /// # Errors
    /// [`ErrorKind::Playbook`](crate::ErrorKind::Playbook) for a description that is missing or wrong.
    pub(super) fn check_orchestrations(&mut self) -> Result<()> {
        let orchestrations = &self.orchestrations;
        let mut tests = self.inventory.tests.iter();
        if !tests.any(|test| test.declared().orchestration.is_some()) {
            // Perhaps other packages have them.
            return Ok(());
        }
        self.warnings.extend(orchestrations.ignored());
        let mut tests: Vec<_> = self.chosen_cases().map(|case| case.test).collect();
        tests.sort_unstable();
        tests.dedup();
        for test in &tests {
            self.check_orchestration(*test)?;
        }
        let is_orchestration = |test: &usize| self.orchestration(*test).is_some();
        if tests.iter().any(is_orchestration) && self.users_config().has_global_timeout() {
            let warning = "`global-timeout` of nextest does not apply to this run: orchestrations end by themselves";
            self.warnings.push(warning.to_owned());
        }
        if let Err(error) = &orchestrations.descriptions {
            self.warnings.push(error.to_string());
        }
        let unmatched = orchestrations.unmatched(&self.inventory, self.are_all_built());
        self.warnings.extend(unmatched);
        Ok(())
    }

    /// True if the command line does not choose among packages and binaries.
    fn are_all_built(&self) -> bool {
        !BINARIES
            .iter()
            .any(|option| self.run.tests.nextest.has(option))
    }

    fn check_orchestration(&self, test: usize) -> Result<()> {
        let Some(name) = &self.inventory.tests[test].declared().orchestration else {
            return Ok(());
        };
        let descriptions = self.orchestrations.descriptions.as_ref();
        let descriptions = descriptions.map_err(Clone::clone)?;
        let Some(plan) = self.orchestrations.plan(name) else {
            let settings = &self.orchestrations.settings;
            let message = playbook::without_description(name, settings);
            return Err(Error::playbook(message));
        };
        let binary = self.inventory.binary_of(test);
        descriptions.check(name, &binary.known)?;
        let (path, start) = self.start_of(test, &self.users_runner()?);
        let directory: &Path = binary.cwd.as_std_path();
        let invalid = invalid_events(&start, (&path, directory), &plan)?;
        descriptions.refuse(name, &invalid)
    }

    /// Checks all descriptions without running anything (`--load-orch`).
    ///
    /// # Errors
    /// [`ErrorKind::Playbook`](crate::ErrorKind::Playbook) for a description that is wrong or has no test, and for a test
    /// without a description.
    pub fn load_orchestrations(&self) -> Result<()> {
        let orchestrations = &self.orchestrations;
        orchestrations.ignored().iter().for_each(ui::warn);
        let descriptions = orchestrations.descriptions.as_ref();
        let names = descriptions.map_err(Clone::clone)?.names();
        let (count, mut problems) = (
            names.count(),
            orchestrations.unmatched(&self.inventory, self.are_all_built()),
        );
        for test in 0..self.inventory.tests.len() {
            match self.check_orchestration(test) {
                Err(error) if error.kind() == ErrorKind::Playbook => {
                    problems.push(error.to_string())
                }
                checked => checked?,
            }
        }
        // Tests without a description are found twice.
        problems.sort();
        problems.dedup();
        if !problems.is_empty() {
            return Err(Error::playbook(problems.join("\n\nerror: ")));
        }
        ui::note(match count {
            1 => "1 orchestration is valid".to_owned(),
            count => format!("{count} orchestrations are valid"),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_has_a_hint() {
        let known = &["soak", "play"][..];
        for (name, known, is_described, is_test, expected) in [
            ("saok", known, false, false, "did you mean `soak`?"),
            ("x", known, false, false, "known: `soak`, `play`"),
            ("soak", known, true, true, "write `--run-orch soak`"),
            ("loop", known, true, false, "description `loop` has no test"),
            ("smoke", known, false, true, "`smoke` is an ordinary test"),
            ("soak", &[], false, false, "has an `orchestration!`"),
        ] {
            let hint = hint(name, known, is_described, is_test);
            assert!(hint.contains(expected), "{hint}");
        }
    }
}
