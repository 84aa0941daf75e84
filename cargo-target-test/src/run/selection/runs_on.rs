//! The place of the process of each chosen case.

use target_fixtures::metadata::ProcessPlace;

use super::Selection;
use crate::{
    error::{Error, Result},
    plan::Case,
};

impl Selection {
    /// Returns the place of a case's process: the option's, else the test's, else the target's. In an environment, `target`
    /// is the machine whose role a weaker one names. An orchestration runs on this host.
    pub(super) fn place(&self, case: &Case) -> ProcessPlace {
        let metadata = self.inventory.tests[case.test].declared();
        if metadata.orchestration.is_some() {
            return ProcessPlace::Host;
        }
        let target = &self.workspace.playbook.targets[case.target];
        let option = self.run.tests.choosing.runs_on.iter();
        let mut places = option
            .chain(&metadata.runs_on)
            .chain([&target.lifecycle.around.runs_on]);
        let first = places.next().unwrap_or(&ProcessPlace::Host);
        let role = match first {
            ProcessPlace::Target => places.find(|one| matches!(one, ProcessPlace::Role(_))),
            _ => None,
        };
        role.unwrap_or(first).clone()
    }

    /// Checks that every chosen case can be started where its process runs.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a role that the target of a case does not have, and for a debugger of
    /// a test that runs on its target.
    pub(super) fn check_runs_on(&self) -> Result<()> {
        for case in self.chosen_cases() {
            let (place, name) = (self.place(case), &case.info.name);
            let target = &self.workspace.playbook.targets[case.target];
            if let Err(reason) = target.check_place(&place) {
                let hint = target.similar_place(&place);
                let hint = hint.unwrap_or_else(|| "`--on` selects environments".to_owned());
                let message = format!("`{name}`: `runs-on` {reason}");
                return Err(Error::usage(message).with_hint(hint));
            }
            if self.nextest.debugs() && place != ProcessPlace::Host {
                let message = format!("a debugger cannot start `{name}` on its target");
                return Err(Error::usage(message).with_hint("`--runs-on host` runs the test here"));
            }
        }
        Ok(())
    }
}
