//! Copies files and folders from an instance to this host.
//!
//! Must not know protocols or shell scripts.

use std::{
    fs::{self, DirBuilder, Permissions, create_dir_all, set_permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use tar::EntryType;
use target_fixtures::wire::Exit;
use tokio::sync::mpsc;

use super::{
    Running, files, own_command,
    place::{Cancelled, LocalFile},
    shell,
    upload::{Moved, Transfer},
};
use crate::{
    error::{Error, ErrorKind, Result},
    sync,
};

/// The type of the file at a path of an instance. Symbolic links are followed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PathKind {
    /// There is no file.
    Missing,
    /// A folder, with its permission bits.
    Folder(u32),
    /// A file that is not a folder, with its permission bits.
    File(u32),
}

impl Transfer {
    /// Returns the type of the file at an absolute path.
    ///
    /// # Errors
    /// If the instance cannot tell.
    pub(crate) async fn look(&self, path: &str) -> Result<PathKind> {
        let outcome = self.run(shell::look(path)?).await?;
        if outcome.exit == Exit::Code(shell::MISSING) {
            return Ok(PathKind::Missing);
        }
        let outcome = outcome.success(&format!("failed to list `{path}`"))?;
        let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
        read(&text).ok_or_else(|| {
            let text = text.trim();
            Error::infra(format!("unexpected output of `ls` for `{path}`: {text}"))
        })
    }

    /// Copies a file to a path, or the content of a folder into a folder, which is created.
    ///
    /// New files get the modes of those on the instance; existing files are written as described in [`files`]. Symbolic
    /// links in a folder are preserved.
    ///
    /// # Errors
    /// The errors of [`files::get`]; if a local file cannot be written.
    pub(crate) async fn get(&self, from: &str, to: &Path) -> Result<()> {
        match self.look(from).await? {
            PathKind::Folder(mode) => self.get_folder(from, mode, to).await,
            PathKind::File(mode) => self.get_file(from, mode, to).await,
            // Fails with the error for a missing file.
            PathKind::Missing => self.get_file(from, 0o600, to).await,
        }
    }

    /// Copies a file of the instance to a path of this host; a new file gets this mode.
    ///
    /// # Errors
    /// The errors of [`files::get`]; if the local file cannot be written.
    async fn get_file(&self, from: &str, mode: u32, to: &Path) -> Result<()> {
        let (send, mut pieces) = mpsc::channel::<Vec<u8>>(4);
        let cancelled = Cancelled::default();
        let cancel = cancelled.on_drop();
        let (path, moved) = (to.to_owned(), Arc::clone(&self.moved));
        // A transfer that fails ends the pieces too: the file is opened when there is something to write, and completed
        // after the transfer has succeeded.
        let write = tokio::task::spawn_blocking(move || {
            let mut file = None;
            while let Some(bytes) = pieces.blocking_recv() {
                let file = match &mut file {
                    Some(file) => file,
                    None => file.insert(LocalFile::open(&path, &cancelled)?),
                };
                file.write_all(&bytes)?;
                moved.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
            Ok((path, file, cancelled))
        });
        let get = async {
            let got = files::get(&*self.transport, &self.lease, from, send).await;
            // After an error, nothing more is written.
            let cancel = got.is_ok().then_some(cancel);
            (got, cancel)
        };
        let ((got, _cancel), written) = tokio::join!(get, write);
        let written = written.map_err(|error| Error::other(error.to_string()))?;
        let (path, file, cancelled) = written.map_err(|error: io::Error| cannot(to, &error))?;
        got?;
        let finish = move || -> io::Result<()> {
            let file = file.map_or_else(|| LocalFile::open(&path, &cancelled), Ok)?;
            file.finish(mode)
        };
        let finished = sync::blocking(move || Ok(finish())).await?;
        finished.map_err(|error| cannot(to, &error))
    }

    /// Copies the content of a folder of the instance into a folder of this host as a tar stream.
    ///
    /// The local folder is created with this mode if it does not exist. Modes and symbolic links are preserved.
    ///
    /// # Errors
    /// If a local file cannot be written, the instance refuses the request, or the connection is lost.
    async fn get_folder(&self, from: &str, mode: u32, to: &Path) -> Result<()> {
        let made = make_folder(to).map_err(|error| cannot(to, &error))?;
        let running =
            self.transport
                .exec(&own_command(shell::pack(from)?, None), &self.lease, None);
        let (send, pieces) = mpsc::channel(4);
        let (folder, moved) = (to.to_owned(), Arc::clone(&self.moved));
        let unpack = tokio::task::spawn_blocking(move || {
            let piece = io::Cursor::default();
            let mut archive = tar::Archive::new(Pieces {
                pieces,
                piece,
                moved,
            });
            archive.set_preserve_permissions(true);
            unpack(&mut archive, &folder)?;
            // The sender may write padding after the end of the archive, and must not block on it.
            io::copy(&mut archive.into_inner(), &mut io::sink()).map(drop)
        });
        let (sent, unpacked) = tokio::join!(forward(running, send, from), unpack);
        // If the stream is truncated, both sides fail, and the sender has the cause.
        match (sent, unpacked) {
            (Err(error), _) if error.kind() != ErrorKind::Other => return Err(error),
            (_, Ok(Err(error))) => return Err(cannot(to, &error)),
            (sent, _) => sent?,
        }
        match made {
            true => set_permissions(to, Permissions::from_mode(mode))
                .map_err(|error| cannot(to, &error)),
            false => Ok(()),
        }
    }
}

/// Parses a line of `ls -l`: `-rwxr-s--- 1 root ...`.
fn read(line: &str) -> Option<PathKind> {
    let letters = line.as_bytes().get(..10)?;
    let mut mode = 0;
    for (at, letter) in letters[1..].iter().enumerate() {
        // From the owner's `r` to the others' `x`. Each `x` may be combined with a special bit.
        let (bit, special) = (1 << (8 - at), 0o4000 >> (at / 3));
        mode |= match letter {
            b'-' => 0,
            b's' | b't' => bit | special,
            b'S' | b'T' => special,
            _ => bit,
        };
    }
    Some(match letters[0] {
        b'd' => PathKind::Folder(mode),
        _ => PathKind::File(mode),
    })
}

/// Unpacks folders, files and links. Pipes and devices are skipped.
fn unpack(archive: &mut tar::Archive<Pieces>, folder: &Path) -> io::Result<()> {
    let folder = folder.canonicalize()?;
    let mut folders = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        match entry.header().entry_type() {
            EntryType::Directory => folders.push(entry),
            EntryType::Fifo | EntryType::Char | EntryType::Block => {}
            EntryType::Regular | EntryType::Continuous | EntryType::Link => {
                match existing(&folder, &entry.path()?) {
                    Some(path) => overwrite(&mut entry, &folder, &path)?,
                    None => drop(entry.unpack_in(&folder)?),
                }
            }
            _ => drop(entry.unpack_in(&folder)?),
        }
    }
    // The mode of a folder may forbid writing, so folders are unpacked after their content.
    folders.sort_by(|a, b| b.path_bytes().cmp(&a.path_bytes()));
    folders
        .into_iter()
        .try_for_each(|mut entry| entry.unpack_in(&folder).map(drop))
}

/// Returns the file at a path of an archive, at the end of symbolic links; `None` if there is none in the folder.
fn existing(folder: &Path, path: &Path) -> Option<PathBuf> {
    let path = folder.join(path).canonicalize().ok()?;
    (path.starts_with(folder) && !path.is_dir()).then_some(path)
}

/// Writes the content of an archive's entry to a file that exists. A hard link has the content of an earlier entry.
fn overwrite(entry: &mut tar::Entry<'_, impl Read>, folder: &Path, path: &Path) -> io::Result<()> {
    let mut earlier = match entry.link_name()? {
        Some(name) => {
            let earlier = existing(folder, &name).ok_or(io::ErrorKind::NotFound)?;
            let (earlier, number) = (fs::File::open(&earlier)?, fs::metadata(path)?.ino());
            if earlier.metadata()?.ino() == number {
                return Ok(());
            }
            Some(earlier)
        }
        None => None,
    };
    let mut file = LocalFile::open(path, &Cancelled::default())?;
    match &mut earlier {
        Some(earlier) => io::copy(earlier, &mut file)?,
        None => io::copy(entry, &mut file)?,
    };
    file.finish(0)
}

/// Creates a folder that is private until it is complete; returns false if it existed.
///
/// Several tests may create the same folder at the same time.
fn make_folder(path: &Path) -> io::Result<bool> {
    path.parent().map_or(Ok(()), create_dir_all)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(_) if path.is_dir() => Ok(false),
        made => made.map(|()| true),
    }
}

