//! A test process's connection: answers each request of `Target` on the instances of the test's lease.
//!
//! Running commands are killed when the client disconnects or the lease ends. Must not know how a lease is acquired
//! or ended, nor the protocol to an instance.

mod fixture;
mod input;
mod ports;
mod program;
pub(super) mod results;
mod transfer;

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use target_fixtures::wire::{
    Act, BrokerRequest, CHUNK, Exit, FailureKind, Question, Reply, ShellCommand,
};
use tokio::sync::mpsc;

use super::{
    active_lease::ActiveLease,
    connection::{ClientConnection, Replies, Requests, failure_of, out_of_turn},
    fixtures::{SharedFixtures, Which},
    previous::PreviousLookup,
};
use crate::{
    connect::{self, CommandEvent, LiveConnection, Running},
    error::{Error, ErrorKind, Result},
    provision::{BoxFuture, Machine},
    run_event::Sink,
};
use input::{Fed, InputFeed};
use transfer::Way;

/// The parts of the broker that clients of leases use.
pub(super) struct SessionParts {
    pub(super) fixtures: Arc<SharedFixtures>,
    pub(super) sink: Sink,
    pub(super) previous: Option<Arc<PreviousLookup>>,
    /// The file for `ssh -F`.
    pub(super) ssh_config: PathBuf,
}

/// Serves one client of a lease until the client disconnects or the lease ends.
pub(super) async fn serve(
    sessions: &SessionParts,
    connection: &mut ClientConnection,
    held: &ActiveLease,
) -> io::Result<()> {
    let ended = held.ended();
    tokio::pin!(ended);
    loop {
        // Check the end first: nothing may start on an instance that another test may hold.
        let request = tokio::select! {
            biased;
            () = &mut ended => return Ok(()),
            request = connection.requests.recv() => request,
        };
        let Some((request, _)) = request else {
            return Ok(());
        };
        // A forwarding lasts until its client disconnects, and leaves no process behind.
        let ends = !matches!(request, BrokerRequest::Forward { .. });
        if ends {
            held.begin();
        }
        tokio::select! {
            biased;
            () = &mut ended => return Ok(()),
            answered = answer(sessions, connection, held, request) => answered?,
        }
        if ends {
            held.finish();
        }
    }
}

async fn answer(
    sessions: &SessionParts,
    connection: &mut ClientConnection,
    held: &ActiveLease,
    request: BrokerRequest,
) -> io::Result<()> {
    let ClientConnection {
        requests, replies, ..
    } = connection;
    let reply = match request {
        BrokerRequest::Skip { reason } => {
            held.skip(reason);
            Reply::Done
        }
        BrokerRequest::ExpectFail { reason } => {
            held.expect_fail(reason);
            Reply::Done
        }
        BrokerRequest::Failed { message, lost } => {
            held.failed(message, lost);
            Reply::Done
        }
        BrokerRequest::Record(measurement) => {
            let attempt = held.attempt().map(|(attempt, _)| attempt);
            results::record(&sessions.sink, attempt, measurement)
        }
        BrokerRequest::Previous(query) => {
            let attempt = held.attempt().map(|(attempt, _)| &attempt.case);
            results::previous(sessions, attempt, query).await
        }
        BrokerRequest::SubResult(result) => results::sub_result(&sessions.sink, held, result),
        request @ (BrokerRequest::FixtureOfTest { .. }
        | BrokerRequest::FixtureDown { .. }
        | BrokerRequest::FixturesTook { .. }) => {
            fixture::of_test(&sessions.fixtures, held, request)
        }
        BrokerRequest::Fixture {
            name,
            source,
            scope,
        } => {
            let which = Which { name, source };
            fixture::share(
                &sessions.fixtures,
                (requests, replies),
                held,
                (&which, &scope),
            )
            .await?
        }
        // Input of a command that has ended.
        BrokerRequest::Data | BrokerRequest::End | BrokerRequest::Signal { .. } => return Ok(()),
        request => match instance_of(&request).map(|instance| held.at(instance)) {
            None => Reply::Failed(out_of_turn(&request)),
            Some(Err(failure)) => Reply::Failed(failure),
            Some(Ok(at)) => on_instance(sessions, (requests, replies), held, at, &request).await?,
        },
    };
    replies.send(&reply).await
}

