//! The values that earlier runs recorded, for tests that ask for them.
//!
//! Must not compare values.

use std::{collections::HashSet, path::PathBuf, sync::Arc, time::UNIX_EPOCH};

use target_fixtures::wire::PreviousValue;

use super::Selection;
use crate::{
    aggregate::history::{History, PastMetric, TestOn},
    error::Result,
    execute::broker::{PreviousLookup, PreviousOf},
};

/// The number of values that a test may record in one run; of more, some runs are missing.
const MOST_IN_RUN: usize = 100;

impl Selection {
    /// Returns the lookup of values of runs before `run`.
    pub(super) fn previous_values(&self, run: &str) -> Arc<PreviousLookup> {
        let source = Source {
            history: self.history.clone(),
            repository: self.repository.clone(),
            run: run.to_owned(),
        };
        Arc::new(move |of| source.find(of))
    }
}

/// The history as a run sees it.
struct Source {
    history: PathBuf,
    repository: String,
    run: String,
}

impl Source {
    /// Finds at most one value of each run, the newest first.
    fn find(&self, of: &PreviousOf) -> Result<Vec<PreviousValue>> {
        let Some(history) = History::open(&self.history)? else {
            return Ok(Vec::new());
        };
        let (case, query) = (&of.case, &of.query);
        let test = TestOn {
            test: query.test.as_deref().unwrap_or(&case.test),
            binary: Some(&case.binary_id),
            label: case.runs_on.label(),
        };
        let rows = query.limit.saturating_mul(MOST_IN_RUN);
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        let (repository, run) = (&self.repository, &self.run);
        let mut values = match &query.metric {
            Some(metric) => history.passing_metrics(repository, &test, metric, run, rows)?,
            None => history.passing_durations(repository, &test, run, rows)?,
        };
        let mut seen = HashSet::new();
        values.retain(|value| seen.insert(value.run.clone()));
        values.truncate(query.limit);
        Ok(values.into_iter().map(wire).collect())
    }
}

fn wire(value: PastMetric) -> PreviousValue {
    let time = value.ended.duration_since(UNIX_EPOCH).unwrap_or_default();
    PreviousValue {
        run: value.run,
        time: u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
        value: value.value,
        unit: value.unit,
    }
}
