//! The history: the results of all runs, in one SQLite file.
//!
//! [`HistoryWriter`] records a run, [`History`] answers questions, [`import`] reads feeds. A run needs no history:
//! what is wrong with the file is at most one warning.

// Must not know how the answers are used.

mod compare;
mod database;
mod import;
mod prune;
mod read;
#[cfg(test)]
mod tests;
mod unstable;
mod write;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::{
    compare::{ChangedCase, RunComparison},
    import::{Imported, complete, import},
    read::{CaseKey, History, PastMetric, PastResult, PastRun, SlowCase, TestOn},
    unstable::{PastFailure, UnstableCase},
    write::HistoryWriter,
};
use crate::{
    error::{Error, ErrorKind},
    plan::Durations,
};

/// The variable with the path of the history.
pub const PATH: &str = "TARGET_TEST_HISTORY";
/// The file in the pool's folder, unless another path is set.
const FILE: &str = "history.sqlite";
/// The word for a case that has not run.
const NOT_RUN: &str = "not-run";
/// The time for which the durations of the scheduler are awaited.
const MOMENT: Duration = Duration::from_millis(50);

/// Returns the path of the history: that of `TARGET_TEST_HISTORY`, that of the playbook, or the file in the pool.
pub fn path(pool: &Path, in_playbook: Option<&Path>) -> PathBuf {
    let variable = std::env::var_os(PATH).filter(|path| !path.is_empty());
    let chosen = variable.map(PathBuf::from);
    let chosen = chosen.and_then(|path| std::path::absolute(path).ok());
    chosen
        .or_else(|| in_playbook.map(Path::to_owned))
        .unwrap_or_else(|| pool.join(FILE))
}

/// Returns the expected durations of a repository's cases; none if the history cannot be read at once.
pub fn durations(path: &Path, repository: &str) -> Durations {
    let mut durations = Durations::default();
    if path.exists()
        && let Ok(connection) = database::open_to_read(path, MOMENT)
    {
        // What was read before an error serves as well.
        let _ = read::durations_of_cases(&connection, repository, &mut durations);
    }
    durations
}

fn failed(action: &str, path: &Path, error: rusqlite::Error) -> Error {
    let error_text = match error {
        rusqlite::Error::SqliteFailure(code, Some(text)) => match code.code {
            // The number says no more.
            _ if text.is_empty() => code.to_string(),
            _ => text,
        },
        rusqlite::Error::ToSqlConversionFailure(cause) => cause.to_string(),
        rusqlite::Error::InvalidPath(_) => "failed to lock or rename it".to_owned(),
        other => other.to_string(),
    };
    let message = format!("failed to {action} `{}`: {error_text}", path.display());
    Error::new(ErrorKind::Other, message)
}