/// Returns the instance of a request.
fn instance_of(request: &BrokerRequest) -> Option<&str> {
    match request {
        BrokerRequest::Exec { instance, .. }
        | BrokerRequest::Put { instance, .. }
        | BrokerRequest::Get { instance, .. }
        | BrokerRequest::Upload { instance, .. }
        | BrokerRequest::Download { instance, .. }
        | BrokerRequest::Program { instance, .. }
        | BrokerRequest::Ping { instance, .. }
        | BrokerRequest::Ask { instance, .. }
        | BrokerRequest::Act { instance, .. }
        | BrokerRequest::Forward { instance, .. } => Some(instance),
        _ => None,
    }
}

/// Answers a request for an instance. Returns the last reply; earlier replies are sent.
async fn on_instance(
    sessions: &SessionParts,
    (requests, replies): (&mut Requests, &mut Replies),
    held: &ActiveLease,
    at: &Machine,
    request: &BrokerRequest,
) -> io::Result<Reply> {
    let done = |done: Result<()>| done.map(|()| Reply::Done);
    let answered = match request {
        BrokerRequest::Exec { command, stdin, .. } => {
            exec(requests, replies, held, at, (command, *stdin)).await?
        }
        BrokerRequest::Put { path, mode, .. } => {
            done(transfer::put(requests, replies, held, at, (path, *mode)).await?)
        }
        BrokerRequest::Get { path, .. } => {
            done(transfer::get(requests, replies, held, at, path).await?)
        }
        BrokerRequest::Upload { from, to, .. } => {
            transfer::copy(requests, replies, held, at, (Way::Up, from, to)).await?
        }
        BrokerRequest::Download { from, to, .. } => {
            transfer::copy(requests, replies, held, at, (Way::Down, from, to)).await?
        }
        BrokerRequest::Program { name, .. } => {
            program::put(requests, replies, held, at, name).await?
        }
        BrokerRequest::Forward { to, .. } => {
            ports::forward(&sessions.ssh_config, (requests, replies), held, at, to).await?
        }
        request => {
            let answer = held.unless_lost(ask(at, request, held.set().ready_timeout()));
            tokio::select! {
                answer = answer => answer,
                gone = input::gone(requests) => return Err(gone),
            }
        }
    };
    if let (BrokerRequest::Exec { command, .. }, Ok(reply)) = (request, &answered) {
        results::command(&sessions.sink, held, at, command, reply);
    }
    Ok(match answered {
        Ok(reply) => {
            at.connection().heard();
            reply
        }
        Err(error) => failed(at.connection(), &error, &told(request), at.name()),
    })
}

/// Answers a request that needs a single reply. `ready_timeout` is the target's limit for a boot.
async fn ask(
    at: &Machine,
    request: &BrokerRequest,
    ready_timeout: Option<Duration>,
) -> Result<Reply> {
    match request {
        BrokerRequest::Ask { question, .. } => {
            let value = at.ask(question).await?;
            Ok(Reply::Answer { value })
        }
        BrokerRequest::Act { act, limit, .. } => {
            // The target knows how long its machines take to come up.
            let up = ready_timeout.filter(|_| act.goes_down());
            let limit = up.unwrap_or(Duration::from_millis(*limit));
            at.act(act, limit).await?;
            Ok(Reply::Done)
        }
        BrokerRequest::Ping { limit, .. } => {
            let took = at.ping(Duration::from_millis(*limit)).await?;
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            Ok(Reply::Pong { micros })
        }
        other => Err(Error::new(
            ErrorKind::Usage,
            format!("unexpected request: {other:?}"),
        )),
    }
}

/// Describes a request for messages: completes "failed to ...".
fn told(request: &BrokerRequest) -> String {
    match request {
        BrokerRequest::Exec { command, .. } => format!("run `{}`", command.text()),
        BrokerRequest::Put { path, .. } => format!("write `{path}`"),
        BrokerRequest::Get { path, .. } => format!("read `{path}`"),
        BrokerRequest::Upload { from, to, .. } => format!("put `{from}` to `{to}`"),
        BrokerRequest::Download { from, .. } => format!("get `{from}`"),
        BrokerRequest::Program { name, .. } => format!("put program `{name}`"),
        BrokerRequest::Forward { to, .. } => format!("forward {to}"),
        BrokerRequest::Act { act, .. } => match act {
            Act::Reboot => "reboot".to_owned(),
            Act::Restart => "restart".to_owned(),
            Act::ExpectCrash => "expect a crash".to_owned(),
            Act::AwaitCrash { .. } => "see the expected crash".to_owned(),
            Act::Type { .. } => "write to the console".to_owned(),
            Act::Snapshot { name } => format!("save snapshot `{name}`"),
            Act::Restore { name } => format!("restore snapshot `{name}`"),
            Act::Link { nic, .. } => format!("set link {nic}"),
            Act::Install { packages } => format!("install {}", packages.join(" ")),
        },
        BrokerRequest::Ask { question, .. } => match question {
            Question::Facts => "collect the machine's facts".to_owned(),
            Question::Listens { port } => format!("query port {port}"),
            Question::Package { name } => format!("ask for package `{name}`"),
            Question::Service { name } => format!("ask for service `{name}`"),
            Question::User { name } => format!("ask for user `{name}`"),
            Question::File { path } => format!("query file `{path}`"),
            Question::Console { .. } => "read the console".to_owned(),
            Question::Address => "find the address".to_owned(),
        },
        _ => "get an answer".to_owned(),
    }
}

