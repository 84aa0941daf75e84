//! Files over commands, for any transport.
//!
//! Owns atomic writing and the telling apart of a missing file from a lost connection. Must not know
//! protocols or shells: the scripts are `shell`'s.

use std::time::Duration;

use target_fixtures::wire::{Exit, Stream};
use tokio::sync::mpsc;

use super::{Event, FileAccess, Finished, Transport, local, own_command, shell};
use crate::error::{Error, ErrorKind, Result};

/// How long the removal of a part of a file may take that nobody waits for.
const DISCARD: Duration = Duration::from_secs(10);

/// A piece of a file on its way to an instance.
#[derive(Debug)]
pub enum Piece {
    /// Some bytes; about 128 KiB is a good size.
    Data(Vec<u8>),
    /// The file is complete. A sender that is dropped without it has aborted the transfer.
    End,
}

/// Writes a file: into a private file beside it, which then takes its place (a symbolic link is
/// replaced, not followed). Until then, and after any error, the old content stays.
///
/// `path` is absolute, its folder exists. `mode` are permission bits.
///
/// # Errors
/// [`ErrorKind::Usage`] for paths that cannot be a file, what the instance refuses, and aborted transfers;
/// [`ErrorKind::Infra`] for a lost connection. Neither names file or instance.
pub async fn put(
    transport: &dyn Transport,
    lease: &str,
    path: &str,
    mode: u32,
    content: mpsc::Receiver<Piece>,
) -> Result<()> {
    let place = shell::place(path)?;
    let (stdin, receiver) = mpsc::channel(4);
    let program = transport.file_program(&FileAccess::Put { path, mode })?;
    let own = program.is_some();
    let running = match program {
        Some(program) => local::run(program, Some(receiver)),
        None => {
            let receive = own_command(shell::receive(&place), None);
            transport.exec(&receive, lease, Some(receiver))
        }
    };
    let send = send(content, stdin);
    let mut part = Part(transport, (!own).then(|| shell::discard(&place)));
    let received = match tokio::join!(send, running.finished()) {
        (_, Err(error)) => Err(error),
        (None, Ok(_)) => Err(wrong("the transfer was aborted")),
        (Some(_), Ok(outcome)) if own => return said_no(outcome),
        (Some(sent), Ok(outcome)) => complete(path, sent, outcome),
    };
    if own {
        return received;
    }
    let finish = match &received {
        Ok(()) => shell::install(&place, mode),
        Err(_) => shell::discard(&place),
    };
    let finished = transport
        .exec(&own_command(finish, None), lease, None)
        .finished()
        .await;
    part.1 = None;
    received?;
    said_no(finished?)
}

/// A part of a file, which goes when nobody waits for the rest any more.
struct Part<'a>(&'a dyn Transport, Option<String>);

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if let Some(discard) = self.1.take() {
            // Of no lease: the end of one is what may be the cause.
            let discard = own_command(discard, Some(DISCARD));
            tokio::spawn(self.0.exec(&discard, "", None).finished());
        }
    }
}

/// Passes a file's pieces on; how many bytes they were, unless the sender gave up.
async fn send(mut content: mpsc::Receiver<Piece>, stdin: mpsc::Sender<Vec<u8>>) -> Option<u64> {
    let mut sent = 0_u64;
    loop {
        match content.recv().await? {
            Piece::Data(bytes) => {
                sent += bytes.len() as u64;
                // Who stopped reading says why in the outcome.
                if stdin.send(bytes).await.is_err() {
                    return Some(sent);
                }
            }
            Piece::End => return Some(sent),
        }
    }
}

fn complete(path: &str, sent: u64, outcome: Finished) -> Result<()> {
    match outcome.exit {
        Exit::Code(shell::DIRECTORY) => return Err(wrong("it is a directory")),
        Exit::Code(shell::MISSING) => return Err(wrong("its folder does not exist")),
        Exit::Code(0) => {}
        _ => return said_no(outcome),
    }
    let received = String::from_utf8_lossy(&outcome.stdout);
    if received.trim().parse() == Ok(sent) {
        return Ok(());
    }
    let text = format!("`{path}`: {} of {sent} bytes arrived", received.trim());
    Err(Error::new(ErrorKind::Infra, text))
}

/// Reads a file, in pieces, to `to`; when `to`'s receiver is dropped the transfer is aborted.
///
/// # Errors
/// [`ErrorKind::Usage`] where `path` is missing, a directory, unreadable or not absolute;
/// [`ErrorKind::Infra`] for a lost connection. Neither names file or instance.
pub async fn get(
    transport: &dyn Transport,
    lease: &str,
    path: &str,
    to: mpsc::Sender<Vec<u8>>,
) -> Result<()> {
    let line = shell::get(path)?;
    let mut running = match transport.file_program(&FileAccess::Get { path })? {
        Some(program) => local::run(program, None),
        None => transport.exec(&own_command(line, None), lease, None),
    };
    let mut stderr = Vec::new();
    while let Some(event) = running.events.recv().await {
        match event {
            Event::Output(Stream::Stdout, bytes) => {
                if to.send(bytes).await.is_err() {
                    return Err(wrong("the transfer was aborted"));
                }
            }
            Event::Output(Stream::Stderr, bytes) => stderr.extend(bytes),
            Event::Exited(exit) => return read(exit, stderr),
            Event::Lost(error) => return Err(error),
        }
    }
    Err(Error::new(
        ErrorKind::Other,
        "the command's events ended early",
    ))
}

fn read(exit: Exit, stderr: Vec<u8>) -> Result<()> {
    match exit {
        Exit::Code(shell::MISSING) => Err(wrong("it does not exist")),
        Exit::Code(shell::DIRECTORY) => Err(wrong("it is a directory")),
        Exit::Code(shell::UNREADABLE) => Err(wrong("it may not be read")),
        exit => said_no(Finished {
            exit,
            stdout: Vec::new(),
            stderr,
        }),
    }
}

/// The instance's own words, where it refused: it works, and the request does not.
fn said_no(outcome: Finished) -> Result<()> {
    match outcome.complaint() {
        Some(words) => Err(wrong(words)),
        None => Ok(()),
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, message.into())
}
