//! Copies files and folders of this host to an instance; content that is already there is skipped.
//!
//! Must not know protocols or shell scripts.

use std::{
    fs::Metadata,
    io::{self, Read, Write},
    os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::{Compression, write::GzEncoder};
use tokio::sync::mpsc;

use super::{
    CommandOutput, FileMode, Transport,
    files::{self, Piece},
    own_command, run, shell,
};
use crate::{
    error::{Error, ErrorKind, Result},
    sync,
};

mod folder;
mod program;
mod same;
mod tree;

use folder::Folder;
pub(crate) use program::room_of;
pub(crate) use same::hash_file;
pub(crate) use tree::{Tree, TreePart, TreePlace, TreeRoot, ViewBy, utf8};

/// The size of a chunk, in bytes.
const CHUNK: usize = 128 << 10;
/// The number of bytes that a transfer has moved.
pub(crate) type Moved = Arc<AtomicU64>;

/// The minimum length of a file that is compared, in bytes: sending a smaller file takes less time.
const MIN_COMPARED: u64 = 64 << 10;

/// Copies files and folders between this host and an instance, for a lease.
pub(crate) struct Transfer {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) lease: String,
    /// The number of bytes that were copied.
    pub(crate) moved: Moved,
}

impl Transfer {
    pub(crate) fn new(transport: Arc<dyn Transport>, lease: &str) -> Self {
        Self {
            transport,
            lease: lease.to_owned(),
            moved: Moved::default(),
        }
    }

    /// Runs a short command.
    pub(super) async fn run(&self, line: String) -> Result<CommandOutput> {
        run(&*self.transport, &self.lease, line).await
    }

    /// Copies a file, or the content of a folder, to an absolute path and returns the number of files sent.
    ///
    /// New files get the modes of the local ones; existing files are written as described in [`files`]. Symbolic links in
    /// a folder are preserved. Files that the instance already has are skipped.
    ///
    /// # Errors
    /// If a local file cannot be read, the instance refuses the request, or the connection is lost.
    pub(crate) async fn put(&self, from: &Path, to: &str) -> Result<u64> {
        let metadata = fs_err::metadata(from)?;
        if metadata.is_dir() {
            return self.put_folder(from, &[], to).await;
        }
        if metadata.len() >= MIN_COMPARED && self.is_file(from, metadata.len(), to).await? {
            return Ok(0);
        }
        let mode = FileMode::New(mode_of(&metadata));
        self.send_file(from, to, mode).await?;
        Ok(1)
    }

    /// Copies a file of this host to an absolute path. Without `mode`, a new file gets the mode of the local one.
    ///
    /// # Errors
    /// The errors of [`files::put`]; if the local file cannot be read.
    pub(crate) async fn put_file(&self, from: &Path, to: &str, mode: Option<u32>) -> Result<()> {
        let mode = match mode {
            Some(mode) => FileMode::Set(mode),
            None => FileMode::New(mode_of(&fs_err::metadata(from)?)),
        };
        self.send_file(from, to, mode).await
    }

    /// Copies the content of a folder of this host into an absolute folder, which is created; returns the number of files
    /// sent.
    ///
    /// New files and links are sent as one archive, existing files one by one. Paths that a pattern of `exclude` matches are
    /// not sent.
    ///
    /// # Errors
    /// The errors of [`Transfer::put`].
    pub(crate) async fn put_folder(
        &self,
        from: &Path,
        exclude: &[String],
        to: &str,
    ) -> Result<u64> {
        let (root, exclude) = (from.to_owned(), exclude.to_vec());
        let mut folder = sync::blocking(move || Folder::read(&root, &exclude)).await?;
        let there = self.in_folder(to, folder.files()).await?;
        let (folder, existing) = sync::blocking(move || {
            let existing = folder.take_existing(&there)?;
            Ok((folder, existing))
        })
        .await?;
        let count = (folder.files().count() + existing.len()) as u64;
        self.send_folder(folder, to).await?;
        let next = std::sync::Mutex::new(existing.into_iter());
        let worker = || async {
            loop {
                let Some(path) = sync::lock(&next).next() else {
                    return Ok::<(), Error>(());
                };
                let file = from.join(&path);
                let mode = FileMode::New(mode_of(&fs_err::metadata(&file)?));
                let name = path.to_str().ok_or_else(|| {
                    Error::usage(format!("path is not UTF-8: `{}`", path.display()))
                })?;
                let to = format!("{}/{name}", to.trim_end_matches('/'));
                let sent = self.send_file(&file, &to, mode).await;
                sent.map_err(|error| {
                    Error::new(error.kind(), format!("`{to}`: {}", error.chain()))
                })?;
            }
        };
        // As many at once as leave a channel of an SSH session free.
        tokio::try_join!(worker(), worker(), worker(), worker())?;
        Ok(count)
    }

