//! The run's folder below the target directory: output files, the feed, nextest's own report.
//!
//! Owns the folder's name and life: the newest folders stay, and those of living runs. Must not know what is in them.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::error::Result;

/// The folder of all runs, below the target directory.
const RUNS: &str = "target-test";
/// The file that a living run has locked.
const LOCK: &str = "lock";
/// How many folders stay.
const KEPT: usize = 10;

/// The folder of one run, which lives as long as this value.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The kernel drops the lock with the process.
    _lock: File,
}

impl RunFolder {
    /// Makes the folder of a run, and removes those of old runs.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn create(target_directory: &Path, run: &str) -> Result<Self> {
        let runs = target_directory.join(RUNS);
        let path = runs.join(run);
        fs_err::create_dir_all(&path)?;
        let lock = File::create(path.join(LOCK))?;
        lock.lock()?;
        remove_old(&runs);
        Ok(Self { path, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of output files.
    pub fn output(&self) -> PathBuf {
        self.path.join("output")
    }

    /// The run events, as JSON lines.
    pub fn feed(&self) -> PathBuf {
        self.path.join("feed.jsonl")
    }

    /// nextest's own JUnit report.
    pub fn nextest_junit(&self) -> PathBuf {
        self.path.join("nextest-junit.xml")
    }
}

/// Removes all but the newest folders. What cannot be removed is left to the next run.
fn remove_old(runs: &Path) {
    let folders = std::fs::read_dir(runs).into_iter().flatten().flatten();
    let age = |folder: &Path| {
        // One that is being made has no lock yet.
        let made = folder.join(LOCK).metadata().or_else(|_| folder.metadata());
        made.and_then(|made| made.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    };
    let mut folders: Vec<_> = folders
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .map(|path| (age(&path), path))
        .collect();
    folders.sort();
    let old = folders.len().saturating_sub(KEPT);
    for (_, folder) in &folders[..old] {
        if !is_in_use(folder) {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

fn is_in_use(folder: &Path) -> bool {
    File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_folders_stay_and_those_of_living_runs() {
        let target = tempfile::tempdir().expect("a folder");
        let create = |run: &str| RunFolder::create(target.path(), run).expect("a run's folder");
        let living = create("living");
        for run in 0..KEPT + 2 {
            drop(create(&format!("run-{run:02}")));
        }
        let mut left: Vec<_> = std::fs::read_dir(target.path().join(RUNS))
            .expect("folders")
            .map(|entry| entry.expect("an entry").file_name().into_string())
            .map(|name| name.expect("a name"))
            .collect();
        left.sort();
        assert_eq!(left.first().map(String::as_str), Some("living"));
        assert_eq!(left.last().map(String::as_str), Some("run-11"));
        assert!(!left.contains(&"run-00".to_owned()), "{left:?}");
        assert!(left.len() <= KEPT + 1, "{left:?}");
        assert!(living.path().is_dir());
    }
}
