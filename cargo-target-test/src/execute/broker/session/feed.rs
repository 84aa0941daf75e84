//! What a client sends while its request is answered: input on its way to a reader, and signals that overtake it.
//!
//! Owns what waits, which the protocol bounds: so it always reads on, and sees at once when the client is gone. Must not
//! know commands or files.

use std::{collections::VecDeque, io};

use target_fixtures::wire::{Request, WINDOW};
use tokio::sync::mpsc;

use super::Requests;
use crate::connect::files::Piece;

/// The input of one request.
pub(super) struct InputFeed {
    to: To,
    waiting: VecDeque<Piece>,
    /// How many bytes wait.
    bytes: usize,
}

/// Where it goes.
enum To {
    /// Nowhere: none is expected, or nobody reads it any more.
    None,
    Command(mpsc::Sender<Vec<u8>>),
    File(mpsc::Sender<Piece>),
}

/// What came of it.
pub(super) enum Fed {
    /// So many bytes have found their reader.
    Took(usize),
    /// A signal for the command, by name.
    Signal(String),
}

impl InputFeed {
    pub(super) fn none() -> Self {
        Self::new(To::None)
    }

    pub(super) fn command(stdin: mpsc::Sender<Vec<u8>>) -> Self {
        Self::new(To::Command(stdin))
    }

    pub(super) fn file(content: mpsc::Sender<Piece>) -> Self {
        Self::new(To::File(content))
    }

    fn new(to: To) -> Self {
        Self {
            to,
            waiting: VecDeque::new(),
            bytes: 0,
        }
    }

    /// What comes next; loses nothing when it is dropped. An error: the client is gone, or out of turn.
    pub(super) async fn next(&mut self, requests: &mut Requests) -> io::Result<Fed> {
        loop {
            let waits = !self.waiting.is_empty();
            tokio::select! {
                request = requests.recv() => match request {
                    Some((Request::Data, bytes)) => {
                        self.bytes += bytes.len();
                        if self.bytes > WINDOW {
                            return Err(io::ErrorKind::InvalidData.into());
                        }
                        self.waiting.push_back(Piece::Data(bytes));
                    }
                    Some((Request::End, _)) => self.waiting.push_back(Piece::End),
                    Some((Request::Signal { signal }, _)) if is_signal(&signal) => {
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

    /// Gives the first of what waits to its reader, when there is room; how many bytes it took. A receiver may stop
    /// listening earlier: a command need not read all its input. What is left then is dropped, and nobody took it: who
    /// sends more waits for the command's end, on every transport.
    async fn pass_on(&mut self) -> usize {
        let bytes = match self.waiting.front() {
            Some(Piece::Data(bytes)) => bytes.len(),
            Some(Piece::End) | None => 0,
        };
        let reads = match &self.to {
            To::None => {
                self.waiting.pop_front();
                false
            }
            To::Command(to) => {
                let room = to.reserve().await;
                match (room, self.waiting.pop_front()) {
                    (Ok(room), Some(Piece::Data(bytes))) => {
                        room.send(bytes);
                        true
                    }
                    _ => false,
                }
            }
            To::File(to) => {
                let room = to.reserve().await;
                match (room, self.waiting.pop_front()) {
                    (Ok(room), Some(piece)) => {
                        room.send(piece);
                        true
                    }
                    _ => false,
                }
            }
        };
        self.bytes -= bytes;
        if reads {
            return bytes;
        }
        self.to = To::None;
        0
    }
}

/// Done when the client is gone, or sends what nobody expects.
pub(super) async fn gone(requests: &mut Requests) -> io::Error {
    let mut feed = InputFeed::none();
    loop {
        if let Err(gone) = feed.next(requests).await {
            return gone;
        }
    }
}

/// Whether this may stand in a command line as a signal's name.
fn is_signal(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
