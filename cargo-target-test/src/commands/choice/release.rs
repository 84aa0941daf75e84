//! What a run lets go early.
//!
//! Owns when that is worth it.

use super::Choice;
use crate::cli::RunArgs;

impl Choice {
    /// Whether instances that no remaining case needs may go at once: not where they are kept, and not where all cases
    /// are run again and again.
    pub fn may_release(&self, args: &RunArgs) -> bool {
        let again = ["stress-count", "stress-duration"];
        let again = again
            .into_iter()
            .any(|option| args.tests.nextest.has(option));
        !args.keep_targets && !again && !self.is_debugged()
    }
}
