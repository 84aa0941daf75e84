//! The run's folder below the target directory: its creation, its paths, and the search and removal of old folders.

use std::{
    ffi::OsStr,
    fs::File,
    num::NonZeroUsize,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::error::{Error, Result};

/// The folder of all runs below the target directory.
const RUNS: &str = "target-test";
/// The file of run events.
pub const FEED: &str = "feed.jsonl";
/// The file of the JUnit report.
pub const JUNIT: &str = "junit.xml";
/// The beginning of the names of nextest's own JUnit reports.
const NEXTEST: &str = "nextest-junit";
/// The lock file of an active run.
const LOCK: &str = "lock";
/// The symbolic link to the newest folder.
const LATEST: &str = "latest";
/// The time for which the folder of a run that has ended stays, however many runs have begun since.
const JUST_ENDED: Duration = Duration::from_secs(60);

/// The folder of one run. The folder is locked while this value exists, and removed unless the run begins.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// True if the run has begun.
    has_begun: bool,
    /// The lock; the kernel releases it when the process ends.
    _lock: File,
}

impl RunFolder {
    /// Creates the folder of a run.
    ///
    /// # Errors
    /// Fails if the folder cannot be created.
    pub fn create(target_directory: &Path, run: &str) -> Result<Self> {
        let runs = target_directory.join(RUNS);
        let path = runs.join(run);
        // Locked before another run can see it, which would remove it.
        let hidden = runs.join(format!(".{run}"));
        fs_err::create_dir_all(&hidden)?;
        let lock = File::create(hidden.join(LOCK))?;
        lock.lock()?;
        fs_err::rename(&hidden, &path)?;
        Ok(Self {
            path,
            has_begun: false,
            _lock: lock,
        })
    }

