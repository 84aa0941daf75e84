//! Notes, warnings and errors on a selection for the user.
//!
//! Must not choose.

use std::{fmt, sync::Arc};

use super::Selection;
use crate::{
    case::{CaseInfo, reason::SkipReason},
    cli,
    error::{Error, Result},
    orchestrate::Nextest,
    plan::{self, PlanNote},
    provision::platform::Ownership,
    run::options::tells_all,
    ui::{
        self, Style,
        table::{self, Cell},
    },
};

/// nextest's exit code if no test was selected.
const NO_TESTS: i32 = nextest_metadata::NextestExitCode::NO_TESTS_RUN;

impl Selection {
    /// Adds the warnings of the plan, and a warning for each filter or override that names a test instead of its cases.
    pub(super) fn warn_of_missed(&mut self) {
        let args = &self.run.tests.nextest;
        let users = self.users_config().filtersets();
        let given = args
            .filtersets()
            .map(|words| words.to_string_lossy().into_owned());
        let in_sets = given.chain(users).flat_map(|set| plan::exact_names(&set));
        // Those of several scenarios were checked when they were evaluated.
        let of_scenarios = (self.scenario_filtersets())
            .filter(|_| self.run.tests.choosing.scenario.len() == 1)
            .flat_map(|(_, set)| plan::exact_names(set));
        let in_sets = of_scenarios.chain(in_sets).collect::<Vec<_>>();
        let mut names = args.exact_names();
        names.extend(in_sets.iter().map(String::as_str));
        self.warnings.extend(self.plan.warnings.iter().cloned());
        self.warnings
            .extend(plan::missed(&self.plan, &self.inventory, &names));
        if self.chosen.len() > self.entries.cases.len() + self.entries.plain.len() {
            self.warnings.push(
                "nextest listed names that are not cases; check for a list wrapper".to_owned(),
            );
        }
    }

    /// Prints the notes of the plan that concern the chosen cases or explain why no case was chosen.
    pub fn say_notes(&self) {
        if self.entries.cases.is_empty() || !self.is_filtered() {
            let notes = self.plan.notes.iter();
            notes
                .filter(|note| {
                    !self.entries.plain.is_empty() || !matches!(note, PlanNote::OnHost { .. })
                })
                .for_each(|note| match note.is_listed() {
                    true => ui::note(format!("{note} (`cargo target-test list` shows all)")),
                    false => ui::note(note),
                });
            self.plan.impossible.iter().for_each(ui::warn);
        }
        self.say_warnings();
    }

    /// Prints one line per target: its instances and its platform.
    ///
    /// # Errors
    /// Fails if the pool cannot be read.
    pub fn say_targets(&self, nextest: &Nextest) -> Result<()> {
        // Without a playbook, its absence has been told.
        if !tells_all(&self.run) || self.workspace.playbook.path.is_none() {
            return Ok(());
        }
        let mut rows = Vec::new();
        for set in &nextest.sets {
            let Some(first) = set.wanted.first() else {
                continue;
            };
            let ready = nextest.provisioner.run().count_ready(&set.wanted)?;
            let instances = Instances {
                count: set.at_once,
                kept: ready.min(set.at_once),
                exist: first.platform.ownership() == Ownership::Existing,
            };
            let name = Cell::left(&set.label).styled(Style::Bold);
            let platform = first.platform.name();
            rows.push(vec![name, Cell::left(instances), Cell::left(platform)]);
        }
        for line in table::lines(&rows, None) {
            ui::status("Target", Style::Good, line);
        }
        Ok(())
    }

    /// Returns the names and filtersets of the scenarios that run.
    pub(super) fn scenario_filtersets(&self) -> impl Iterator<Item = (&str, &str)> {
        let playbook = &self.workspace.playbook;
        let is_run = |name: &String| {
            let mut targets = playbook.targets.iter();
            targets.any(|target| target.scenario.as_ref() == Some(name))
        };
        let scenarios = playbook.rules.scenarios.iter();
        scenarios
            .filter(move |scenario| is_run(&scenario.name))
            .filter_map(|scenario| Some((scenario.name.as_str(), scenario.filterset.as_deref()?)))
    }

