//! The history of case durations: one file per workspace beside the pool.
//!
//! The history is optional: an unreadable file is replaced.

// Must not know how durations are used.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::Aggregator;
use crate::{
    case::{CaseInfo, verdict::Verdict},
    error::Result,
    plan::Durations,
    run_event::{RunEvent, RunEventKind},
};

/// Records the durations of a run's cases.
#[derive(Debug)]
pub struct History {
    pool: PathBuf,
    workspace: PathBuf,
    took: Vec<(Arc<CaseInfo>, Duration)>,
}

impl History {
    /// Creates the history of a workspace's runs on this pool.
    pub fn new(pool: &Path, workspace: &Path) -> Self {
        Self {
            pool: pool.to_owned(),
            workspace: workspace.to_owned(),
            took: Vec::new(),
        }
    }
}

impl Aggregator for History {
    fn ingest(&mut self, event: &RunEvent) -> Result<()> {
        if let RunEventKind::AttemptEnded { attempt, result } = &event.kind
            && matches!(result.verdict, Verdict::Pass | Verdict::Fail)
            && !result.took.is_zero()
        {
            self.took.push((Arc::clone(&attempt.case), result.took));
        }
        Ok(())
    }

    /// Merges the durations into the file. Runs that end at the same time wait for each other. Errors, such as a full
    /// disk, are ignored.
    fn finish(&mut self) -> Result<()> {
        let timed = self.took.iter().filter_map(|(case, took)| {
            Some(Timed {
                binary: &case.binary_id,
                test: &case.test,
                label: case.runs_on.label()?,
                seconds: took.as_secs_f64(),
            })
        });
        let _ = note(&self.pool, &self.workspace, timed);
        Ok(())
    }
}

/// The duration of one case.
struct Timed<'a> {
    /// The binary's id.
    binary: &'a str,
    /// The test's name.
    test: &'a str,
    /// The label in the brackets of the case name, without a repetition's number.
    label: &'a str,
    seconds: f64,
}

/// Reads the durations of a workspace's earlier runs on this pool.
pub fn read(pool: &Path, workspace: &Path) -> Durations {
    let bytes = std::fs::read(file(pool, workspace)).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn note<'a>(pool: &Path, workspace: &Path, all: impl IntoIterator<Item = Timed<'a>>) -> Result<()> {
    let mut all = all.into_iter().peekable();
    if all.peek().is_none() {
        return Ok(());
    }
    let path = file(pool, workspace);
    let folder = path.parent().unwrap_or(pool);
    fs_err::create_dir_all(folder)?;
    let lock = fs_err::File::create(folder.join("lock"))?.into_parts().0;
    lock.lock()?;
    let mut durations = read(pool, workspace);
    for Timed {
        binary,
        test,
        label,
        seconds,
    } in all
    {
        durations.note(binary, test, label, seconds);
    }
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&mut new, &durations).map_err(std::io::Error::from)?;
    new.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn file(pool: &Path, workspace: &Path) -> PathBuf {
    let digest = Sha256::digest(workspace.as_os_str().as_encoded_bytes());
    let name: String = digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    pool.join("durations").join(format!("{name}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_and_damage_begins_anew() {
        let pool = tempfile::tempdir().expect("a folder");
        let (pool, workspace) = (pool.path(), Path::new("/w"));
        let timed = |seconds| Timed {
            binary: "b",
            test: "t",
            label: "x",
            seconds,
        };
        assert!(read(pool, workspace).is_empty());
        note(pool, workspace, [timed(1.0)]).expect("noted");
        note(pool, workspace, [timed(2.0)]).expect("noted");
        assert_eq!(read(pool, workspace).of("b", "t", "x"), Some(1.5));
        assert!(read(pool, Path::new("/other")).is_empty());
        std::fs::write(file(pool, workspace), "{").expect("written");
        assert!(read(pool, workspace).is_empty());
        note(pool, workspace, [timed(3.0)]).expect("noted");
        assert_eq!(read(pool, workspace).of("b", "t", "x"), Some(3.0));
    }
}
