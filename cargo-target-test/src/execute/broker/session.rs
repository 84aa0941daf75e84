//! A test process's connection: answers each request of `Target` on the instances of the test's lease.
//!
//! Running commands are killed when the client disconnects or the lease ends. Must not know how a lease is acquired
//! or ended, nor the protocol to an instance.

mod fixture;
mod input;
mod network;
mod ports;
mod results;
mod transfer;

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use serde_json::json;
use target_fixtures::wire::{
    Act, BrokerRequest, CHUNK, Exit, FailureKind, Question, Reply, ShellCommand,
};
use tokio::sync::mpsc;

use super::{
    Server,
    active_lease::ActiveLease,
    connection::{ClientConnection, Replies, Requests, failure_of, out_of_turn, request_failure},
    fixtures::Which,
};
use crate::{
    connect::{self, CommandEvent, LiveConnection, Running, own_command},
    error::{Error, Result},
    provision::{BoxFuture, Machine},
};
use input::{Fed, InputDestination, InputFeed};

/// A client of a lease.
struct Client<'a> {
    server: &'a Server,
    held: &'a ActiveLease,
    requests: &'a mut Requests,
    replies: &'a mut Replies,
}

/// The last reply to a request, or the reason that the request failed; an error if the client has gone.
type Answer<T = Reply> = io::Result<Result<T>>;

/// Serves one client of a lease until the client disconnects or the lease ends.
pub(super) async fn serve(
    server: &Server,
    connection: &mut ClientConnection,
    held: &ActiveLease,
) -> io::Result<()> {
    let ClientConnection {
        requests, replies, ..
    } = connection;
    let mut client = Client {
        server,
        held,
        requests,
        replies,
    };
    let ended = held.ended();
    tokio::pin!(ended);
    loop {
        // Check the end first: nothing may start on an instance that another test may hold.
        let request = tokio::select! {
            biased;
            () = &mut ended => return Ok(()),
            request = client.requests.recv() => request,
        };
        let Some((request, _)) = request else {
            return Ok(());
        };
        // These last until the client disconnects, and leave no process behind.
        let ends = !matches!(
            request,
            BrokerRequest::Forward { .. } | BrokerRequest::AwaitStop
        );
        if ends {
            held.begin();
        }
        tokio::select! {
            biased;
            () = &mut ended => return Ok(()),
            answered = client.answer(request) => answered?,
        }
        if ends {
            held.finish();
        }
    }
}

