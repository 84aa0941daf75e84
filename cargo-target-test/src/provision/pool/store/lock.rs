//! Files that the kernel locks, with a line of text in each.
//!
//! The only place that locks files. All locks but `pool.lock` itself are taken while `pool.lock` is held, and released
//! at any time. So no process takes a lock for a moment and makes others believe that it is held, and a file can be
//! unlinked without another process locking the unlinked file.

use std::{
    fs::{self, File},
    io::ErrorKind as Io,
    os::unix::fs::{FileExt as _, MetadataExt},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use rustix::process::Pid;

use super::Lock;
use crate::{
    bounded,
    error::{Error, Result},
    process::LeftProcess,
    ui,
};

/// A locked file. The kernel releases the lock when the process ends in any way.
#[derive(Debug)]
pub(crate) struct FileLock {
    file: File,
    path: PathBuf,
    /// True if the file did not exist before.
    pub(super) is_new: bool,
}

/// The time after which a wait for a lock is told.
const SILENCE: Duration = Duration::from_secs(1);
/// The longest time that a lock outlives its holder: the time to start a program.
const HANDED_ON: Duration = Duration::from_millis(500);

impl FileLock {
    /// Takes the lock of this file, and creates the file if it does not exist. If another process holds the lock,
    /// returns the file's text as `Err`. Waits a moment for a holder that `has_ended` according to that text: the locks
    /// of a process that was killed while it started a program are released when that program begins.
    pub(super) fn take_or_text(
        path: &Path,
        has_ended: &dyn Fn(&str) -> bool,
    ) -> Result<std::result::Result<Self, String>> {
        let started = Instant::now();
        loop {
            let held = match Self::attempt(path)? {
                Ok(lock) => return Ok(Ok(lock)),
                Err(held) => read(&held, path)?,
            };
            if started.elapsed() > HANDED_ON || !has_ended(&held) {
                return Ok(Err(held));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Takes the lock of this file, and creates the file if it does not exist; `None` if another process holds the
    /// lock.
    pub(crate) fn try_take(path: &Path) -> Result<Option<Self>> {
        Ok(Self::attempt(path)?.ok())
    }

    /// As [`FileLock::try_take`]; if another process holds the lock, returns the file as `Err`.
    fn attempt(path: &Path) -> Result<std::result::Result<Self, File>> {
        let (file, is_new) = open(path)?;
        // By full path: std's own methods of the same names take precedence. The descriptor is closed on exec, so that
        // no child process keeps the lock.
        match fs4::FileExt::try_lock(&file) {
            Ok(()) => Ok(Ok(Self {
                file,
                path: path.to_owned(),
                is_new,
            })),
            Err(fs4::TryLockError::WouldBlock) => Ok(Err(file)),
            Err(fs4::TryLockError::Error(error)) => Err(cannot("lock", path, error)),
        }
    }

    /// Takes the lock, and waits at most `patience` for it: in the kernel, which wakes the waiter at once.
    pub(crate) fn take(path: &Path, patience: Duration) -> Result<Self> {
        if let Some(lock) = Self::try_take(path)? {
            return Ok(lock);
        }
        let (file, is_new) = open(path)?;
        let (send, taken) = mpsc::channel();
        // A wait in the kernel has no time limit; the thread ends when the lock is free.
        thread::spawn(move || {
            let locked = fs4::FileExt::lock(&file);
            if let Err(mpsc::SendError((_, unheard))) = send.send((locked, file)) {
                let _ = fs4::FileExt::unlock(&unheard);
            }
        });
        let mut answer = taken.recv_timeout(SILENCE.min(patience));
        if answer.is_err() {
            let (shown, by) = (path.display(), holder_of(path));
            ui::note(format!("waiting for `{shown}`, which {by} has locked"));
            answer = taken.recv_timeout(patience.saturating_sub(SILENCE));
        }
        match answer {
            Ok((locked, file)) => {
                locked.map_err(|error| cannot("lock", path, error))?;
                let path = path.to_owned();
                Ok(Self { file, path, is_new })
            }
            Err(_) => {
                let (shown, by) = (path.display(), holder_of(path));
                let message = format!("{by} has locked `{shown}` for {} s", patience.as_secs());
                Err(Error::pool(message).with_hint("if it is stopped, continue it or end it"))
            }
        }
    }

    /// Replaces the text. The text need not survive a power cut, which releases the lock too.
    pub(crate) fn write(&self, text: &str) -> Result<()> {
        self.file
            .write_all_at(text.as_bytes(), 0)
            .and_then(|()| self.file.set_len(text.len() as u64))
            .map_err(|error| cannot("write", &self.path, error))
    }
}

impl Lock for FileLock {
    fn text(&self) -> Result<String> {
        read(&self.file, &self.path)
    }

    fn write(&self, text: &str) -> Result<()> {
        self.write(text)
    }

    fn touched(&self) -> Option<SystemTime> {
        let modified = self.file.metadata().and_then(|data| data.modified()).ok();
        modified.filter(|at| *at != SystemTime::UNIX_EPOCH)
    }

    fn untouch(&self) -> Result<()> {
        self.file
            .set_modified(SystemTime::UNIX_EPOCH)
            .map_err(|error| cannot("write", &self.path, error))
    }

    /// Unlinks the file, then releases the lock: after that, the name may belong to another file.
    fn remove(self: Box<Self>) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Explicitly: a child of this process between its fork and its exec has a copy of the descriptor, so closing
        // this one would not release the lock.
        let _ = fs4::FileExt::unlock(&self.file);
    }
}

/// The text of a lock that another process may hold; empty if the file does not exist.
pub(crate) fn peek(path: &Path) -> Result<String> {
    Ok(text(path)?.unwrap_or_default())
}

/// As [`peek`]; `None` if the file does not exist.
pub(super) fn text(path: &Path) -> Result<Option<String>> {
    match bounded::read(path) {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
        Err(error) if error.kind() == Io::NotFound => Ok(None),
        Err(error) => Err(cannot("read", path, error)),
    }
}

/// Describes the process that holds the lock of a file: `` `cargo-target-te` (pid 4711, user ann, stopped) ``.
fn holder_of(path: &Path) -> String {
    let unknown = || "another process".to_owned();
    let Ok(inode) = fs::metadata(path).map(|file| file.ino()) else {
        return unknown();
    };
    // `1: FLOCK  ADVISORY  WRITE 4711 fd:01:1234 0 EOF`; a line of a waiter has `->` after the number.
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let pid = locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, file, ..] = words[..] else {
            return None;
        };
        let is_it = file.rsplit(':').next() == Some(&inode.to_string());
        is_it.then(|| pid.parse().ok())?
    });
    let Some(process) = pid.and_then(Pid::from_raw).and_then(LeftProcess::find) else {
        return unknown();
    };
    process.to_string()
}

