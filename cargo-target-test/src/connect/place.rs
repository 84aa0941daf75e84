//! Writes a file of this host by the rule in [`files`](super::files).
//!
//! Blocks; a write to a device or a FIFO ends when the transfer is cancelled. Must not know instances.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{Access, AtFlags, CWD, OFlags, XattrFlags},
    io::Errno,
};
use tempfile::NamedTempFile;

/// The pause between two checks for a cancelled transfer.
const PAUSE: Duration = Duration::from_millis(100);
/// The mode of a file that is being written.
const PRIVATE: u32 = 0o600;
/// The maximum length of an SELinux label, in bytes.
const LABEL: usize = 4096;

/// The time limit for the reader of a FIFO in [`write`].
const READER: Duration = Duration::from_secs(10);

/// True once a transfer is cancelled.
#[derive(Clone, Default)]
pub(super) struct Cancelled {
    flag: Arc<AtomicBool>,
    /// The time at which the transfer is cancelled without a guard.
    at: Option<Instant>,
}

impl Cancelled {
    /// Returns a guard that cancels the transfer when it is dropped.
    pub(super) fn on_drop(&self) -> impl Drop + use<> {
        struct Guard(Arc<AtomicBool>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        Guard(Arc::clone(&self.flag))
    }

    fn check(&self) -> io::Result<()> {
        if self.flag.load(Ordering::Relaxed) {
            return Err(io::Error::other("transfer aborted"));
        }
        match self.at.is_some_and(|at| Instant::now() >= at) {
            true => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "no program reads it",
            )),
            false => Ok(()),
        }
    }
}

/// Writes a file of this host. The umask applies to a new file.
///
/// # Errors
/// The errors of [`LocalFile`]; if a FIFO is not read for 10 s.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if fs::symlink_metadata(path).is_err() {
        let mut file = temporary_beside(path, 0o666)?;
        file.write_all(content)?;
        return file.persist(path).map(drop).map_err(|error| error.error);
    }
    let cancelled = Cancelled {
        at: Some(Instant::now() + READER),
        ..Cancelled::default()
    };
    let mut file = LocalFile::open(path, &cancelled)?;
    file.write_all(content)?;
    file.finish(0)
}

/// A file of this host that is being written. Dropping it before [`LocalFile::finish`] leaves the old file, unless it is
/// written in place as the data arrives.
pub(super) enum LocalFile {
    /// A private file, which is moved or copied to the path.
    Temporary {
        file: NamedTempFile,
        path: PathBuf,
        /// The file at the path, if any.
        old: Option<Box<Metadata>>,
    },
    /// The file itself, which may block.
    InPlace(File, Cancelled),
}

impl LocalFile {
    /// Opens a file for writing.
    ///
    /// # Errors
    /// If the path is a folder or a link to a missing file, if its folder is missing, or if the file is not writable.
    pub(super) fn open(path: &Path, cancelled: &Cancelled) -> io::Result<Self> {
        let old = match fs::metadata(path) {
            Ok(old) => Some(Box::new(old)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(error) => match path.is_symlink() {
                true => {
                    let text = "path is a symbolic link to a missing file";
                    return Err(io::Error::new(error.kind(), text));
                }
                false => None,
            },
        };
        let Some(metadata) = &old else {
            let file = temporary_beside(path, PRIVATE)?;
            let path = path.to_owned();
            return Ok(Self::Temporary { file, path, old });
        };
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS)?;
        if !metadata.is_file() {
            return Ok(Self::InPlace(
                open_device(path, cancelled)?,
                cancelled.clone(),
            ));
        }
        let path = path.canonicalize()?;
        match temporary_beside(&path, PRIVATE) {
            Ok(file) => Ok(Self::Temporary { file, path, old }),
            // The folder is not writable.
            Err(_) => Ok(Self::InPlace(truncated(&path)?, cancelled.clone())),
        }
    }

    /// Completes the file. A new file gets the permission bits of `mode`.
    pub(super) fn finish(self, mode: u32) -> io::Result<()> {
        let Self::Temporary { file, path, old } = self else {
            return Ok(());
        };
        let Some(old) = old else {
            let mode = Permissions::from_mode(mode & 0o7777);
            file.as_file().set_permissions(mode)?;
            return file.persist(&path).map(drop).map_err(|error| error.error);
        };
        // A mount point refuses the rename.
        let replaced = match keep(&path, &old, file.as_file()) {
            Ok(()) => file.persist(&path).map_err(|error| error.file),
            Err(_) => Err(file),
        };
        match replaced {
            Ok(_) => Ok(()),
            Err(file) => {
                let mut content = file.reopen()?;
                io::copy(&mut content, &mut truncated(&path)?).map(drop)
            }
        }
    }
}

