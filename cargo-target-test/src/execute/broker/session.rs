//! A test process's connection: commands and files, on the instances of its lease.
//!
//! Owns the answer to each request of `Target`. Must not know how a lease is had or ended, nor the
//! protocol to an instance. Whatever runs is killed when the client goes or the lease ends.

use std::{io, sync::Arc, time::Instant};

use target_fixtures::wire::{CHUNK, Command, Failure, FailureKind, Reply, Request, Stream};
use tokio::sync::mpsc;

use super::{
    connection::{Connection, Replies, request_failure},
    held::Held,
    infra,
    line::Line,
};
use crate::{
    error::{Error, ErrorKind, Result},
    execute::transport::{
        Event, Transport,
        files::{self, Piece},
    },
};

/// How long a ping may take.
const PING: std::time::Duration = std::time::Duration::from_secs(10);

/// Serves one client of a lease until it is gone or the lease ends.
pub(super) async fn serve(connection: &mut Connection, held: &Arc<Held>) -> io::Result<()> {
    let ended = held.ended();
    tokio::pin!(ended);
    loop {
        let request = tokio::select! {
            request = connection.requests.recv() => request,
            () = &mut ended => return Ok(()),
        };
        let Some((request, _)) = request else {
            return Ok(());
        };
        let _working = held.working();
        tokio::select! {
            answered = answer(connection, held, request) => answered?,
            () = &mut ended => return Ok(()),
        }
    }
}

async fn answer(connection: &mut Connection, held: &Held, request: Request) -> io::Result<()> {
    let Connection { requests, replies } = connection;
    match request {
        Request::Exec {
            instance,
            command,
            stdin,
        } => match held.line(&instance) {
            Some(line) => {
                let lost = exec(requests, replies, held, &line, &command, stdin).await?;
                match lost {
                    Some(error) => {
                        replies
                            .send(&failed(&error, "run", &command.line, &instance))
                            .await
                    }
                    None => Ok(()),
                }
            }
            None => replies.send(&unknown(&instance)).await,
        },
        Request::Put {
            instance,
            path,
            mode,
        } => match held.line(&instance) {
            Some(line) => {
                let (send, pieces) = mpsc::channel(4);
                let reply = tokio::select! {
                    put = files::put(&*line.transport, &held.id, &path, mode, pieces) => {
                        put.map_or_else(|error| failed(&error, "write", &path, &instance), |()| Reply::Done)
                    }
                    gone = forward(requests, Input::File(send)) => return Err(gone),
                };
                replies.send(&reply).await
            }
            None => replies.send(&unknown(&instance)).await,
        },
        Request::Get { instance, path } => match held.line(&instance) {
            Some(line) => {
                let got = get(requests, replies, held, &*line.transport, &path).await?;
                let reply = got.map_or_else(
                    |error| failed(&error, "read", &path, &instance),
                    |()| Reply::Done,
                );
                replies.send(&reply).await
            }
            None => replies.send(&unknown(&instance)).await,
        },
        Request::Ping { instance } => {
            let asked = Instant::now();
            let reply = match held.line(&instance) {
                None => unknown(&instance),
                Some(line) => match line.transport.probe(PING).await {
                    Ok(_) => {
                        line.heard();
                        let micros = asked.elapsed().as_micros();
                        Reply::Pong {
                            micros: u64::try_from(micros).unwrap_or(u64::MAX),
                        }
                    }
                    Err(error) => Reply::Failed(infra(&error)),
                },
            };
            replies.send(&reply).await
        }
        Request::Skip { reason } => {
            held.skip(reason);
            replies.send(&Reply::Done).await
        }
        // What a command was sent after it had ended, without reading it all.
        Request::Data | Request::End => Ok(()),
        other => replies.send(&Reply::Failed(out_of_turn(&other))).await,
    }
}