async fn forward(running: Running, send: mpsc::Sender<Vec<u8>>, from: &str) -> Result<()> {
    let aborted = Error::other("failed to unpack the archive");
    let ended = running.forwarded(send, aborted).await?;
    if ended.exit == Exit::Code(0) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    Err(Error::usage(format!(
        "failed to read `{from}`: {}",
        said.trim()
    )))
}

fn cannot(to: &Path, error: &io::Error) -> Error {
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    Error::usage(format!(
        "failed to write `{}`: {error}{}",
        to.display(),
        source.unwrap_or_default()
    ))
}

/// Reads the chunks of a command's standard output.
struct Pieces {
    pieces: mpsc::Receiver<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
    moved: Moved,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            match self.pieces.blocking_recv() {
                Some(piece) => {
                    self.moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
                    self.piece = io::Cursor::new(piece);
                }
                None => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_of_concurrent_calls_creates_the_folder() {
        let root = tempfile::tempdir().expect("a folder");
        for round in 0..50 {
            let path = root.path().join(format!("{round}/logs"));
            let (barrier, path) = (&std::sync::Barrier::new(8), path.as_path());
            let made = std::thread::scope(|scope| {
                let make = || {
                    barrier.wait();
                    make_folder(path).expect("a folder")
                };
                let makers: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
                let made = makers
                    .into_iter()
                    .map(|maker| maker.join().expect("a maker"));
                made.filter(|made| *made).count()
            });
            assert_eq!(made, 1);
        }
    }

    #[test]
    fn modes_of_ls_are_parsed() {
        let mode = |line| match read(line) {
            Some(PathKind::File(mode)) => format!("{mode:o}"),
            other => format!("{other:?}"),
        };
        assert_eq!(mode("-rw-r--r-- 1 root root 0 Jan 1 x"), "644");
        assert_eq!(mode("-rwsr-xr-t+ 1 root root 0 Jan 1 x"), "5755");
        assert_eq!(mode("-rwxr-S--- 1 root root 0 Jan 1 x"), "2740");
        assert_eq!(mode("----------"), "0");
        assert_eq!(read("drwxr-xr-t 2 root"), Some(PathKind::Folder(0o1755)));
        assert_eq!(mode(""), "None");
    }
}