async fn exec(
    requests: &mut Requests,
    replies: &mut Replies,
    held: &ActiveLease,
    at: &Machine,
    (command, stdin): (&ShellCommand, bool),
) -> io::Result<Result<Reply>> {
    let (send, receive) = mpsc::channel(4);
    let started = Instant::now();
    let stdin = stdin.then_some((send, receive)).unzip();
    let running = match connect::start(&*at.transport(), command, &held.id, stdin.1).await {
        Ok(running) => running,
        Err(error) => return Ok(Err(error)),
    };
    let feed = stdin.0.map_or_else(InputFeed::none, InputFeed::command);
    let exit = follow(running, feed, requests, replies, (held, at)).await?;
    Ok(exit.map(|exit| {
        let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Reply::Exited { exit, millis }
    }))
}

/// Relays a command's output to the client and the client's input to the command, until the command ends.
async fn follow(
    mut running: Running,
    mut feed: InputFeed,
    requests: &mut Requests,
    replies: &mut Replies,
    (held, at): (&ActiveLease, &Machine),
) -> io::Result<Result<Exit>> {
    let mut signals = Signals::default();
    loop {
        let next = tokio::select! {
            event = held.unless_lost(async { Ok(running.events.recv().await) }) => event,
            crash = at.expected_crash() => Err(crash),
            signalled = signals.next(), if !signals.0.is_empty() => {
                replies.send(&signalled).await?;
                continue;
            }
            fed = feed.next(requests) => {
                match fed? {
                    Fed::Took(bytes) => replies.send(&Reply::Took { bytes }).await?,
                    Fed::Signal(name) => signals.0.push_back(Box::pin(running.signal(&name))),
                }
                continue;
            }
        };
        match next {
            Ok(Some(CommandEvent::Output(stream, bytes))) => {
                for piece in bytes.chunks(CHUNK) {
                    replies.send_with(&Reply::Data { stream }, piece).await?;
                }
            }
            Ok(Some(CommandEvent::Exited(exit))) => {
                // The signal that ended the command may be answered after the exit.
                while !signals.0.is_empty() {
                    let signalled = signals.next().await;
                    replies.send(&signalled).await?;
                }
                return Ok(Ok(exit));
            }
            Ok(Some(CommandEvent::Lost(error))) | Err(error) => return Ok(Err(error)),
            Ok(None) => break,
        }
    }
    Ok(Err(Error::new(
        ErrorKind::Other,
        "the command ended without an exit status",
    )))
}

/// The results of signals that were sent to a command, in order.
#[derive(Default)]
struct Signals(VecDeque<BoxFuture<'static, Result<()>>>);

impl Signals {
    /// Returns the reply to the first signal. Cancel safe.
    async fn next(&mut self) -> Reply {
        let Some(first) = self.0.front_mut() else {
            return std::future::pending().await;
        };
        let sent = first.await;
        self.0.pop_front();
        Reply::Signalled {
            failed: sent.err().as_ref().map(failure_of),
        }
    }
}

/// Builds the reply of a failed request, with the request in its message.
fn failed(line: &LiveConnection, error: &Error, what: &str, instance: &str) -> Reply {
    let mut failure = failure_of(error);
    if failure.kind != FailureKind::Request {
        line.doubt();
    }
    // The message of a lost instance does not depend on the request.
    if failure.kind != FailureKind::Infra {
        failure.message = format!("{what} on `{instance}`: {}", failure.message);
    }
    Reply::Failed(failure)
}
