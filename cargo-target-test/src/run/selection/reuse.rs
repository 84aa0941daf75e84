//! Tests that need an instance as nobody left it, or leave theirs unfit for others.
//!
//! Owns the refusal to run one where nothing would be done about that.

use target_fixtures::metadata::{RetryOn, Reuse};

use super::Selection;
use crate::error::{Error, ErrorKind, Result};

impl Selection {
    /// What becomes of the instances of a test.
    pub(super) fn reuse(&self, test: usize) -> Reuse {
        let metadata = self.inventory.tests[test].metadata.as_ref();
        metadata
            .and_then(|metadata| metadata.reuse)
            .unwrap_or_default()
    }

    /// What of a test's declaration asks for a machine that is made anew.
    fn asks_for_fresh(&self, test: usize) -> Option<&'static str> {
        let metadata = self.inventory.tests[test].metadata.as_ref()?;
        match (self.reuse(test), metadata.retry_on) {
            (Reuse::No, _) => Some("reuse = false"),
            (Reuse::Snapshot, _) => Some("reuse = \"snapshot\""),
            (Reuse::Yes, Some(RetryOn::Fresh)) => Some("retry_on = \"fresh\""),
            (Reuse::Yes, _) => None,
        }
    }

    /// # Errors
    /// [`ErrorKind::Playbook`] for a chosen case that asks for fresh instances on a machine that is there to stay, whose
    /// target does not say what happens to it.
    pub(super) fn check_reuse(&self) -> Result<()> {
        for case in self.cases.iter().map(|case| &self.plan.cases[*case]) {
            let target = &self.setting.playbook.targets[case.target];
            let platform = self.setting.platforms.get(target.platform);
            let stays = platform.is_some_and(|one| one.machines_stay());
            let declared = self.asks_for_fresh(case.test);
            if let Some(declared) = declared.filter(|_| stays && target.care.on_dirty.is_none()) {
                let (test, name) = (&self.inventory.tests[case.test].name, &target.name);
                let message = format!(
                    "`{test}` declares `{declared}`, and target `{name}` (platform `{}`) cannot make a fresh machine",
                    target.platform
                );
                return Err(Error::new(ErrorKind::Playbook, message).with_hint(format!(
                    "say what happens instead: `on-dirty = \"reboot\"`, \"clean\" or \"hold\" in target `{name}`"
                )));
            }
        }
        Ok(())
    }
}
