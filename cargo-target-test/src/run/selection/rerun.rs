//! `--rerun-cases`: the cases of an earlier run that run again.

use std::{collections::HashSet, path::Path};

use target_fixtures::wire::VerdictKind;

use super::Selection;
use crate::{
    aggregate::history::History,
    cli::{ChoosingArgs, RerunArg},
    error::{Error, Result},
    run::checkout,
};

/// nextest's exit code if no test was selected.
const NO_TESTS: i32 = nextest_metadata::NextestExitCode::NO_TESTS_RUN;

/// The cases of an earlier run that run again.
pub(super) struct Rerun {
    run: String,
    /// Binary ids and names.
    cases: HashSet<(String, String)>,
}

impl Rerun {
    /// Reads the cases from the history, if the command line asks for them.
    ///
    /// # Errors
    /// If the run is not in the history, or has no such case.
    pub(super) fn find(
        choosing: &ChoosingArgs,
        history: &Path,
        workspace: &Path,
    ) -> Result<Option<Self>> {
        let Some(which) = choosing.rerun_cases else {
            return Ok(None);
        };
        let Some(history) = History::open(history)? else {
            return Err(Error::usage("`--rerun-cases`: no run is recorded yet"));
        };
        let id = choosing.of.as_deref().unwrap_or("latest");
        let run = history.run(&checkout::repository(workspace), id)?;
        let is_wanted = |verdict| match which {
            RerunArg::Failed => matches!(verdict, Some(VerdictKind::Fail | VerdictKind::Crash)),
            RerunArg::Infra => verdict == Some(VerdictKind::Infra),
        };
        let cases = history.cases(&run)?.into_iter();
        let cases = cases.filter(|(_, case)| is_wanted(case.verdict));
        let cases: HashSet<_> = cases.map(|(key, _)| (key.binary, key.name)).collect();
        if cases.is_empty() {
            let which = match which {
                RerunArg::Failed => "failed",
                RerunArg::Infra => "was infra",
            };
            let message = format!("run `{}` has no case that {which}", run.run);
            return Err(Error::usage(message).with_exit_code(NO_TESTS));
        }
        Ok(Some(Self {
            run: run.run,
            cases,
        }))
    }
}

impl Selection {
    /// Keeps only the cases that run again. Warns of those that do not exist any more.
    pub(super) fn keep_rerun(&mut self) {
        let Some(Rerun { run, cases }) = &self.rerun else {
            return;
        };
        let (inventory, plan) = (&self.inventory, &self.plan);
        let of_cases = plan.cases.iter().map(|case| (case.test, &case.info.name));
        let plain = plan
            .plain
            .iter()
            .map(|test| (*test, &inventory.tests[*test].name));
        let exists: HashSet<_> = of_cases
            .chain(plain)
            .map(|(test, name)| (self.binary_id(test), name.as_str()))
            .collect();
        let mut gone: Vec<_> = cases
            .iter()
            .filter(|(binary, name)| !exists.contains(&(binary.as_str(), name.as_str())))
            .map(|(_, name)| format!("`{name}` of run `{run}` does not exist any more"))
            .collect();
        gone.sort();
        self.chosen.retain(|case| cases.contains(case));
        self.warnings.extend(gone);
    }
}
