//! What a run leaves to the next one, and what it lets go early.
//!
//! Owns when that is worth it. Must not know where it is kept.

use std::{collections::HashMap, path::Path};

use super::Choice;
use crate::{
    aggregate::history::{self, Timed},
    cli::RunArgs,
    execute::outcome::Outcome,
};

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

    /// Notes how long cases took. A pool on a full disk is no reason to fail a run that is over.
    pub fn remember(&self, pool: &Path, outcomes: &[Outcome]) {
        let cases: HashMap<_, _> = self
            .chosen_cases()
            .map(|case| {
                let test = &self.inventory.tests[case.test];
                let binary = &self.inventory.binaries[test.binary];
                let label = &self.setting.playbook.targets[case.target].label;
                (
                    (binary.path.as_str(), case.info.name.as_str()),
                    (&binary.id, &test.name, label),
                )
            })
            .collect();
        let timed = outcomes.iter().filter(|outcome| history::counts(outcome));
        let timed = timed.filter_map(|outcome| {
            let (binary, test, label) =
                cases.get(&(outcome.binary.as_str(), outcome.case.as_str()))?;
            Some(Timed {
                binary,
                test,
                label,
                seconds: outcome.took.as_secs_f64(),
            })
        });
        let _ = history::note(pool, &self.setting.workspace, timed);
    }
}
