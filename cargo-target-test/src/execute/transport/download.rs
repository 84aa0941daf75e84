//! Files and folders of an instance on their way to this host.
//!
//! Owns the writing of what comes: a file appears when it is complete, and nothing of an archive leaves its folder. Must
//! not know protocols or shells.

use std::{
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use target_fixtures::wire::{Exit, Stream};
use tokio::sync::mpsc;

use super::{Event, Running, Transport, files, own_command, shell, upload::Moved};
use crate::error::{Error, ErrorKind, Result};

/// Copies a file to a path, or what is in a folder into a folder, which is made; with modes and symbolic links as they
/// are.
///
/// # Errors
/// As [`files::get`], and when it cannot be written here.
pub(crate) async fn get(
    transport: &dyn Transport,
    lease: &str,
    from: &str,
    to: &Path,
    moved: &Moved,
) -> Result<()> {
    let kind = own_command(shell::mode_and_kind(from)?, None);
    let outcome = transport.exec(&kind, lease, None).outcome().await?;
    let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
    match said.trim().split_once(' ') {
        Some(("folder", _)) => get_folder(transport, lease, from, to, moved).await,
        Some((_, mode)) => {
            let mode = u32::from_str_radix(mode, 8).unwrap_or(0o644);
            get_file(transport, lease, from, (to, mode), moved).await
        }
        // The reading says what is wrong.
        None => get_file(transport, lease, from, (to, 0o644), moved).await,
    }
}

async fn get_file(
    transport: &dyn Transport,
    lease: &str,
    from: &str,
    (to, mode): (&Path, u32),
    moved: &Moved,
) -> Result<()> {
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .prefix(".target-test-")
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    let (send, mut pieces) = mpsc::channel::<Vec<u8>>(4);
    let moved = Arc::clone(moved);
    let write = tokio::task::spawn_blocking(move || {
        while let Some(bytes) = pieces.blocking_recv() {
            file.write_all(&bytes)?;
            moved.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        Ok::<_, io::Error>(file)
    });
    let (got, written) = tokio::join!(files::get(transport, lease, from, send), write);
    let written = written.map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?;
    let file = match (got, written) {
        // A disk that is full here is why nobody listened.
        (_, Err(error)) => return Err(cannot_write(to, &error)),
        (got, Ok(file)) => got.map(|()| file)?,
    };
    let mode = std::fs::Permissions::from_mode(mode);
    file.as_file().set_permissions(mode)?;
    file.persist(to)
        .map_err(|error| cannot_write(to, &error.error))?;
    Ok(())
}

fn cannot_write(to: &Path, error: &io::Error) -> Error {
    let text = format!("cannot write `{}`: {error}", to.display());
    Error::new(ErrorKind::Usage, text)
}

async fn get_folder(
    transport: &dyn Transport,
    lease: &str,
    from: &str,
    to: &Path,
    moved: &Moved,
) -> Result<()> {
    let (send, pieces) = mpsc::channel::<Vec<u8>>(4);
    let (to, moved) = (to.to_owned(), Arc::clone(moved));
    let folder = to.clone();
    let unpack = tokio::task::spawn_blocking(move || {
        fs_err::create_dir_all(&folder)?;
        let mut archive = tar::Archive::new(Receiver {
            pieces,
            piece: Vec::new(),
            at: 0,
            moved,
        });
        archive.set_preserve_permissions(true);
        archive.unpack(&folder)
    });
    let command = own_command(shell::pack(from)?, None);
    let pack = pass_on(transport.exec(&command, lease, None), send);
    let (packed, unpacked) = tokio::join!(pack, unpack);
    let (exit, words) = packed?;
    if exit != Exit::Code(0) {
        let words = String::from_utf8_lossy(&words).trim().to_owned();
        return Err(Error::new(ErrorKind::Usage, words));
    }
    let unpacked = unpacked.map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?;
    unpacked.map_err(|error| cannot_write(&to, &error))
}

/// Passes a command's output on; how it ended, and its words.
async fn pass_on(mut running: Running, to: mpsc::Sender<Vec<u8>>) -> Result<(Exit, Vec<u8>)> {
    let mut words = Vec::new();
    while let Some(event) = running.events.recv().await {
        match event {
            // Who stops listening says why.
            Event::Output(Stream::Stdout, bytes) => drop(to.send(bytes).await),
            Event::Output(Stream::Stderr, bytes) => words.extend(bytes),
            Event::Exited(exit) => return Ok((exit, words)),
            Event::Lost(error) => return Err(error),
        }
    }
    Err(Error::new(
        ErrorKind::Other,
        "the command's events ended early",
    ))
}

/// What a command prints, for whom wants to read.
struct Receiver {
    pieces: mpsc::Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    moved: Moved,
}

impl Read for Receiver {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            match self.pieces.blocking_recv() {
                Some(piece) => (self.piece, self.at) = (piece, 0),
                None => return Ok(0),
            }
        }
        let count = to.len().min(self.piece.len() - self.at);
        to[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        self.moved.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
