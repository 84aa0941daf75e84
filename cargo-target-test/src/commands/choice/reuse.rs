//! Tests that leave their instance unfit for others.
//!
//! Owns the refusal to run one where nothing would be done about that.

use super::Choice;
use crate::{
    error::{Error, ErrorKind, Result},
    provision::platform,
};

impl Choice {
    /// Whether other tests may get the instances of this one.
    pub(super) fn reuses(&self, test: usize) -> bool {
        let metadata = self.inventory.tests[test].metadata.as_ref();
        metadata.and_then(|metadata| metadata.reuse).unwrap_or(true)
    }

    /// # Errors
    /// [`ErrorKind::Playbook`] for a chosen case with `reuse = false` on a machine that is there to stay, whose target
    /// does not say what happens to it.
    pub(super) fn check_reuse(&self) -> Result<()> {
        for case in self.cases.iter().map(|case| &self.plan.cases[*case]) {
            let target = &self.setting.playbook.targets[case.target];
            let stays = platform::by_name(target.platform).is_some_and(|one| one.machines_stay());
            if !self.reuses(case.test) && stays && target.care.on_dirty.is_none() {
                let (test, name) = (&self.inventory.tests[case.test].name, &target.name);
                let message = format!(
                    "`{test}` declares `reuse = false`, and target `{name}` (platform `{}`) cannot make a fresh machine",
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
