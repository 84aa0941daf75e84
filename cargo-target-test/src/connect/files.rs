//! Reads and writes files of an instance over any transport.
//!
//! A file is written as `cp` and `sftp` would, on instances (`shell`) and on this host (`place`):
//! - A symbolic link is followed to its end. A link to a missing file is an error.
//! - A file is replaced atomically: a private temporary file in the same folder is renamed, so a running program can be
//!   replaced, and a transfer that fails leaves the old file. Owner, group, SELinux label and, unless a mode is given,
//!   mode are those of the old file.
//! - A file is written in place if it has several links or an access control list, if it is a mount point, or if its
//!   owner and group cannot be given to another file; the complete temporary file is copied.
//! - A device or a FIFO, and a file in a folder that is not writable, is written in place as the data arrives.
//! - A file that the user may not write is an error, even if the folder is writable.

// Must not know protocols or shell scripts.

use std::time::Duration;

use target_fixtures::wire::Exit;
use tokio::sync::mpsc;

use super::{CommandOutput, FileAccess, Transport, local, own_command, run, shell};
use crate::error::{Error, Result};

/// The timeout of the removal of a partial file.
const DISCARD: Duration = Duration::from_secs(10);

/// A chunk of a file that is sent to an instance.
#[derive(Debug)]
pub enum Piece {
    /// Some bytes, preferably about 128 KiB.
    Data(Vec<u8>),
    /// The end of the file. Dropping the sender before the end aborts the transfer.
    End,
}

/// The permission bits of a file that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileMode {
    /// Sets these bits.
    Set(u32),
    /// Sets these bits on a new file. A file that exists keeps its own.
    New(u32),
}

impl FileMode {
    /// Returns the bits.
    pub fn bits(self) -> u32 {
        let (Self::Set(bits) | Self::New(bits)) = self;
        bits
    }
}

/// Writes a file; see the module for the rule. `path` must be absolute, and its folder must exist.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the path is invalid, the instance refuses the request, or the
/// transfer is aborted; [`ErrorKind::Infra`](crate::ErrorKind::Infra) if the connection is lost. The caller adds the
/// file and the instance to the message.
pub async fn put(
    transport: &dyn Transport,
    lease: &str,
    path: &str,
    mode: FileMode,
    content: mpsc::Receiver<Piece>,
) -> Result<()> {
    let paths = shell::upload_paths(path)?;
    let (stdin, receiver) = mpsc::channel(4);
    let program = transport.file_program(&FileAccess::Put {
        path,
        mode: mode.bits(),
    })?;
    let own = program.is_some();
    let running = match program {
        Some(program) => local::run(program, Some(receiver)),
        None => {
            let receive = own_command(shell::receive(&paths), None);
            transport.exec(&receive, lease, Some(receiver))
        }
    };
    let send = send(content, stdin);
    let mut partial = PartialFile {
        transport,
        discard: (!own).then(|| shell::discard(&paths)),
    };
    let received = match tokio::join!(send, running.finished()) {
        (_, Err(error)) => Err(error),
        (None, Ok(_)) => Err(Error::usage("transfer aborted")),
        (Some(_), Ok(outcome)) if own => return outcome.accepted().map(drop),
        (Some(sent), Ok(outcome)) => complete(path, sent, outcome),
    };
    if own {
        return received;
    }
    let finish = match &received {
        Ok(()) => shell::install(&paths, mode),
        Err(_) => shell::discard(&paths),
    };
    let finished = run(transport, lease, finish).await;
    partial.discard = None;
    received?;
    finished?.accepted().map(drop)
}

/// A temporary file on the instance, deleted if the transfer is cancelled.
struct PartialFile<'a> {
    transport: &'a dyn Transport,
    /// The script that deletes the file.
    discard: Option<String>,
}

impl Drop for PartialFile<'_> {
    fn drop(&mut self) {
        if let Some(discard) = self.discard.take() {
            // Without a lease: the transfer may be cancelled because its lease ended.
            let discard = own_command(discard, Some(DISCARD));
            tokio::spawn(self.transport.exec(&discard, "", None).finished());
        }
    }
}

/// Forwards the chunks of a file and returns their length in bytes; `None` if the sender aborted.
async fn send(mut content: mpsc::Receiver<Piece>, stdin: mpsc::Sender<Vec<u8>>) -> Option<u64> {
    let mut sent = 0_u64;
    loop {
        match content.recv().await? {
            Piece::Data(bytes) => {
                sent += bytes.len() as u64;
                // If the command stopped reading, its output contains the reason.
                if stdin.send(bytes).await.is_err() {
                    return Some(sent);
                }
            }
            Piece::End => return Some(sent),
        }
    }
}

/// Checks that all bytes arrived.
fn complete(path: &str, sent: u64, outcome: CommandOutput) -> Result<()> {
    match outcome.exit {
        Exit::Code(shell::DIRECTORY) => return Err(Error::usage("path is a directory")),
        Exit::Code(shell::MISSING) => return Err(Error::usage("parent folder not found")),
        Exit::Code(shell::DANGLING) => {
            return Err(Error::usage("path is a symbolic link to a missing file"));
        }
        Exit::Code(shell::READ_ONLY) => {
            return Err(Error::usage("permission denied: the file is not writable"));
        }
        Exit::Code(0) => {}
        _ => return outcome.accepted().map(drop),
    }
    let received = String::from_utf8_lossy(&outcome.stdout);
    if received.trim().parse() == Ok(sent) {
        return Ok(());
    }
    let text = format!("`{path}`: only {} of {sent} bytes arrived", received.trim());
    Err(Error::infra(text))
}

/// Reads a file and sends its chunks to `to`. Dropping the receiver aborts the transfer.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if `path` is missing, a directory, unreadable or not absolute;
/// [`ErrorKind::Infra`](crate::ErrorKind::Infra) if the connection is lost. The caller adds the file and the instance
/// to the message.
pub async fn get(
    transport: &dyn Transport,
    lease: &str,
    path: &str,
    to: mpsc::Sender<Vec<u8>>,
) -> Result<()> {
    let line = shell::get(path)?;
    let running = match transport.file_program(&FileAccess::Get { path })? {
        Some(program) => local::run(program, None),
        None => transport.exec(&own_command(line, None), lease, None),
    };
    let outcome = running
        .forwarded(to, Error::usage("transfer aborted"))
        .await?;
    match outcome.exit {
        Exit::Code(shell::MISSING) => Err(Error::usage("file not found")),
        Exit::Code(shell::DIRECTORY) => Err(Error::usage("path is a directory")),
        Exit::Code(shell::UNREADABLE) => Err(Error::usage("permission denied")),
        _ => outcome.accepted().map(drop),
    }
}
