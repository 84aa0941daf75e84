//! The folder of another user's commands. That user cannot enter the pool, so the folder is in a shared folder such as
//! `/tmp`, where other users can create files.
//!
//! The folder's name is random, and recorded in the instance's private folder before the folder is created. The folder
//! is created exclusively, and given to its user through a descriptor.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fchown, fstat, mkdir, openat};

use crate::{
    bounded,
    connect::{LocalUser, shell},
};

/// The file with the folder's path, in the instance's private folder.
const NOTE: &str = "folder";

/// Creates the folder for a user; returns its path.
///
/// # Errors
/// Fails if the path exists already, whatever it is.
pub(super) fn create(scratch: &Path, user: LocalUser) -> io::Result<PathBuf> {
    fs_err::create_dir_all(scratch)?;
    let path = std::env::temp_dir().join(format!("target-test-{}", shell::nonce()));
    let mut note = File::create(scratch.join(NOTE))?;
    note.write_all(path.as_os_str().as_bytes())?;
    note.sync_all()?;
    create_at(&path, user)?;
    Ok(path)
}

fn create_at(path: &Path, user: LocalUser) -> io::Result<()> {
    mkdir(path, Mode::RWXU)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(CWD, path, flags, Mode::empty())?;
    let found = fstat(&folder)?;
    let ours = found.st_uid == rustix::process::geteuid().as_raw();
    if !ours || found.st_mode & 0o7777 != 0o700 {
        return Err(io::Error::other(format!(
            "`{}` was replaced",
            path.display()
        )));
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    Ok(fchown(&folder, Some(uid), Some(gid))?)
}

/// Removes an instance's private folder and the user's folder, if there is one.
pub(super) fn remove(scratch: &Path) -> io::Result<()> {
    let note = bounded::read(&scratch.join(NOTE)).unwrap_or_default();
    let path = Path::new(OsStr::from_bytes(&note));
    if path.is_absolute() {
        gone(fs_err::remove_dir_all(path))?;
    }
    gone(fs_err::remove_dir_all(scratch))
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, symlink},
    };

    use super::*;

    /// The user who runs the test, since only root can give a folder away.
    fn me() -> LocalUser {
        LocalUser {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }

    #[test]
    fn what_exists_is_never_taken() {
        let shared = tempfile::tempdir().unwrap();
        let victim = shared.path().join("victim");
        fs::create_dir(&victim).unwrap();
        let path = shared.path().join("target-test-1");
        let plant: [&dyn Fn(); 4] = [
            &|| fs::create_dir(&path).unwrap(),
            &|| symlink(&victim, &path).unwrap(),
            &|| symlink(shared.path().join("nowhere"), &path).unwrap(),
            &|| fs::write(&path, "").unwrap(),
        ];
        for plant in plant {
            plant();
            let refused = create_at(&path, me()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
            if fs::remove_file(&path).is_err() {
                fs::remove_dir(&path).unwrap();
            }
        }
        create_at(&path, me()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
        assert!(!shared.path().join("nowhere").exists());
    }

    #[test]
    fn names_are_random_and_found_again() {
        let private = tempfile::tempdir().unwrap();
        let scratch = private.path().join("tt-000001-1");
        let first = create(&scratch, me()).unwrap();
        fs::write(first.join("a"), "").unwrap();
        remove(&scratch).unwrap();
        assert!(!first.exists() && !scratch.exists());
        remove(&scratch).unwrap();
        let second = create(&scratch, me()).unwrap();
        assert_ne!(first, second);
        // A folder that its user has replaced by a link: the link goes, and nothing behind it.
        let victim = private.path().join("victim");
        fs::create_dir(&victim).unwrap();
        fs::remove_dir(&second).unwrap();
        symlink(&victim, &second).unwrap();
        remove(&scratch).unwrap();
        assert!(victim.exists() && second.symlink_metadata().is_err());
    }
}
