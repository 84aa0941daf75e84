//! A test process's connection: commands and files, on the instances of its lease.
//!
//! Owns the answer to each request of `Target`. Must not know how a lease is had or ended, nor the
//! protocol to an instance. Whatever runs is killed when the client goes or the lease ends.

use std::{io, sync::Arc, time::Instant};

use target_fixtures::wire::{CHUNK, Command, Failure, Reply, Request, Stream};
use tokio::sync::mpsc;

use super::{
    connection::{Connection, Replies, request_failure},
    held::Held,
    line::Line,
};
use crate::execute::transport::{
    Event,
    files::{self, Piece},
};

/// How long a ping may take.
const PING: std::time::Duration = std::time::Duration::from_secs(10);

/// Serves one client of a lease until it is gone or the lease ends.
pub(super) async fn serve(connection: &mut Connection, held: &Arc<Held>) -> io::Result<()> {
    let ended = held.ended();
    tokio::pin!(ended);
    loop {
        // The end first: nothing starts on an instance that may be somebody else's.
        let request = tokio::select! {
            biased;
            () = &mut ended => return Ok(()),
            request = connection.requests.recv() => request,
        };
        let Some((request, _)) = request else {
            return Ok(());
        };
        held.begin();
        tokio::select! {
            biased;
            () = &mut ended => return Ok(()),
            answered = answer(connection, held, request) => answered?,
        }
        held.finish();
    }
}

async fn answer(connection: &mut Connection, held: &Held, request: Request) -> io::Result<()> {
    let Connection {
        requests, replies, ..
    } = connection;
    match request {
        Request::Exec {
            instance,
            command,
            stdin,
        } => match held.line(&instance) {
            Some(line) => exec(requests, replies, held, &line, &command, stdin).await,
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
                        put.map_or_else(|error| line.failed(&error), |()| Reply::Done)
                    }
                    gone = forward(requests, Input::File(send)) => return Err(gone),
                };
                replies.send(&reply).await
            }
            None => replies.send(&unknown(&instance)).await,
        },
        Request::Get { instance, path } => match held.line(&instance) {
            Some(line) => get(requests, replies, held, &line, &path).await,
            None => replies.send(&unknown(&instance)).await,
        },
        Request::Ping { instance } => {
            let reply = match held.line(&instance) {
                Some(line) => ping(&line).await,
                None => unknown(&instance),
            };
            replies.send(&reply).await
        }
        Request::Skip { reason } => {
            held.skip(reason);
            replies.send(&Reply::Done).await
        }
        other => replies.send(&Reply::Failed(out_of_turn(&other))).await,
    }
}

async fn ping(line: &Line) -> Reply {
    let asked = Instant::now();
    match line.transport.probe(PING).await {
        Ok(_) => {
            line.heard();
            let micros = asked.elapsed().as_micros();
            Reply::Pong {
                micros: u64::try_from(micros).unwrap_or(u64::MAX),
            }
        }
        Err(error) => line.failed(&error),
    }
}

async fn exec(
    requests: &mut mpsc::Receiver<(Request, Vec<u8>)>,
    replies: &mut Replies,
    held: &Held,
    line: &Line,
    command: &Command,
    stdin: bool,
) -> io::Result<()> {
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
                return replies.send(&Reply::Exited { exit, millis }).await;
            }
            Some(Event::Lost(error)) => return replies.send(&line.failed(&error)).await,
            None => {
                let failure = request_failure("the command ended without a word");
                return replies.send(&Reply::Failed(failure)).await;
            }
        }
    }
}

async fn get(
    requests: &mut mpsc::Receiver<(Request, Vec<u8>)>,
    replies: &mut Replies,
    held: &Held,
    line: &Line,
    path: &str,
) -> io::Result<()> {
    let (send, mut pieces) = mpsc::channel::<Vec<u8>>(4);
    let got = files::get(&*line.transport, &held.id, path, send);
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
    let result = match result {
        Some(result) => result,
        None => got.await,
    };
    let reply = result.map_or_else(|error| line.failed(&error), |()| Reply::Done);
    replies.send(&reply).await
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

fn unknown(instance: &str) -> Reply {
    Reply::Failed(request_failure(format!(
        "`{instance}` is not an instance of this lease"
    )))
}

fn out_of_turn(request: &Request) -> Failure {
    request_failure(format!("out of turn: {request:?}"))
}
