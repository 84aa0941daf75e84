//! Earlier runs, as the history has them. A history that cannot be read leaves its parts of the page out: the run itself
//! warns of it.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    super::{
        history::{CaseKey, History, TestOn},
        results::Results,
    },
    changes::{EarlierRun, EarlierRuns},
};
use crate::{case::CaseInfo, run_event::RunEventKind};

/// The number of earlier values of a metric.
const VALUES: u32 = 30;

/// The runs in a history.
pub struct PastRuns {
    path: PathBuf,
    open: Option<OpenHistory>,
}

/// The history, opened for one run.
struct OpenHistory {
    history: History,
    repository: String,
    run: String,
}

impl PastRuns {
    /// The runs in the history at `path`, which need not exist.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            open: None,
        }
    }
}

impl EarlierRuns for PastRuns {
    fn previous(&mut self, results: &Results) -> Option<EarlierRun> {
        let Some(RunEventKind::RunStarted { run, origin, .. }) = &results.started else {
            return None;
        };
        let open = self.open.insert(OpenHistory {
            history: History::open(&self.path).ok()??,
            repository: origin.repository.clone()?,
            run: run.clone(),
        });
        let cases = results.cases.iter().map(|tested| CaseKey {
            binary: tested.case.binary_id.to_string(),
            name: tested.case.name.clone(),
        });
        let cases = cases.collect();
        let history = &open.history;
        let previous = history.previous_cases(&open.repository, &open.run, &cases);
        let (previous, cases) = previous.ok()??;
        let cases = cases.into_iter();
        let cases = cases.map(|(key, result)| ((key.binary, key.name), result));
        let started = previous.started.duration_since(SystemTime::UNIX_EPOCH);
        Some(EarlierRun {
            is_complete: previous.exit_code.is_some(),
            run: previous.run,
            started: started.unwrap_or(Duration::ZERO),
            cases: cases.collect(),
        })
    }

    fn values(&mut self, case: &CaseInfo, metric: &str) -> Vec<f64> {
        let Some(open) = &self.open else {
            return Vec::new();
        };
        let test = TestOn {
            test: &case.test,
            binary: Some(&case.binary_id),
            label: case.runs_on.label(),
        };
        let values =
            open.history
                .passing_metrics(&open.repository, &test, metric, &open.run, VALUES);
        // The newest come first.
        let values = values.unwrap_or_default().into_iter().rev();
        values.map(|one| one.value).collect()
    }
}