    /// Returns the first exclusion of each test that runs on no target.
    pub(super) fn nowhere(&self) -> impl Iterator<Item = &plan::Exclusion> {
        let targets = &self.workspace.playbook.targets;
        plan::skipped(&self.plan, &self.inventory, targets, &[]).into_iter()
    }

    /// Returns the requested tests that run on no target, with reasons.
    pub fn skipped(&self) -> Vec<(Arc<CaseInfo>, SkipReason)> {
        if self.rerun.is_some() {
            // Exactly the cases of the earlier run.
            return Vec::new();
        }
        let args = &self.run.tests.nextest;
        let targets = &self.workspace.playbook.targets;
        let skipped: Vec<_> = match &self.chosen_nowhere {
            None => self.nowhere().collect(),
            // Words may name the cases that there are not.
            Some(_) if self.is_filtered() && args.means_by_words() => {
                plan::skipped(&self.plan, &self.inventory, targets, &args.filters)
            }
            Some(chosen) => {
                let chosen = |one: &&plan::Exclusion| chosen.contains(&one.test);
                self.nowhere().filter(chosen).collect()
            }
        };
        let skip = |exclusion: &plan::Exclusion| {
            let reason = SkipReason::Plan(exclusion.reason.clone());
            (plan::host_case(&self.inventory, exclusion.test), reason)
        };
        skipped.into_iter().map(skip).collect()
    }

    /// Prints the reasons that filters match no case, if known.
    pub fn say_unmatched(&self) {
        let filters = &self.run.tests.nextest.filters;
        let targets = &self.workspace.playbook.targets;
        let why = plan::unmatched(&self.plan, &self.inventory, targets, filters);
        why.iter().for_each(ui::note);
    }

    /// Rejects a filter that looks like a misspelt verb and matches no test name. Checks only the first filter if cases
    /// were chosen, and none with `--no-tests`, which defines the result of an empty run.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) with nextest's exit code of an empty run.
    pub fn refuse_misspelt_verb(&self) -> Result<()> {
        let args = &self.run.tests.nextest;
        if args.has("no-tests") {
            return Ok(());
        }
        let words = match self.count() {
            0 => args.filters.len(),
            _ => args.filters.len().min(1),
        };
        let verb = |word: &String| Some((word.clone(), cli::meant_verb(word)?));
        let mut meant = args.filters[..words].iter().filter_map(verb);
        let Some((word, verb)) = meant.find(|(word, _)| !self.is_in_a_name(word)) else {
            return Ok(());
        };
        let message = format!("unknown verb `{word}`, and no test name contains it");
        let error = Error::usage(message);
        let hint = format!("did you mean `{verb}`?");
        Err(error.with_hint(hint).with_exit_code(NO_TESTS))
    }

    /// Returns true if the name of a test, case or target contains this word.
    fn is_in_a_name(&self, word: &str) -> bool {
        let tests = self.inventory.tests.iter().map(|test| &test.name);
        let cases = self.plan.cases.iter().map(|case| &case.info.name);
        let targets = self.workspace.playbook.targets.iter();
        let mut names = tests
            .chain(targets.map(|target| &target.label))
            .chain(cases);
        names.any(|name| name.contains(word))
    }

    /// Prints the warnings.
    pub fn say_warnings(&self) {
        self.warnings.iter().for_each(ui::warn);
    }
}

/// The instances of a target before a run.
struct Instances {
    count: usize,
    /// Those of an earlier run.
    kept: usize,
    /// True for machines that exist before and after.
    exist: bool,
}

/// `3 instances, 1 kept, 2 new`.
impl fmt::Display for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, kept, exist } = *self;
        let several = if count == 1 { "" } else { "s" };
        write!(f, "{count} instance{several}, ")?;
        match kept {
            _ if exist => f.write_str("existing"),
            0 => f.write_str("new"),
            _ if kept == count => f.write_str("kept"),
            _ => write!(f, "{kept} kept, {} new", count - kept),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_kept_new_or_existing() {
        for (count, kept, exist, expected) in [
            (1, 0, false, "1 instance, new"),
            (3, 0, false, "3 instances, new"),
            (3, 1, false, "3 instances, 1 kept, 2 new"),
            (2, 2, false, "2 instances, kept"),
            (2, 1, true, "2 instances, existing"),
        ] {
            let instances = Instances { count, kept, exist };
            assert_eq!(instances.to_string(), expected);
        }
    }
}
