//! The interface of a platform under the contract.

use std::path::Path;

use crate::provision::platform::Platforms;

/// A platform under the contract: its playbook, and its instances as seen from outside the tool.
pub trait Subject {
    /// The platforms of the tool under test.
    fn platforms(&self) -> Platforms {
        Platforms::default()
    }

    /// A playbook with one target `it` of two instances. The playbook will be written to `folder`, which is private to
    /// the check.
    fn playbook(&self, folder: &Path) -> String;

    /// The same playbook with an error, and the line that the message shows.
    fn wrong_playbook(&self, folder: &Path) -> (String, String);

    /// All resources of the pool's instances, found without the tool.
    fn exists(&self, pool: &Path) -> Vec<String>;

    /// Removes every instance without the tool; false if that is impossible.
    fn remove_behind_our_back(&self, pool: &Path) -> bool;

    /// True if an instance's machine outlives the instance.
    fn machines_stay(&self) -> bool {
        false
    }

    /// True if instances are created, so that a kept instance has resources.
    fn makes_machines(&self) -> bool {
        true
    }

    /// True if creating an instance takes seconds. Some checks then run less often.
    fn is_slow(&self) -> bool {
        false
    }

    /// A command with a different output on each instance.
    fn identity(&self) -> &'static str;

    /// A command whose output changes with a restart; `None` if there is none.
    fn boot_id(&self) -> Option<&'static str> {
        None
    }

    /// True if the platform may restart instances without [`Subject::boot_id`].
    fn may_restart(&self) -> bool {
        false
    }

    /// True if the playbook passes the variable `CONTRACT_SECRET` on to instances; `None` if either is acceptable.
    fn passes_secret(&self) -> Option<bool> {
        Some(false)
    }
}
