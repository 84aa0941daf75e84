//! Reuse of instances by tests, and the check that a target can provide fresh instances.

use target_fixtures::metadata::{RetryOn, Reuse};

use super::Selection;
use crate::error::{Error, Result};

impl Selection {
    /// Returns the reuse of a test's instances.
    pub(super) fn reuse(&self, test: usize) -> Reuse {
        self.inventory.tests[test]
            .declared()
            .reuse
            .unwrap_or_default()
    }

    /// Returns the key of a test that requires a fresh machine, if any.
    fn asks_for_fresh(&self, test: usize) -> Option<&'static str> {
        match (
            self.reuse(test),
            self.inventory.tests[test].declared().retry_on,
        ) {
            (Reuse::No, _) => Some("reuse = false"),
            (Reuse::Snapshot, _) => Some("reuse = \"snapshot\""),
            (Reuse::Yes, Some(RetryOn::Fresh)) => Some("retry_on = \"fresh\""),
            (Reuse::Yes, _) => None,
        }
    }

    /// Checks that every chosen case that requires fresh instances can get them.
    ///
    /// # Errors
    /// [`ErrorKind::Playbook`](crate::ErrorKind::Playbook) for a case that requires fresh instances on a permanent machine whose target has no
    /// `on-dirty`.
    pub(super) fn check_reuse(&self) -> Result<()> {
        for case in self.chosen_cases() {
            let target = &self.workspace.playbook.targets[case.target];
            let platform = self.workspace.platforms.get(target.platform);
            let stays = platform.is_some_and(|one| one.machines_stay());
            let declared = self.asks_for_fresh(case.test);
            if let Some(declared) =
                declared.filter(|_| stays && target.lifecycle.on_dirty.is_none())
            {
                let (test, name) = (&self.inventory.tests[case.test].name, &target.name);
                let message = format!(
                    "`{test}` declares `{declared}`, and target `{name}` (platform `{}`) cannot make a fresh machine",
                    target.platform
                );
                return Err(Error::playbook(message).with_hint(format!(
                    "set `on-dirty = \"reboot\"`, \"clean\" or \"hold\" in target `{name}`"
                )));
            }
        }
        Ok(())
    }
}
