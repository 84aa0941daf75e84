//! The differences between two runs.

use std::time::Duration;

use serde::Serialize;
use target_fixtures::wire::VerdictKind;

use super::{CaseKey, History, PastCase, PastRun};
use crate::error::Result;

/// A case is slower if it takes this many times as long ...
const TIMES: f64 = 1.5;
/// ... and at least this much longer.
const LONGER: Duration = Duration::from_millis(200);

/// The differences between an older run and a newer one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunComparison {
    /// The older run.
    pub before: PastRun,
    /// The newer run.
    pub after: PastRun,
    /// Cases that fail now, and passed or did not exist.
    pub newly_failing: Vec<ChangedCase>,
    /// Cases that pass now, and failed.
    pub fixed: Vec<ChangedCase>,
    /// Cases that pass in both runs, and take at least half as long again and 0.2 s longer.
    pub slower: Vec<ChangedCase>,
}

/// A case that differs between two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ChangedCase {
    /// The case.
    #[serde(flatten)]
    pub case: CaseKey,
    /// The older verdict; `None` if the case did not run.
    pub verdict_before: Option<VerdictKind>,
    /// The newer verdict.
    pub verdict: VerdictKind,
    /// The older duration in seconds, if the case ran.
    pub took_before: Option<f64>,
    /// The newer duration in seconds.
    pub took: f64,
}

impl History {
    /// Compares two runs, case by case.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn compare(&self, before: PastRun, after: PastRun) -> Result<RunComparison> {
        let (old, new) = (self.cases(&before)?, self.cases(&after)?);
        let mut comparison = RunComparison {
            before,
            after,
            newly_failing: Vec::new(),
            fixed: Vec::new(),
            slower: Vec::new(),
        };
        for (case, now) in new {
            let was = old.get(&case);
            let list = match (was.map(fails), fails(&now)) {
                (Some(false) | None, true) => &mut comparison.newly_failing,
                (Some(true), false) if now.verdict == VerdictKind::Pass => &mut comparison.fixed,
                (Some(false), false) if was.is_some_and(|was| is_slower(was, &now)) => {
                    &mut comparison.slower
                }
                _ => continue,
            };
            list.push(ChangedCase {
                case,
                verdict_before: was.map(|was| was.verdict),
                verdict: now.verdict,
                took_before: was.map(|was| was.took.as_secs_f64()),
                took: now.took.as_secs_f64(),
            });
        }
        Ok(comparison)
    }
}

fn fails(case: &PastCase) -> bool {
    matches!(case.verdict, VerdictKind::Fail | VerdictKind::Crash)
}

fn is_slower(was: &PastCase, now: &PastCase) -> bool {
    let both = was.verdict == VerdictKind::Pass && now.verdict == VerdictKind::Pass;
    both && now.took >= was.took.mul_f64(TIMES) && now.took >= was.took + LONGER
}
