//! The private folder of one run, for its socket and nextest's files: creation, lock, and removal after killed runs.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::error::Result;

/// The prefix of the names of private folders.
const PRIVATE: &str = "target-test-";
/// The number of random letters after the prefix.
const RANDOM: usize = 6;

/// The private folder of one run. Deleted when dropped or, if the run was killed, when a later run starts.
pub struct PrivateFolder {
    directory: TempDir,
    /// The lock of the active run.
    _lock: std::fs::File,
}

impl PrivateFolder {
    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Creates a private folder with a short path, because a socket's path has at most 108 bytes.
///
/// # Errors
/// Fails if the folder cannot be created.
pub fn private_directory() -> Result<PrivateFolder> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let parent = runtime
        .filter(|path| is_usable(path))
        .unwrap_or_else(|| PathBuf::from("/tmp"));
    sweep_private(&parent);
    let directory = tempfile::Builder::new()
        .prefix(PRIVATE)
        .rand_bytes(RANDOM)
        .tempdir_in(parent)?;
    let new = directory.path().join("lock.new");
    let lock = fs_err::File::create(&new)?.into_parts().0;
    lock.lock()?;
    // Renamed only after locking, so that others never see an unlocked file of an active run.
    fs_err::rename(new, directory.path().join("lock"))?;
    Ok(PrivateFolder {
        directory,
        _lock: lock,
    })
}

/// True if this user owns the runtime folder alone and its path is short. After `su`, it is another user's.
fn is_usable(runtime: &Path) -> bool {
    let metadata = std::fs::metadata(runtime);
    runtime.as_os_str().len() < 60
        && metadata.is_ok_and(|data| {
            let me = rustix::process::geteuid().as_raw();
            data.is_dir() && data.uid() == me && data.mode() & 0o022 == 0
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

/// Returns true if `entry` is a private folder of this user. Other users can put anything into `/tmp`, even a pipe that
/// blocks when opened.
fn is_private(entry: &std::fs::DirEntry) -> bool {
    let name = entry.file_name();
    let random = name.to_str().and_then(|name| name.strip_prefix(PRIVATE));
    random.is_some_and(|random| random.len() == RANDOM)
        && entry
            .metadata()
            .is_ok_and(|data| data.is_dir() && data.uid() == rustix::process::geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn only_an_own_runtime_folder_is_used() {
        let folder = tempfile::Builder::new()
            .prefix("tt-")
            .tempdir()
            .expect("a folder");
        let with_mode = |mode| {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).expect("a mode");
            is_usable(folder.path())
        };
        assert!(with_mode(0o700));
        assert!(!with_mode(0o777));
        assert!(!is_usable(&folder.path().join("none")));
        // Another user's, where this test can have one.
        if rustix::process::geteuid().is_root() {
            with_mode(0o700);
            std::os::unix::fs::chown(folder.path(), Some(65534), None).expect("an owner");
            assert!(!is_usable(folder.path()));
        }
    }
}
