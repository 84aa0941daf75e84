//! Decides whether a run deletes unneeded instances early.

use super::Selection;
use crate::cli::KeepTargets;

impl Selection {
    /// Returns true if instances that no remaining case needs may be deleted at once: not if all are kept, and
    /// not in a stress run.
    pub fn may_release(&self) -> bool {
        let again = ["stress-count", "stress-duration"];
        let again = again
            .into_iter()
            .any(|option| self.run.tests.nextest.has(option));
        self.run.keep_targets != Some(KeepTargets::All) && !again && !self.is_debugged()
    }
}
