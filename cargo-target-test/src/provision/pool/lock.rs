//! Files that the kernel locks, with a line of text in each.
//!
//! Owns every use of file locks; must not know what is locked. All locks but `pool.lock` itself are taken
//! while `pool.lock` is held, and let go anywhere: so a lock that is seen taken is taken for good
//! reason, and a file can be unlinked without anybody locking the unlinked one.

use std::{
    fs::{self, File},
    io::ErrorKind as Io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::error::{Error, ErrorKind, Result};

/// A lock that this process holds. The kernel lets it go when the process ends in any way.
#[derive(Debug)]
pub(crate) struct FileLock {
    file: File,
    path: PathBuf,
}

/// How long a lock may outlive its holder: the start of a program.
const HANDED_ON: Duration = Duration::from_millis(500);

impl FileLock {
    /// As [`FileLock::try_take`], patient with a holder that `has_ended`, by its text: one that was killed while it
    /// started a program has handed its locks on until that begins, which is moments.
    pub(crate) fn try_take_from(
        path: &Path,
        has_ended: impl Fn(&str) -> bool,
    ) -> Result<Option<Self>> {
        let started = Instant::now();
        loop {
            let taken = Self::try_take(path)?;
            if taken.is_some() || started.elapsed() > HANDED_ON || !has_ended(&peek(path)?) {
                return Ok(taken);
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Takes the lock of this file, made where it does not exist; `None`: somebody holds it.
    pub(crate) fn try_take(path: &Path) -> Result<Option<Self>> {
        let file = open(path)?;
        // By full path: std's own methods of the same names would win. The descriptor is for reading and
        // writing, and closed on exec, so that no child that we start keeps the lock.
        match fs4::FileExt::try_lock(&file) {
            Ok(()) => Ok(Some(Self {
                file,
                path: path.to_owned(),
            })),
            Err(fs4::TryLockError::WouldBlock) => Ok(None),
            Err(fs4::TryLockError::Error(error)) => Err(cannot("lock", path, error)),
        }
    }

    /// Takes the lock, waiting for as long as `patience`: in the kernel, which wakes who waits the moment it is free.
    pub(crate) fn take(path: &Path, patience: Duration) -> Result<Self> {
        if let Some(lock) = Self::try_take(path)? {
            return Ok(lock);
        }
        let (file, (send, taken)) = (open(path)?, mpsc::channel());
        // A wait in the kernel has no end of its own; this one ends when the lock is free, whoever still listens.
        thread::spawn(move || {
            let locked = fs4::FileExt::lock(&file);
            if let Err(mpsc::SendError((_, unheard))) = send.send((locked, file)) {
                let _ = fs4::FileExt::unlock(&unheard);
            }
        });
        match taken.recv_timeout(patience) {
            Ok((locked, file)) => {
                locked.map_err(|error| cannot("lock", path, error))?;
                let path = path.to_owned();
                Ok(Self { file, path })
            }
            Err(_) => {
                let path = path.display();
                Err(Error::new(
                    ErrorKind::Pool,
                    format!("`{path}` has been locked for {} s", patience.as_secs()),
                )
                .with_hint(format!(
                    "a stopped process may hold it: `fuser {path}` names it"
                )))
            }
        }
    }

    /// The text in the file; after a holder that died, its text.
    pub(crate) fn text(&self) -> Result<String> {
        let mut text = Vec::with_capacity(512);
        std::io::Read::read_to_end(&mut &self.file, &mut text)
            .map_err(|error| cannot("read", &self.path, error))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Replaces the text. It tells the living who holds the lock, so it need not survive a power cut.
    pub(crate) fn write(&self, text: &str) -> Result<()> {
        self.file
            .write_all_at(text.as_bytes(), 0)
            .and_then(|()| self.file.set_len(text.len() as u64))
            .map_err(|error| cannot("write", &self.path, error))
    }

    /// When the text was last written or cleared; `None`: what is locked counts as never used.
    pub(crate) fn touched(&self) -> Option<SystemTime> {
        let modified = self.file.metadata().and_then(|data| data.modified()).ok();
        modified.filter(|at| *at != SystemTime::UNIX_EPOCH)
    }

    /// What is locked counts as never used, until the text is written again.
    pub(crate) fn untouch(&self) -> Result<()> {
        self.file
            .set_modified(SystemTime::UNIX_EPOCH)
            .map_err(|error| cannot("write", &self.path, error))
    }

    /// Unlinks the file and lets the lock go, in this order: the name may belong to another file after.
    pub(crate) fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Explicitly: a child of this process between its fork and its exec has a copy of the
        // descriptor, and closing ours would leave the lock to it.
        let _ = fs4::FileExt::unlock(&self.file);
    }
}

/// The text of a lock that somebody else holds; empty where there is none.
pub(crate) fn peek(path: &Path) -> Result<String> {
    match fs::read(path) {
        Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Err(error) if error.kind() == Io::NotFound => Ok(String::new()),
        Err(error) => Err(cannot("read", path, error)),
    }
}

fn open(path: &Path) -> Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| cannot("open", path, error))
}

/// The pool's error for a file that cannot be used.
pub(crate) fn cannot(verb: &str, path: &Path, error: std::io::Error) -> Error {
    let refused = matches!(
        error.kind(),
        Io::PermissionDenied | Io::ReadOnlyFilesystem | Io::NotADirectory
    );
    let failed = Error::new(
        ErrorKind::Pool,
        format!("cannot {verb} `{}`", path.display()),
    )
    .with_source(error);
    if refused {
        failed.with_hint("the pool needs a folder that you can write: `--pool DIR` names another")
    } else {
        failed
    }
}

/// Refuses folders on which locks are a server's promise instead of this kernel's.
pub(crate) fn refuse_network(path: &Path) -> Result<()> {
    #[cfg(target_os = "linux")]
    {
        let magic = rustix::fs::statfs(path)
            .map_err(|error| cannot("examine", path, error.into()))?
            .f_type;
        if let Some(name) = network_name(magic as u32) {
            return Err(Error::new(
                ErrorKind::Pool,
                format!(
                    "the pool `{}` is on {name}, where a lock can outlive its holder or be lost",
                    path.display()
                ),
            )
            .with_hint("`--pool DIR` or `TARGET_TEST_POOL` names a folder on a local disk"));
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = path;
    Ok(())
}

/// By the magic numbers of statfs(2).
#[cfg(target_os = "linux")]
fn network_name(magic: u32) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0x517B | 0xFF53_4D42 | 0xFE53_4D42 => Some("SMB"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_excludes_another_descriptor_of_the_same_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        let lock = FileLock::try_take(&path).unwrap().unwrap();
        assert!(FileLock::try_take(&path).unwrap().is_none());
        lock.write("held by nobody").unwrap();
        lock.write("held").unwrap();
        assert_eq!(peek(&path).unwrap(), "held");
        drop(lock);
        let again = FileLock::try_take(&path).unwrap().unwrap();
        assert_eq!(again.text().unwrap(), "held");
        assert!(again.touched().is_some());
        again.untouch().unwrap();
        assert_eq!(again.touched(), None);
        again.write("").unwrap();
        assert!(again.touched().is_some());
        again.remove();
        assert!(!path.exists());
    }

    #[test]
    fn waiting_ends_with_who_to_ask() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        let _lock = FileLock::try_take(&path).unwrap().unwrap();
        let error = FileLock::take(&path, Duration::from_millis(5)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Pool);
        assert!(error.hint().unwrap().contains("fuser"));
    }

    #[test]
    fn network_file_systems_are_known() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(0xFF53_4D42), Some("SMB"));
        assert_eq!(network_name(0xEF53), None, "ext4");
        refuse_network(tempfile::tempdir().unwrap().path()).unwrap();
    }
}