impl Write for LocalFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (file, cancelled) = match self {
            Self::Temporary { file, .. } => return file.write(bytes),
            Self::InPlace(file, cancelled) => (file, cancelled),
        };
        loop {
            match file.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    cancelled.check()?;
                    let mut room = [PollFd::new(file, PollFlags::OUT)];
                    let pause = Timespec::try_from(PAUSE).ok();
                    rustix::event::poll(&mut room, pause.as_ref())?;
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Creates a temporary file with this mode, before the umask, in the folder of a file.
fn temporary_beside(path: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.permissions(Permissions::from_mode(mode));
    builder.prefix(".target-test-").tempfile_in(folder)
}

fn truncated(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).truncate(true).open(path)
}

/// Opens a device or a FIFO. A FIFO can be opened once a process reads it.
fn open_device(path: &Path, cancelled: &Cancelled) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.write(true).custom_flags(flags.bits().cast_signed());
    loop {
        match options.open(path) {
            Err(error)
                if error.raw_os_error() == Some(Errno::NXIO.raw_os_error())
                    && fs::metadata(path)?.file_type().is_fifo() =>
            {
                cancelled.check()?;
                thread::sleep(PAUSE);
            }
            opened => return opened,
        }
    }
}

/// Gives `new` the owner, group, label and mode of the old file.
///
/// # Errors
/// If the old file has something that `new` cannot have: several links, an access control list, another owner.
fn keep(path: &Path, old: &Metadata, new: &File) -> io::Result<()> {
    let mut value = vec![0; LABEL];
    let has_list = rustix::fs::getxattr(path, "system.posix_acl_access", &mut value[..]).is_ok();
    if old.nlink() != 1 || has_list {
        return Err(io::ErrorKind::Unsupported.into());
    }
    fchown(new, Some(old.uid()), Some(old.gid()))?;
    if let Ok(length) = rustix::fs::getxattr(path, "security.selinux", &mut value[..]) {
        let label = &value[..length];
        rustix::fs::fsetxattr(new, "security.selinux", label, XattrFlags::empty())?;
    }
    new.set_permissions(Permissions::from_mode(old.mode() & 0o7777))
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::fs::symlink};

    use rustix::fs::{FileType, Mode};

    use super::*;

    fn write(path: &Path, text: &str) -> io::Result<()> {
        let mut file = LocalFile::open(path, &Cancelled::default())?;
        file.write_all(text.as_bytes())?;
        file.finish(0o640)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn files_are_replaced_and_what_must_stay_is_written_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let text = |name: &str| fs::read_to_string(path(name)).unwrap();
        write(&path("new"), "1").unwrap();
        assert_eq!((text("new").as_str(), mode(&path("new"))), ("1", 0o640));

        fs::set_permissions(path("new"), Permissions::from_mode(0o4751)).unwrap();
        let number = fs::metadata(path("new")).unwrap().ino();
        symlink("new", path("link")).unwrap();
        write(&path("link"), "2").unwrap();
        assert!(path("link").is_symlink());
        assert_eq!((text("new").as_str(), mode(&path("new"))), ("2", 0o4751));
        assert_ne!(fs::metadata(path("new")).unwrap().ino(), number);

        fs::hard_link(path("new"), path("other")).unwrap();
        write(&path("new"), "3").unwrap();
        assert_eq!(text("other"), "3");

        symlink("none", path("dangling")).unwrap();
        let error = write(&path("dangling"), "x").unwrap_err();
        assert!(error.to_string().contains("missing file"), "{error}");
        assert!(write(folder.path(), "x").is_err());
        assert!(write(&path("none/x"), "x").is_err());
        write(Path::new("/dev/null"), "x").unwrap();
        assert!(
            fs::metadata("/dev/null")
                .unwrap()
                .file_type()
                .is_char_device()
        );
        let names = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 4, "a temporary file was left");
    }

    #[test]
    fn a_fifo_waits_for_its_reader_until_the_transfer_is_cancelled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let cancelled = Cancelled::default();
        drop(cancelled.on_drop());
        assert!(LocalFile::open(&path, &cancelled).is_err());
        let text = thread::scope(|scope| {
            let long = "x".repeat(1 << 20);
            let at = &path;
            scope.spawn(move || write(at, &long).unwrap());
            let mut text = String::new();
            File::open(&path)
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            text
        });
        assert_eq!(text.len(), 1 << 20);
    }
}
