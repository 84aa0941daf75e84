//! A test process's connection: commands and files, on the instances of its lease.
//!
//! Owns the answer to each request of `Target`. Must not know how a lease is had or ended, nor the
//! protocol to an instance. Whatever runs is killed when the client goes or the lease ends.

use std::{io, sync::Arc, time::Instant};

use target_fixtures::wire::{CHUNK, Command, Exit, Failure, FailureKind, Reply, Request, Stream};
use tokio::sync::mpsc;

use super::{
    connection::{Connection, Replies, Requests, request_failure},
    held::Held,
    line::Line,
};
use crate::{
    error::{Error, ErrorKind, Result},
    execute::transport::{
        self, Event, Running,
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
    let reply = match request {
        Request::Skip { reason } => {
            held.skip(reason);
            Reply::Done
        }
        // What a command was sent after it had ended, without reading it all.
        Request::Data | Request::End | Request::Signal { .. } => return Ok(()),
        request => match instance_of(&request).map(|instance| (instance, held.line(instance))) {
            None => Reply::Failed(out_of_turn(&request)),
            Some((instance, None)) => unknown(instance),
            Some((_, Some(line))) => on_instance(requests, replies, held, &line, request).await?,
        },
    };
    replies.send(&reply).await
}

/// The instance that a request is for.
fn instance_of(request: &Request) -> Option<&str> {
    match request {
        Request::Exec { instance, .. }
        | Request::Put { instance, .. }
        | Request::Get { instance, .. }
        | Request::Ping { instance } => Some(instance),
        _ => None,
    }
}

/// Returns the last reply; those before it are sent.
async fn on_instance(
    requests: &mut Requests,
    replies: &mut Replies,
    held: &Held,
    line: &Line,
    request: Request,
) -> io::Result<Reply> {
    Ok(match request {
        Request::Exec {
            instance,
            command,
            stdin,
        } => match exec(requests, replies, held, line, &command, stdin).await? {
            Ok(exited) => exited,
            Err(error) => failed(line, &error, "run", &command.text(), &instance),
        },
        Request::Put {
            instance,
            path,
            mode,
        } => match put(requests, held, line, &path, mode).await? {
            Ok(()) => Reply::Done,
            Err(error) => failed(line, &error, "write", &path, &instance),
        },
        Request::Get { instance, path } => match get(requests, replies, held, line, &path).await? {
            Ok(()) => Reply::Done,
            Err(error) => failed(line, &error, "read", &path, &instance),
        },
        _ => ping(held, line).await,
    })
}

async fn ping(held: &Held, line: &Line) -> Reply {
    let asked = Instant::now();
    match held.unless_lost(line.transport.probe(PING)).await {
        Ok(_) => {
            line.heard();
            let micros = asked.elapsed().as_micros();
            Reply::Pong {
                micros: u64::try_from(micros).unwrap_or(u64::MAX),
            }
        }
        Err(error) => Reply::Failed(line.failed(&error)),
    }
}

async fn exec(
    requests: &mut Requests,
    replies: &mut Replies,
    held: &Held,
    line: &Line,
    command: &Command,
    stdin: bool,
) -> io::Result<Result<Reply>> {
    let (send, receive) = mpsc::channel(4);
    let started = Instant::now();
    let stdin = stdin.then_some((send, receive)).unzip();
    let content = transport::input(command, stdin.1);
    let running = line.transport.exec(command, &held.id, content);
    let signals = running.signals();
    let input = stdin.0.map_or(Input::None, Input::Stdin);
    let exit = tokio::select! {
        exit = pass_on(running, replies, held) => exit?,
        gone = forward(requests, input, Some(signals)) => return Err(gone),
    };
    Ok(exit.map(|exit| {
        line.heard();
        let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Reply::Exited { exit, millis }
    }))
}

/// Passes a command's output on, to its end.
async fn pass_on(
    mut running: Running,
    replies: &mut Replies,
    held: &Held,
) -> io::Result<Result<Exit>> {
    loop {
        let next = async { Ok(running.events.recv().await) };
        let event = match held.unless_lost(next).await {
            Ok(Some(event)) => event,
            Ok(None) => break,
            Err(lost) => return Ok(Err(lost)),
        };
        match event {
            Event::Output(stream, bytes) => {
                for piece in bytes.chunks(CHUNK) {
                    replies.send_with(&Reply::Data { stream }, piece).await?;
                }
            }
            Event::Exited(exit) => return Ok(Ok(exit)),
            Event::Lost(error) => return Ok(Err(error)),
        }
    }
    Ok(Err(Error::new(ErrorKind::Other, "it ended without a word")))
}

async fn put(
    requests: &mut Requests,
    held: &Held,
    line: &Line,
    path: &str,
    mode: u32,
) -> io::Result<Result<()>> {
    let (send, pieces) = mpsc::channel(4);
    let put = files::put(&*line.transport, &held.id, path, mode, pieces);
    tokio::select! {
        put = held.unless_lost(put) => Ok(put),
        gone = forward(requests, Input::File(send), None) => Err(gone),
    }
}

async fn get(
    requests: &mut Requests,
    replies: &mut Replies,
    held: &Held,
    line: &Line,
    path: &str,
) -> io::Result<Result<()>> {
    let (send, mut pieces) = mpsc::channel::<Vec<u8>>(4);
    let pass_on = async {
        while let Some(bytes) = pieces.recv().await {
            for piece in bytes.chunks(CHUNK) {
                let stream = Stream::Stdout;
                replies.send_with(&Reply::Data { stream }, piece).await?;
            }
        }
        Ok(())
    };
    let both = async {
        // The sender goes with the first, so that the second ends.
        let got = files::get(&*line.transport, &held.id, path, send);
        let (got, passed) = tokio::join!(held.unless_lost(got), pass_on);
        let passed: io::Result<()> = passed;
        passed.map(|()| got)
    };
    tokio::select! {
        got = both => got,
        gone = forward(requests, Input::None, None) => Err(gone),
    }
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
async fn forward(
    requests: &mut Requests,
    mut to: Input,
    signals: Option<mpsc::Sender<String>>,
) -> io::Error {
    loop {
        match (requests.recv().await, &to) {
            (Some((Request::Signal { name }, _)), _) if is_signal(&name) => {
                if let Some(signals) = &signals {
                    drop(signals.send(name).await);
                }
            }
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

/// Whether this may stand in a command line as a signal's name.
fn is_signal(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A failure for its reader, who knows what was asked but not by which means.
fn failed(line: &Line, error: &Error, verb: &str, what: &str, instance: &str) -> Reply {
    let mut failure = line.failed(error);
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
