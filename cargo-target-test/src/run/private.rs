//! The private folder of one run: its socket and the files that only nextest reads.
//!
//! Owns its name, its lock, and the removal of folders whose runs were killed.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::error::Result;

/// How the names of private folders start.
const PRIVATE: &str = "target-test-";
/// How many letters follow.
const RANDOM: usize = 6;

/// The folder of one run's own files; gone with this value, or, where a run was killed, when a later one
/// starts.
pub struct PrivateFolder {
    directory: TempDir,
    /// Held for as long as the run lives.
    _lock: std::fs::File,
}

impl PrivateFolder {
    /// Its path.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// A private folder with a short path: a socket's path has at most 108 bytes.
///
/// # Errors
/// When it cannot be made.
pub fn private_directory() -> Result<PrivateFolder> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let fits = |path: &PathBuf| path.is_dir() && path.as_os_str().len() < 60;
    let parent = runtime
        .filter(fits)
        .unwrap_or_else(|| PathBuf::from("/tmp"));
    sweep_private(&parent);
    let directory = tempfile::Builder::new()
        .prefix(PRIVATE)
        .rand_bytes(RANDOM)
        .tempdir_in(parent)?;
    let new = directory.path().join("lock.new");
    let lock = fs_err::File::create(&new)?.into_parts().0;
    lock.lock()?;
    // Only now may others find it: it is never seen unlocked while its run lives.
    fs_err::rename(new, directory.path().join("lock"))?;
    Ok(PrivateFolder {
        directory,
        _lock: lock,
    })
}

/// Removes the private folders of runs that were killed.
fn sweep_private(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        if !is_private(&entry) {
            continue;
        }
        let lock = std::fs::File::open(entry.path().join("lock"));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether this is a folder of ours: anybody can put anything into `/tmp`, a pipe that never opens too.
fn is_private(entry: &std::fs::DirEntry) -> bool {
    let name = entry.file_name();
    let random = name.to_str().and_then(|name| name.strip_prefix(PRIVATE));
    random.is_some_and(|random| random.len() == RANDOM)
        && entry
            .metadata()
            .is_ok_and(|data| data.is_dir() && data.uid() == rustix::process::geteuid().as_raw())
}
