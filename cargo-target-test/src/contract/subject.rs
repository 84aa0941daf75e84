//! A platform as the checks see it.

use std::path::Path;

use crate::provision::platform::Platforms;

/// A platform under the contract: its playbook, and a look at its instances from outside.
pub trait Subject {
    /// The platforms of the tool under test.
    fn platforms(&self) -> Platforms {
        Platforms::default()
    }

    /// A playbook with one target `it` of two instances. `folder` is the check's own: the playbook is written there.
    fn playbook(&self, folder: &Path) -> String;

    /// The same playbook with a mistake, and its line that the error shows.
    fn wrong_playbook(&self, folder: &Path) -> (String, String);

    /// Everything that exists of the pool's instances, seen without the tool.
    fn exists(&self, pool: &Path) -> Vec<String>;

    /// Removes every instance without the tool; false if there is no way to.
    fn remove_behind_our_back(&self, pool: &Path) -> bool;

    /// True if an instance's machine outlives it.
    fn machines_stay(&self) -> bool {
        false
    }

    /// True if instances are created, so that something exists of a kept one.
    fn makes_machines(&self) -> bool {
        true
    }

    /// True if creating an instance takes seconds. Some checks are then made less often.
    fn is_slow(&self) -> bool {
        false
    }

    /// A command with a different output on each instance.
    fn identity(&self) -> &'static str;

    /// A command whose output a restart changes; `None` if there is none.
    fn boot_id(&self) -> Option<&'static str> {
        None
    }

    /// True if the platform may restart instances without [`Subject::boot_id`].
    fn may_restart(&self) -> bool {
        false
    }

    /// True if the playbook hands the variable `CONTRACT_SECRET` on to instances; `None` if either is fine.
    fn passes_secret(&self) -> Option<bool> {
        Some(false)
    }
}
