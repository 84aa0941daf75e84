//! One client's connection: reads and writes frames, and removes secrets from frames that users see.
//!
//! A separate task reads, so that cancelling a wait loses no part of a frame. Must not know what frames mean.

use std::{io, time::Duration};

use target_fixtures::wire::{
    BrokerRequest, Failure, FailureKind, PROTOCOL, Reply, lengths_of, write_frame,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinHandle,
    time,
};

use crate::{
    error::{Error, ErrorKind},
    secret::redact,
};

/// The number of frames that are read ahead.
const AHEAD: usize = 8;
/// The time limit for a client's hello.
const HELLO: Duration = Duration::from_secs(10);

/// Requests of a client; `None` after the client disconnected.
pub(super) type Requests = mpsc::Receiver<(BrokerRequest, Vec<u8>)>;

/// Both directions of a connection after the hello.
pub(super) struct ClientConnection {
    pub(super) requests: Requests,
    pub(super) replies: Replies,
    _reader: Reader,
}

/// The task that reads. The task ends with the connection, even if the client keeps the socket open.
struct Reader(JoinHandle<()>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The sending side of a connection.
pub(super) struct Replies {
    to: OwnedWriteHalf,
    /// Frames to send with the next reply.
    held: Vec<u8>,
}

impl ClientConnection {
    /// Accepts a new connection and answers its hello.
    pub(super) async fn accept(stream: UnixStream) -> io::Result<Self> {
        let (read, write) = stream.into_split();
        let (send, requests) = mpsc::channel(AHEAD);
        let mut connection = Self {
            requests,
            replies: Replies {
                to: write,
                held: Vec::new(),
            },
            _reader: Reader(tokio::spawn(read_all(read, send))),
        };
        let hello = time::timeout(HELLO, connection.requests.recv()).await;
        let refused = match hello.ok().flatten() {
            Some((
                BrokerRequest::Hello {
                    protocol: PROTOCOL, ..
                },
                _,
            )) => {
                let version = env!("CARGO_PKG_VERSION").to_owned();
                let welcome = Reply::Welcome { version };
                if connection.requests.is_empty() {
                    connection.replies.send(&welcome).await?;
                } else {
                    // The client did not wait for the welcome: send it with the first answer, so that the client wakes
                    // once.
                    connection.replies.hold(&welcome)?;
                }
                return Ok(connection);
            }
            Some((BrokerRequest::Hello { protocol, version }, _)) => Failure {
                kind: FailureKind::Version,
                message: format!(
                    "protocol {protocol} of target-fixtures {version} is not protocol {PROTOCOL} of \
                     cargo-target-test {}",
                    env!("CARGO_PKG_VERSION")
                ),
                hint: Some("use the same version of both".to_owned()),
            },
            _ => request_failure("the first frame must be a hello"),
        };
        connection.replies.send(&Reply::Refused(refused)).await?;
        Err(io::ErrorKind::InvalidData.into())
    }
}

impl Replies {
    pub(super) async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        self.send_with(reply, &[]).await
    }

    pub(super) async fn send_with(&mut self, reply: &Reply, body: &[u8]) -> io::Result<()> {
        let mut frames = std::mem::take(&mut self.held);
        match for_people(reply) {
            Some(reply) => write_frame(&mut frames, &reply, body)?,
            None => write_frame(&mut frames, reply, body)?,
        }
        self.to.write_all(&frames).await
    }

    fn hold(&mut self, reply: &Reply) -> io::Result<()> {
        write_frame(&mut self.held, reply, &[])
    }
}

/// Returns a reply that users see, without secrets; `None` if users do not see it.
fn for_people(reply: &Reply) -> Option<Reply> {
    let mut reply = match reply {
        Reply::Note { .. }
        | Reply::Print { .. }
        | Reply::Judged { .. }
        | Reply::Refused(_)
        | Reply::Failed(_) => reply.clone(),
        _ => return None,
    };
    match &mut reply {
        Reply::Note { text } | Reply::Print { text, .. } => redact(text),
        Reply::Judged { reason, .. } => reason.iter_mut().for_each(redact),
        Reply::Refused(failure) | Reply::Failed(failure) => {
            redact(&mut failure.message);
            failure.hint.iter_mut().for_each(redact);
        }
        _ => {}
    }
    Some(reply)
}

/// Builds the failure of an invalid request.
pub(super) fn request_failure(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Request, message)
}

/// Builds the failure of a request that the protocol does not allow at this point.
pub(super) fn out_of_turn(request: &BrokerRequest) -> Failure {
    request_failure(format!("answer: unexpected request: {request:?}"))
}

/// Converts an error to the failure that a client receives.
pub(in crate::execute) fn failure_of(error: &Error) -> Failure {
    let kind = match error.kind() {
        _ if error.is_crash() => FailureKind::Crash,
        ErrorKind::Timeout => FailureKind::Timeout,
        ErrorKind::Usage => FailureKind::Request,
        ErrorKind::Unfit => FailureKind::Skip,
        _ => FailureKind::Infra,
    };
    let hint = error.hint().map(str::to_owned);
    Failure {
        hint,
        ..Failure::new(kind, error.chain())
    }
}

/// Reads frames until the client disconnects, sends an invalid frame or the receiver is dropped.
async fn read_all(read: OwnedReadHalf, send: mpsc::Sender<(BrokerRequest, Vec<u8>)>) {
    let mut read = BufReader::with_capacity(64 << 10, read);
    while let Ok(frame) = read_one(&mut read).await {
        if send.send(frame).await.is_err() {
            return;
        }
    }
}

async fn read_one(read: &mut BufReader<OwnedReadHalf>) -> io::Result<(BrokerRequest, Vec<u8>)> {
    let mut lengths = [0; 8];
    read.read_exact(&mut lengths).await?;
    let [header, body] = lengths_of(lengths)?;
    let mut bytes = vec![0; header + body];
    read.read_exact(&mut bytes).await?;
    let body = bytes.split_off(header);
    Ok((serde_json::from_slice(&bytes)?, body))
}