/// Opens a file for reading and writing; true if the file did not exist before.
fn open(path: &Path) -> Result<(File, bool)> {
    let mut options = File::options();
    options.read(true).write(true);
    match options.open(path) {
        Ok(file) => Ok((file, false)),
        Err(error) if error.kind() == Io::NotFound => {
            let file = options.create(true).truncate(false).open(path);
            Ok((file.map_err(|error| cannot("open", path, error))?, true))
        }
        Err(error) => Err(cannot("open", path, error)),
    }
}

fn read(file: &File, path: &Path) -> Result<String> {
    let text = bounded::read_all(file).map_err(|error| cannot("read", path, error))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The error for a file of the pool that cannot be used: ``cannot read `pool.json` ``.
pub(crate) fn cannot(verb: &str, path: &Path, error: std::io::Error) -> Error {
    let refused = matches!(
        error.kind(),
        Io::PermissionDenied | Io::ReadOnlyFilesystem | Io::NotADirectory
    );
    let failed = Error::pool(format!("cannot {verb} `{}`", path.display())).with_source(error);
    if refused {
        failed.with_hint("the pool needs a writable folder; choose one with `--pool DIR`")
    } else {
        failed
    }
}

/// Refuses network file systems, where a server keeps locks instead of this kernel.
pub(crate) fn refuse_network(path: &Path) -> Result<()> {
    #[cfg(target_os = "linux")]
    {
        let magic = rustix::fs::statfs(path)
            .map_err(|error| cannot("examine", path, error.into()))?
            .f_type;
        if let Some(name) = network_name(magic as u32) {
            return Err(Error::pool(format!(
                "the pool `{}` is on {name}, where a lock can outlive its holder or be lost",
                path.display()
            ))
            .with_hint("choose a folder on a local disk with `--pool DIR` or `TARGET_TEST_POOL`"));
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = path;
    Ok(())
}

/// The name of a network file system, by its magic number in statfs(2).
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
        Box::new(again).remove();
        assert!(!path.exists());
    }

    #[test]
    fn waiting_ends_with_who_to_ask() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        let _lock = FileLock::try_take(&path).unwrap().unwrap();
        let error = FileLock::take(&path, Duration::from_millis(5)).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Pool);
        let us = format!("pid {}", std::process::id());
        assert!(error.to_string().contains(&us), "{error}");
    }

    #[test]
    fn network_file_systems_are_known() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(0xFF53_4D42), Some("SMB"));
        assert_eq!(network_name(0xEF53), None, "ext4");
        refuse_network(tempfile::tempdir().unwrap().path()).unwrap();
    }
}
