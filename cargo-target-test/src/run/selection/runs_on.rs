//! The check that every chosen case whose process runs on its target can run there.

use super::Selection;
use crate::{
    error::{Error, Result},
    playbook::TestSide,
};

impl Selection {
    /// Checks the chosen cases of targets with `runs-on = "target"`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for a test with `#[target_test]`, which needs the broker of this host, and with a debugger.
    pub(super) fn check_runs_on(&self) -> Result<()> {
        for case in self.chosen_cases() {
            let target = &self.workspace.playbook.targets[case.target];
            if target.lifecycle.around.runs_on == TestSide::Host {
                continue;
            }
            let (test, name) = (&self.inventory.tests[case.test], &target.name);
            if test.attribute {
                let message = format!(
                    "`{}` has `#[target_test]` and cannot run on target `{name}` itself: its `Target` is served on this host",
                    test.name
                );
                return Err(Error::usage(message).with_hint(
                    "leave it out (`-E 'not test(...)'`), or run it here with `--runs-on host`; ordinary `#[test]`s run on a \
                     target",
                ));
            }
            if self.nextest.debugs() {
                let message = format!("a debugger cannot start `{}` on target `{name}`", test.name);
                return Err(Error::usage(message).with_hint("`--runs-on host` runs the test here"));
            }
        }
        Ok(())
    }
}
