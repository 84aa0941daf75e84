//! Earlier runs, and what changed since.
//!
//! Must not know where earlier runs are recorded.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;

use super::super::{
    change::{CaseChange, LastResult},
    results::Results,
};
use crate::case::CaseInfo;

/// Earlier runs of the same tests.
pub trait EarlierRuns: Send {
    /// Returns the last run before this one that had some of its cases; `None` if none is known.
    fn previous(&mut self, results: &Results) -> Option<EarlierRun>;

    /// Returns the values of a metric in earlier runs, the oldest first.
    fn values(&mut self, case: &CaseInfo, metric: &str) -> Vec<f64>;
}

/// An earlier run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EarlierRun {
    /// The run's id.
    pub run: String,
    /// Its start, since 1970.
    pub started: Duration,
    /// False for a run that goes on, or was killed: it may have had further cases.
    pub is_complete: bool,
    /// The cases of the later run, by binary id and name, with their last results up to this run.
    pub cases: HashMap<(String, String), LastResult>,
}

/// The changes since an earlier run; cases by their index.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Changes {
    pub(super) run: String,
    /// In milliseconds since 1970.
    pub(super) started: u64,
    pub(super) failing: Vec<usize>,
    pub(super) fixed: Vec<usize>,
    pub(super) slower: Vec<Slower>,
    /// Cases without an earlier result.
    pub(super) new: usize,
}

/// A case that became slower; times in microseconds.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Slower {
    pub(super) case: usize,
    pub(super) before: u64,
}

impl Changes {
    pub(super) fn since(earlier: &EarlierRun, results: &Results) -> Self {
        let mut changes = Self {
            run: earlier.run.clone(),
            started: u64::try_from(earlier.started.as_millis()).unwrap_or(u64::MAX),
            ..Self::default()
        };
        for (case, tested) in results.cases.iter().enumerate() {
            let key = (
                tested.case.binary_id.to_string(),
                tested.case.name.to_string(),
            );
            let before = earlier.cases.get(&key);
            let before = before.or((!earlier.is_complete).then_some(&LastResult::NO_VERDICT));
            changes.new += usize::from(before.is_none_or(|before| before.verdict.is_none()));
            let now = tested.last_result();
            match (CaseChange::between(before, &now), before) {
                (Some(CaseChange::NewlyFailing), _) => changes.failing.push(case),
                (Some(CaseChange::Fixed), _) => changes.fixed.push(case),
                (Some(CaseChange::Slower), Some(before)) => {
                    let before = u64::try_from(before.took.as_micros()).unwrap_or(u64::MAX);
                    changes.slower.push(Slower { case, before });
                }
                _ => {}
            }
        }
        changes
    }
}
