//! Input that a client sends while its request is answered, and signals that overtake the input.
//!
//! The protocol bounds the queued input, so reading never stops and a disconnect is noticed at once. Must not know
//! commands or files.

use std::{collections::VecDeque, io};

use target_fixtures::wire::{BrokerRequest, WINDOW};
use tokio::sync::mpsc;

use super::super::connection::Requests;
use crate::connect::files::Piece;

/// The input of one request.
pub(super) struct InputFeed {
    to: InputDestination,
    waiting: VecDeque<Piece>,
    /// The number of queued bytes.
    bytes: usize,
}

/// The destination of the input.
pub(super) enum InputDestination {
    /// Discards the input: none is expected, or the reader has gone.
    None,
    Command(mpsc::Sender<Vec<u8>>),
    File(mpsc::Sender<Piece>),
}

/// An event of the feed.
pub(super) enum Fed {
    /// This number of bytes was delivered.
    Took(usize),
    /// A signal for the command, by name.
    Signal(String),
}

impl InputFeed {
    pub(super) fn new(to: InputDestination) -> Self {
        Self {
            to,
            waiting: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Returns the next event. Cancel safe.
    ///
    /// # Errors
    /// Fails if the client disconnected or sent an unexpected request.
    pub(super) async fn next(&mut self, requests: &mut Requests) -> io::Result<Fed> {
        loop {
            let waits = !self.waiting.is_empty();
            tokio::select! {
                request = requests.recv() => match request {
                    Some((BrokerRequest::Data, bytes)) => {
                        self.bytes += bytes.len();
                        if self.bytes > WINDOW {
                            return Err(io::ErrorKind::InvalidData.into());
                        }
                        self.waiting.push_back(Piece::Data(bytes));
                    }
                    Some((BrokerRequest::End, _)) => self.waiting.push_back(Piece::End),
                    Some((BrokerRequest::Signal { signal }, _)) if is_signal(&signal) => {
                        return Ok(Fed::Signal(signal));
                    }
                    Some(_) => return Err(io::ErrorKind::InvalidData.into()),
                    None => return Err(io::ErrorKind::UnexpectedEof.into()),
                },
                bytes = self.pass_on(), if waits => if bytes > 0 {
                    return Ok(Fed::Took(bytes));
                },
            }
        }
    }

    /// Delivers the first queued piece when the reader has room, and returns the number of delivered bytes. A command
    /// may stop reading before the end of its input. The rest is then discarded and not acknowledged, so a client that
    /// sends more waits for the command's end, on every transport.
    async fn pass_on(&mut self) -> usize {
        let bytes = match self.waiting.front() {
            Some(Piece::Data(bytes)) => bytes.len(),
            Some(Piece::End) | None => 0,
        };
        let waiting = &mut self.waiting;
        let reads = match &self.to {
            InputDestination::None => {
                waiting.pop_front();
                false
            }
            InputDestination::Command(to) => {
                let data = || match waiting.pop_front()? {
                    Piece::Data(bytes) => Some(bytes),
                    Piece::End => None,
                };
                deliver(to, data).await
            }
            InputDestination::File(to) => deliver(to, || waiting.pop_front()).await,
        };
        self.bytes -= bytes;
        if reads {
            return bytes;
        }
        self.to = InputDestination::None;
        0
    }
}

/// Sends a piece when the reader has room. Returns false if the reader has gone or there is no piece.
async fn deliver<T>(to: &mpsc::Sender<T>, piece: impl FnOnce() -> Option<T>) -> bool {
    let room = to.reserve().await;
    let (Ok(room), Some(piece)) = (room, piece()) else {
        return false;
    };
    room.send(piece);
    true
}

/// Completes when the client disconnects or sends an unexpected request.
pub(super) async fn gone(requests: &mut Requests) -> io::Error {
    let mut feed = InputFeed::new(InputDestination::None);
    loop {
        if let Err(gone) = feed.next(requests).await {
            return gone;
        }
    }
}

/// Returns true if `name` is safe as a signal in `kill -NAME`. A single letter would be another option of `kill`.
fn is_signal(name: &str) -> bool {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = name.len() > 1 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    !name.is_empty() && (is_number || is_name)
}
