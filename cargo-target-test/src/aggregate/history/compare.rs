//! The differences between two runs.

use serde::Serialize;
use target_fixtures::wire::VerdictKind;

use super::{CaseKey, History, PastRun};
use crate::{
    aggregate::change::{CaseChange, LastResult},
    error::Result,
};

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
    /// The older verdict; `None` if the case had none.
    pub verdict_before: Option<VerdictKind>,
    /// The newer verdict.
    pub verdict: Option<VerdictKind>,
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
        // A run that was killed may have had further cases.
        let unknown = before.exit_code.is_none().then_some(LastResult::NO_VERDICT);
        let mut comparison = RunComparison {
            before,
            after,
            newly_failing: Vec::new(),
            fixed: Vec::new(),
            slower: Vec::new(),
        };
        for (case, now) in new {
            let was = old.get(&case).or(unknown.as_ref());
            let list = match CaseChange::between(was, &now) {
                Some(CaseChange::NewlyFailing) => &mut comparison.newly_failing,
                Some(CaseChange::Fixed) => &mut comparison.fixed,
                Some(CaseChange::Slower) => &mut comparison.slower,
                None => continue,
            };
            list.push(ChangedCase {
                case,
                verdict_before: was.and_then(|was| was.verdict),
                verdict: now.verdict,
                took_before: was.map(|was| was.took.as_secs_f64()),
                took: now.took.as_secs_f64(),
            });
        }
        Ok(comparison)
    }
}