impl Client<'_> {
    async fn answer(&mut self, request: BrokerRequest) -> io::Result<()> {
        let (held, server) = (self.held, self.server);
        let reply = match request {
            BrokerRequest::Skip { reason } => {
                held.said().skipped = Some(reason);
                Reply::Done
            }
            BrokerRequest::ExpectFail { reason } => {
                held.said().expected = Some(reason);
                Reply::Done
            }
            BrokerRequest::Failed { message, lost } => {
                held.said().failed = Some((message, lost));
                Reply::Done
            }
            BrokerRequest::Record(measurement) => {
                let attempt = held.attempt.get().map(|(attempt, _)| attempt);
                server.record(attempt, measurement)
            }
            BrokerRequest::Previous(query) => {
                let case = held.attempt.get().map(|(attempt, _)| &attempt.case);
                server.previous(case, query).await
            }
            BrokerRequest::SubResult(result) => {
                let attempt = held.attempt.get().map(|(attempt, _)| attempt);
                server.sub_result(attempt, result)
            }
            BrokerRequest::Orchestration => match held.orchestration() {
                Some(plan) => {
                    held.said().orchestration = Some(plan.name.clone());
                    Reply::Answer { value: json!(plan) }
                }
                None => Reply::Failed(request_failure("find the orchestration of this test")),
            },
            BrokerRequest::OrchestrationEnded => {
                held.said().orchestration = None;
                Reply::Done
            }
            BrokerRequest::ClockStarts => {
                held.clock_starts();
                Reply::Done
            }
            BrokerRequest::AwaitStop => Reply::Answer {
                value: json!(held.stopped().await),
            },
            BrokerRequest::Progress { text } => {
                server.show_progress(&text);
                Reply::Done
            }
            request @ (BrokerRequest::FixtureOfTest { .. }
            | BrokerRequest::FixtureDown { .. }
            | BrokerRequest::FixturesTook { .. }) => {
                fixture::of_test(&server.fixtures, held, request)
            }
            BrokerRequest::Fixture {
                name,
                source,
                scope,
            } => {
                let maker = held.maker();
                let machine = maker.placed.map(|placed| placed.machine.clone());
                let which = Which {
                    name,
                    source,
                    machine,
                };
                self.share(&which, scope).await?
            }
            BrokerRequest::Network {
                environment,
                network,
                act,
            } => network::act(held, &environment, &network, act).await,
            // Input of a command that has ended.
            BrokerRequest::Data | BrokerRequest::End | BrokerRequest::Signal { .. } => {
                return Ok(());
            }
            request => match instance_of(&request).map(|instance| held.at(instance)) {
                None => Reply::Failed(out_of_turn(&request)),
                Some(Err(failure)) => Reply::Failed(failure),
                Some(Ok(at)) => self.on_instance(at, &request).await?,
            },
        };
        self.replies.send(&reply).await
    }

    /// Answers a request for an instance. Returns the last reply; earlier replies are sent.
    async fn on_instance(&mut self, at: &Machine, request: &BrokerRequest) -> io::Result<Reply> {
        let answered = match request {
            BrokerRequest::Exec { command, stdin, .. } => self.exec(at, command, *stdin).await?,
            BrokerRequest::Put { path, mode, .. } => self.put(at, path, *mode).await?,
            BrokerRequest::Get { path, .. } => self.get(at, path).await?,
            BrokerRequest::Upload { from, to, .. } => self.upload(at, from, to).await?,
            BrokerRequest::Download { from, to, .. } => self.download(at, from, to).await?,
            BrokerRequest::Program { name, .. } => self.put_program(at, name).await?,
            BrokerRequest::Forward { to, .. } => self.forward(at, to).await?,
            BrokerRequest::Connect { to, .. } => match ports::line_to(to) {
                Ok(line) => self.exec(at, &own_command(line, None), true).await?,
                Err(error) => Err(error),
            },
            BrokerRequest::Act {
                act: Act::Fault { fault },
                ..
            } if !self.held.allows(at.name(), fault.kind()) => {
                let message = format!("fault `{}` is not allowed", fault.kind());
                Err(Error::usage(message))
            }
            request => {
                let ready_timeout = self.held.set.ready_timeout();
                let answer = self.held.unless_lost(ask(at, request, ready_timeout));
                tokio::select! {
                    answer = answer => answer,
                    gone = input::gone(self.requests) => return Err(gone),
                }
            }
        };
        if let (BrokerRequest::Exec { command, .. }, Ok(reply)) = (request, &answered) {
            self.emit_command(at, command, reply);
        }
        Ok(match answered {
            Ok(reply) => {
                at.connection().heard();
                reply
            }
            Err(error) => failed(at.connection(), &error, &told(request), at.name()),
        })
    }

    async fn exec(&mut self, at: &Machine, command: &ShellCommand, stdin: bool) -> Answer {
        let (send, receive) = mpsc::channel(4);
        let started = Instant::now();
        let (to, stdin) = stdin.then_some((send, receive)).unzip();
        let running = connect::start(&*at.transport(), command, &self.held.id, stdin).await;
        let running = match running {
            Ok(running) => running,
            Err(error) => return Ok(Err(error)),
        };
        let feed = InputFeed::new(to.map_or(InputDestination::None, InputDestination::Command));
        let exit = self.follow(at, running, feed).await?;
        Ok(exit.map(|exit| {
            let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            Reply::Exited { exit, millis }
        }))
    }

    /// Relays a command's output to the client and the client's input to the command, until the command ends.
    async fn follow(
        &mut self,
        at: &Machine,
        mut running: Running,
        mut feed: InputFeed,
    ) -> Answer<Exit> {
        let Self {
            held,
            requests,
            replies,
            ..
        } = self;
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
                    held.left_nothing(running.has_left_nothing());
                    return Ok(Ok(exit));
                }
                Ok(Some(CommandEvent::Lost(error))) | Err(error) => return Ok(Err(error)),
                Ok(None) => {
                    let message = "the command ended without an exit status";
                    return Ok(Err(Error::other(message)));
                }
            }
        }
    }
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
        | BrokerRequest::Forward { instance, .. }
        | BrokerRequest::Connect { instance, .. } => Some(instance),
        _ => None,
    }
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
        other => Err(Error::usage(format!("unexpected request: {other:?}"))),
    }
}

/// Describes a request for messages: completes "failed to ...".
pub(in crate::execute) fn told(request: &BrokerRequest) -> String {
    match request {
        BrokerRequest::Exec { command, .. } => format!("run `{}`", command.text()),
        BrokerRequest::Put { path, .. } => format!("write `{path}`"),
        BrokerRequest::Get { path, .. } => format!("read `{path}`"),
        BrokerRequest::Upload { from, to, .. } => format!("put `{from}` to `{to}`"),
        BrokerRequest::Download { from, .. } => format!("get `{from}`"),
        BrokerRequest::Program { name, .. } => format!("put program `{name}`"),
        BrokerRequest::Forward { to, .. } => format!("forward {to}"),
        BrokerRequest::Connect { to, .. } => format!("connect to {to}"),
        BrokerRequest::Act { act, .. } => match act {
            Act::Reboot => "reboot".to_owned(),
            Act::Restart => "restart".to_owned(),
            Act::ExpectCrash => "expect a crash".to_owned(),
            Act::AwaitCrash { .. } => "see the expected crash".to_owned(),
            Act::Type { .. } => "write to the console".to_owned(),
            Act::Snapshot { name } => format!("save snapshot `{name}`"),
            Act::Restore { name } => format!("restore snapshot `{name}`"),
            Act::Link { nic, .. } => format!("set link {nic}"),
            Act::Fault { fault } => format!("cause fault `{}`", fault.kind()),
            Act::EndFault { kind } => format!("end fault `{kind}`"),
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