async fn exec(
    requests: &mut mpsc::Receiver<(Request, Vec<u8>)>,
    replies: &mut Replies,
    held: &Held,
    line: &Line,
    command: &Command,
    stdin: bool,
) -> io::Result<Option<Error>> {
    let (send, receive) = mpsc::channel(4);
    let started = Instant::now();
    let mut running = line
        .transport
        .exec(command, &held.id, stdin.then_some(receive));
    let input = forward(
        requests,
        if stdin {
            Input::Stdin(send)
        } else {
            Input::None
        },
    );
    tokio::pin!(input);
    loop {
        let event = tokio::select! {
            event = running.events.recv() => event,
            gone = &mut input => return Err(gone),
        };
        match event {
            Some(Event::Output(stream, bytes)) => {
                for piece in bytes.chunks(CHUNK) {
                    replies.send_with(&Reply::Data { stream }, piece).await?;
                }
            }
            Some(Event::Exited(exit)) => {
                line.heard();
                let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                return replies
                    .send(&Reply::Exited { exit, millis })
                    .await
                    .map(|()| None);
            }
            Some(Event::Lost(error)) => return Ok(Some(error)),
            None => {
                return Ok(Some(Error::new(
                    ErrorKind::Other,
                    "it ended without a word",
                )));
            }
        }
    }
}

async fn get(
    requests: &mut mpsc::Receiver<(Request, Vec<u8>)>,
    replies: &mut Replies,
    held: &Held,
    transport: &dyn Transport,
    path: &str,
) -> io::Result<Result<()>> {
    let (send, mut pieces) = mpsc::channel::<Vec<u8>>(4);
    let got = files::get(transport, &held.id, path, send);
    let gone = forward(requests, Input::None);
    tokio::pin!(got, gone);
    let mut result = None;
    loop {
        tokio::select! {
            gone = &mut gone => return Err(gone),
            done = &mut got, if result.is_none() => result = Some(done),
            piece = pieces.recv() => match piece {
                Some(bytes) => {
                    for piece in bytes.chunks(CHUNK) {
                        replies.send_with(&Reply::Data { stream: Stream::Stdout }, piece).await?;
                    }
                }
                // The sender is gone with the finished future.
                None => break,
            },
        }
    }
    Ok(match result {
        Some(result) => result,
        None => got.await,
    })
}

/// Where the client's pieces go.
enum Input {
    /// Nowhere: none are expected.
    None,
    /// To a command.
    Stdin(mpsc::Sender<Vec<u8>>),
    /// To a file.
    File(mpsc::Sender<Piece>),
}

/// Passes pieces on up to the client's end mark; ends only when the client is gone or out of turn.
/// A receiver may stop listening earlier: a command need not read all its input.
async fn forward(requests: &mut mpsc::Receiver<(Request, Vec<u8>)>, mut to: Input) -> io::Error {
    loop {
        match (requests.recv().await, &to) {
            (Some((Request::Data, bytes)), Input::Stdin(send)) => drop(send.send(bytes).await),
            (Some((Request::Data, bytes)), Input::File(send)) => {
                drop(send.send(Piece::Data(bytes)).await);
            }
            (Some((Request::End, _)), _) => {
                if let Input::File(send) = &to {
                    drop(send.send(Piece::End).await);
                }
                to = Input::None;
            }
            (Some((Request::Data, _)), Input::None) => {}
            (Some(_), _) => return io::ErrorKind::InvalidData.into(),
            (None, _) => return io::ErrorKind::UnexpectedEof.into(),
        }
    }
}

/// A failure for its reader, who knows what was asked but not by which means.
fn failed(error: &Error, verb: &str, what: &str, instance: &str) -> Reply {
    let mut failure = infra(error);
    // A lost instance is told of as such, whatever it was asked for.
    if failure.kind != FailureKind::Infra {
        failure.message = format!("{verb} `{what}` on `{instance}`: {}", failure.message);
    }
    Reply::Failed(failure)
}

fn unknown(instance: &str) -> Reply {
    Reply::Failed(request_failure(format!(
        "use `{instance}`: it is not an instance of this lease"
    )))
}

fn out_of_turn(request: &Request) -> Failure {
    request_failure(format!("answer: out of turn: {request:?}"))
}
