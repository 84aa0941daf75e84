//! The run's folder below the target directory: its creation, its paths and the removal of old folders.

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::error::Result;

/// The folder of all runs below the target directory.
const RUNS: &str = "target-test";
/// The lock file of an active run.
const LOCK: &str = "lock";
/// The number of folders to keep.
const KEPT: usize = 10;

/// The folder of one run. The folder is locked while this value exists.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The lock; the kernel releases it when the process ends.
    _lock: File,
}

impl RunFolder {
    /// Creates the folder of a run, and removes folders of old runs.
    ///
    /// # Errors
    /// Fails if the folder cannot be created.
    pub fn create(target_directory: &Path, run: &str) -> Result<Self> {
        let runs = target_directory.join(RUNS);
        let path = runs.join(run);
        fs_err::create_dir_all(&path)?;
        let lock = File::create(path.join(LOCK))?;
        lock.lock()?;
        remove_old(&runs);
        Ok(Self { path, _lock: lock })
    }

    /// Returns the folder of all runs.
    pub fn all(target_directory: &Path) -> PathBuf {
        target_directory.join(RUNS)
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder of output files.
    pub fn output(&self) -> PathBuf {
        self.path.join("output")
    }

    /// Returns the file of run events, as JSON lines.
    pub fn feed(&self) -> PathBuf {
        self.path.join("feed.jsonl")
    }

    /// Returns the file of nextest's own JUnit report in one of several parallel nextest runs, counted from 0.
    pub fn nextest_junit(&self, part: usize) -> PathBuf {
        self.path.join(match part {
            0 => "nextest-junit.xml".to_owned(),
            part => format!("nextest-junit-{}.xml", part + 1),
        })
    }
}

/// Removes all but the newest folders, except folders of active runs. Errors are ignored: the next run tries again.
fn remove_old(runs: &Path) {
    let folders = std::fs::read_dir(runs).into_iter().flatten().flatten();
    let age = |folder: &Path| {
        // A folder that is being created has no lock file yet.
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
