//! The place of the process of each chosen case.

use target_fixtures::metadata::TestSide;

use super::Selection;
use crate::{
    error::{Error, Result},
    plan::Case,
};

impl Selection {
    /// Returns the place of a case's process: the option's, else the test's, else the target's. An orchestration runs on
    /// this host.
    pub(super) fn side(&self, case: &Case) -> TestSide {
        let option = self.run.tests.choosing.runs_on.map(TestSide::from);
        let metadata = self.inventory.tests[case.test].declared();
        if metadata.orchestration.is_some() {
            return TestSide::Host;
        }
        let declared = metadata.runs_on;
        let target = &self.workspace.playbook.targets[case.target];
        let side = option.or(declared);
        side.unwrap_or(target.lifecycle.around.runs_on)
    }

    /// Checks that every chosen case can be started where its process runs.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a debugger of a test that runs on its target.
    pub(super) fn check_runs_on(&self) -> Result<()> {
        let mut there = self
            .chosen_cases()
            .filter(|case| self.side(case) == TestSide::Target);
        match there.next() {
            Some(case) if self.nextest.debugs() => {
                let message = format!("a debugger cannot start `{}` on its target", case.info.name);
                Err(Error::usage(message).with_hint("`--runs-on host` runs the test here"))
            }
            _ => Ok(()),
        }
    }
}
