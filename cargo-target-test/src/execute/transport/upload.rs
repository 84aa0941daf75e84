//! Files and folders of this host on their way to an instance.
//!
//! Owns the reading of what is sent. Must not know protocols or shells: `files` and `shell` do.

use std::{
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use tokio::sync::mpsc;

use super::{
    Transport,
    files::{self, Piece},
    own_command, shell,
};
use crate::error::{Error, ErrorKind, Result};

/// How much is sent at once.
const CHUNK: usize = 128 << 10;

/// Writes a file of this host to an absolute path, with its own mode unless another one is given.
///
/// # Errors
/// When it cannot be read here; and as [`files::put`].
pub(crate) async fn put_file(
    transport: &dyn Transport,
    lease: &str,
    from: &Path,
    to: &str,
    mode: Option<u32>,
) -> Result<()> {
    let mut file = fs_err::File::open(from)?;
    let mode = match mode {
        Some(mode) => mode,
        None => file.metadata()?.permissions().mode() & 0o7777,
    };
    let (send, pieces) = mpsc::channel(4);
    let read = tokio::task::spawn_blocking(move || {
        loop {
            let mut bytes = vec![0; CHUNK];
            let read = file.read(&mut bytes)?;
            bytes.truncate(read);
            let piece = if read == 0 {
                Piece::End
            } else {
                Piece::Data(bytes)
            };
            // Who stops listening says why.
            if send.blocking_send(piece).is_err() || read == 0 {
                return Ok(());
            }
        }
    });
    let (put, read) = tokio::join!(files::put(transport, lease, to, mode, pieces), read);
    finished(read)?;
    put
}

/// Writes what is in a folder of this host into an absolute folder, which is made; as one tar stream, with modes and
/// symbolic links as they are.
///
/// # Errors
/// When it cannot be read here, what the instance refuses, a lost connection.
pub(crate) async fn put_folder(
    transport: &dyn Transport,
    lease: &str,
    from: &Path,
    to: &str,
) -> Result<()> {
    let (send, stdin) = mpsc::channel(4);
    let from = from.to_owned();
    let pack = tokio::task::spawn_blocking(move || {
        let mut archive = tar::Builder::new(io::BufWriter::with_capacity(CHUNK, Sender(send)));
        archive.follow_symlinks(false);
        archive.append_dir_all(".", from)?;
        archive.into_inner()?.flush()
    });
    let command = own_command(shell::unpack(to), None);
    let unpack = transport.exec(&command, lease, Some(stdin)).outcome();
    let (unpacked, packed) = tokio::join!(unpack, pack);
    // An archive that ends early is what both complain of, and here is why.
    match (
        unpacked?.success("cannot unpack the folder"),
        finished(packed),
    ) {
        (Err(refused), Err(error)) if error.kind() == ErrorKind::Other => Err(refused),
        (_, Err(error)) => Err(error),
        (unpacked, Ok(())) => unpacked.map(drop),
    }
}

fn finished(read: Result<io::Result<()>, tokio::task::JoinError>) -> Result<()> {
    let read = read.map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?;
    read.map_err(|error| match error.kind() {
        // Its reader has the cause.
        io::ErrorKind::BrokenPipe => Error::new(ErrorKind::Other, error.to_string()),
        _ => Error::new(ErrorKind::Usage, error.to_string()),
    })
}

/// A command's standard input, for whom wants to write.
struct Sender(mpsc::Sender<Vec<u8>>);

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(bytes.to_vec());
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
