//! What a run lets go early.
//!
//! Owns when that is worth it.

use super::Selection;

impl Selection {
    /// True if instances that no remaining case needs may go at once: not where they are kept, and not where all cases
    /// are run again and again.
    pub fn may_release(&self) -> bool {
        let again = ["stress-count", "stress-duration"];
        let again = again
            .into_iter()
            .any(|option| self.run.tests.nextest.has(option));
        !self.run.keep_targets && !again && !self.is_debugged()
    }
}