    async fn send_file(&self, from: &Path, to: &str, mode: FileMode) -> Result<()> {
        self.send(open(from)?, to, mode).await
    }

    /// Reads `from` to its end, and writes it to a file.
    async fn send(
        &self,
        mut from: impl Read + Send + 'static,
        to: &str,
        mode: FileMode,
    ) -> Result<()> {
        let (send, pieces) = mpsc::channel(4);
        let counted = Arc::clone(&self.moved);
        let read = tokio::task::spawn_blocking(move || {
            loop {
                let mut bytes = vec![0; CHUNK];
                let read = from.read(&mut bytes)?;
                bytes.truncate(read);
                let piece = if read == 0 {
                    Piece::End
                } else {
                    Piece::Data(bytes)
                };
                // If the receiver is gone, its own result has the cause.
                if send.blocking_send(piece).is_err() || read == 0 {
                    return Ok(());
                }
                counted.fetch_add(read as u64, Ordering::Relaxed);
            }
        });
        let put = files::put(&*self.transport, &self.lease, to, mode, pieces);
        let (put, read) = tokio::join!(put, read);
        finished(read)?;
        put
    }

    async fn send_folder(&self, folder: Folder, to: &str) -> Result<()> {
        let unpack = shell::unpack(to, folder.mode()?);
        self.send_archive(folder, unpack, false).await
    }

    /// Sends the files of a folder to a script that unpacks them.
    async fn send_archive(
        &self,
        folder: Folder,
        unpack: String,
        is_compressed: bool,
    ) -> Result<()> {
        let command = own_command(unpack, None);
        let (send, stdin) = mpsc::channel(4);
        let counted = Arc::clone(&self.moved);
        let pack = tokio::task::spawn_blocking(move || {
            let sender = io::BufWriter::with_capacity(CHUNK, Sender(send, counted));
            match is_compressed {
                true => {
                    let mut packed = GzEncoder::new(sender, Compression::fast());
                    folder.pack(&mut packed)?;
                    packed.finish()?.flush()
                }
                false => folder.pack(sender),
            }
        });
        let unpack = self
            .transport
            .exec(&command, &self.lease, Some(stdin))
            .finished();
        let (unpacked, packed) = tokio::join!(unpack, pack);
        // If the archive is truncated, both sides fail, and this side has the cause.
        match (unpacked?.accepted(), finished(packed)) {
            (Err(refused), Err(error)) if error.kind() == ErrorKind::Other => Err(refused),
            (_, Err(error)) => Err(error),
            (unpacked, Ok(())) => unpacked.map(drop),
        }
    }
}

fn mode_of(metadata: &Metadata) -> u32 {
    metadata.permissions().mode() & 0o7777
}

/// Opens a file to send. A FIFO is an error: it might block until another process writes to it.
fn open(from: &Path) -> Result<fs_err::File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut options = fs_err::OpenOptions::new();
    options.read(true).options_mut().custom_flags(flags);
    let file = options.open(from)?;
    match file.metadata()?.file_type().is_fifo() {
        true => Err(Error::usage(format!(
            "`{}` is a FIFO, which cannot be copied",
            from.display()
        ))),
        false => Ok(file),
    }
}

fn finished(read: Result<io::Result<()>, tokio::task::JoinError>) -> Result<()> {
    let read = read.map_err(|error| Error::other(error.to_string()))?;
    read.map_err(|error| match error.kind() {
        // The reader of the pipe has the cause.
        io::ErrorKind::BrokenPipe => Error::other(error.to_string()),
        _ => Error::usage(error.to_string()),
    })
}

/// Writes chunks to a command's standard input.
struct Sender(mpsc::Sender<Vec<u8>>, Moved);

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(bytes.to_vec());
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        self.1.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