    /// Makes `latest` point to this folder, and removes the oldest folders; `keep` folders stay. Called when nothing can
    /// refuse the run any more.
    pub fn begin(&mut self, keep: NonZeroUsize) {
        self.has_begun = true;
        if let (Some(runs), Some(run)) = (self.path.parent(), self.path.file_name()) {
            point_at(runs, &run.to_string_lossy());
            remove_old(runs, keep.get());
        }
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder of output files.
    pub fn output(&self) -> PathBuf {
        self.path.join("output")
    }

    /// Returns the file of the JUnit report.
    pub fn junit(&self) -> PathBuf {
        self.path.join(JUNIT)
    }

    /// Returns the folder of the consoles of failed instances.
    pub fn consoles(&self) -> PathBuf {
        self.path.join("consoles")
    }

    /// Returns the file of run events, as JSON lines.
    pub fn feed(&self) -> PathBuf {
        self.path.join(FEED)
    }

    /// Returns the file of nextest's own JUnit report in one of several parallel nextest runs, counted from 0.
    pub fn nextest_junit(&self, part: usize) -> PathBuf {
        self.path.join(match part {
            0 => format!("{NEXTEST}.xml"),
            part => format!("{NEXTEST}-{}.xml", part + 1),
        })
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if !self.has_begun {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Returns the feed of a run that has ended; `None` if the run goes on, or has no folder below the target directory.
pub fn ended_feed(target_directory: &Path, run: &str) -> Option<PathBuf> {
    let folder = target_directory.join(RUNS).join(run);
    let feed = folder.join(FEED);
    (feed.is_file() && !is_in_use(&folder)).then_some(feed)
}

/// Finds the folder of a run: by a path, by the run's id or the beginning of it, or by `latest`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if no run is found, or several.
pub fn find(target_directory: &Path, run: &str) -> Result<PathBuf> {
    let here = Path::new(run);
    if here.join(FEED).is_file() {
        return Ok(std::path::absolute(here)?);
    }
    let all = target_directory.join(RUNS);
    let mut runs = by_age(&all);
    runs.retain(|folder| folder.join(FEED).is_file());
    if run == LATEST {
        return runs.pop().ok_or_else(|| {
            let message = format!("no run found in `{}`", all.display());
            Error::usage(message)
        });
    }
    let name = |folder: &PathBuf| {
        let name = folder.file_name().map(OsStr::to_string_lossy);
        name.unwrap_or_default().into_owned()
    };
    if let Some(exact) = runs.iter().find(|folder| name(folder) == run) {
        return Ok(exact.clone());
    }
    runs.retain(|folder| name(folder).starts_with(run));
    match runs.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Error::usage(format!("run `{run}` not found"))
            .with_hint(format!("the folders of runs are in `{}`", all.display()))),
        several => {
            let names: Vec<_> = several.iter().map(name).collect();
            let message = format!("`{run}` is the beginning of several runs");
            Err(Error::usage(message).with_hint(names.join(", ")))
        }
    }
}

/// Returns nextest's own reports in a run's folder, in the order of their partitions.
///
/// # Errors
/// Fails if the folder cannot be read.
pub fn nextest_reports(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(NEXTEST) && name.ends_with(".xml") {
            files.push(folder.join(&*name));
        }
    }
    files.sort();
    if files.is_empty() {
        // nextest writes at its end, which did not come.
        files.push(folder.join(format!("{NEXTEST}.xml")));
    }
    Ok(files)
}

/// Makes `latest` point to a run, atomically. Errors are ignored: the link is for people.
fn point_at(runs: &Path, run: &str) {
    let new = runs.join(format!(".{LATEST}-{run}"));
    let linked = symlink(run, &new).and_then(|()| std::fs::rename(&new, runs.join(LATEST)));
    if linked.is_err() {
        let _ = std::fs::remove_file(new);
    }
}

/// Removes all but the newest folders, except those of runs that are active or have just ended. Errors are ignored: the next
/// run tries again.
fn remove_old(runs: &Path, keep: usize) {
    let folders = by_age(runs);
    let old = folders.len().saturating_sub(keep);
    for folder in &folders[..old] {
        if !is_in_use(folder) && !has_just_ended(folder) && !is_latest(folder) {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// True if events were written lately. A script that starts many runs at once may be about to read the reports.
fn has_just_ended(folder: &Path) -> bool {
    let feed = folder.join(FEED).metadata();
    let written = feed.and_then(|feed| feed.modified());
    written.is_ok_and(|written| written.elapsed().is_ok_and(|since| since < JUST_ENDED))
}

/// Returns the folders of runs, the newest last.
fn by_age(runs: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(runs).into_iter().flatten().flatten();
    let age = |folder: &Path| {
        let made = folder.join(LOCK).metadata().or_else(|_| folder.metadata());
        made.and_then(|made| made.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    };
    let mut folders: Vec<_> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .filter(|path| !is_hidden(path))
        .map(|path| (age(&path), path))
        .collect();
    folders.sort();
    folders.into_iter().map(|(_, folder)| folder).collect()
}

/// True if `latest` points to a folder.
fn is_latest(folder: &Path) -> bool {
    let latest = std::fs::read_link(folder.with_file_name(LATEST));
    latest.is_ok_and(|latest| folder.file_name() == Some(latest.as_os_str()))
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".")
}

fn is_in_use(folder: &Path) -> bool {
    File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(target: &Path) -> PathBuf {
        target.join(RUNS)
    }

    #[test]
    fn the_newest_folders_stay_and_those_of_living_runs() {
        let target = tempfile::tempdir().expect("a folder");
        let keep = NonZeroUsize::new(10).expect("a number");
        let create = |run: &str| {
            let mut folder = RunFolder::create(target.path(), run).expect("a run's folder");
            folder.begin(keep);
            folder
        };
        let living = create("living");
        for run in 0..12 {
            drop(create(&format!("run-{run:02}")));
        }
        let ended = create("just-ended");
        std::fs::write(ended.feed(), "").expect("a feed");
        drop(ended);
        for run in 12..24 {
            drop(create(&format!("run-{run}")));
        }
        let mut left: Vec<_> = std::fs::read_dir(runs(target.path()))
            .expect("folders")
            .map(|entry| entry.expect("an entry").file_name().into_string())
            .map(|name| name.expect("a name"))
            .filter(|name| name != LATEST)
            .collect();
        left.sort();
        assert_eq!(left[..2], ["just-ended", "living"]);
        assert_eq!(left.last().map(String::as_str), Some("run-23"));
        assert!(!left.contains(&"run-00".to_owned()), "{left:?}");
        assert!(left.len() <= 12, "{left:?}");
        assert!(living.path().is_dir());
    }

    /// The link exists at every moment, and points to the folder of a run that has one.
    #[test]
    fn latest_points_to_the_newest_run_also_of_many_at_once() {
        let target = tempfile::tempdir().expect("a folder");
        let (latest, keep) = (runs(target.path()).join(LATEST), NonZeroUsize::MIN);
        let create = |run: &str| {
            let mut folder = RunFolder::create(target.path(), run).expect("a folder");
            folder.begin(keep);
            folder
        };
        let first = create("first");
        std::thread::scope(|scope| {
            let starts = (0..4).map(|thread| {
                scope
                    .spawn(move || (0..25).for_each(|run| drop(create(&format!("{thread}-{run}")))))
            });
            let starts: Vec<_> = starts.collect();
            while starts.iter().any(|start| !start.is_finished()) {
                assert!(latest.symlink_metadata().is_ok());
            }
        });
        let last = create("last");
        assert_eq!(
            std::fs::read_link(&latest).expect("a link"),
            Path::new("last")
        );
        assert!(first.path().is_dir());
        let refused = RunFolder::create(target.path(), "refused").expect("a folder");
        assert!(refused.path().is_dir());
        drop(refused);
        assert!(!runs(target.path()).join("refused").exists() && latest.join(LOCK).exists());
        drop((first, last));
        drop(create("another"));
        let folders = std::fs::read_dir(runs(target.path())).expect("folders");
        // The link and the newest.
        assert_eq!(folders.count(), 2);
    }
}
