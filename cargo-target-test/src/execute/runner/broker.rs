//! The runner's side of the broker's protocol: the connection of one case.
//!
//! Must not know processes.

use std::{
    io::{BufReader, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::Path,
};

use target_fixtures::wire::{
    BrokerRequest, EarlyEnd, Failure, FailureKind, PROTOCOL, Reply, Run, StartRequest, read_frame,
    write_frame,
};

use super::child::{CaughtSignals, ChildEnd, gone};
use crate::{
    case::verdict::Verdict,
    error::{Error, Result},
    process::{readable, ready},
    ui,
};

/// The broker's instruction to the runner.
pub(super) enum Told {
    /// Start the test.
    Run(Box<Run>),
    /// Print and exit.
    Print {
        /// The text.
        text: String,
        /// The exit code.
        code: i32,
    },
    /// No instance is available.
    Refused(Failure),
}

/// A message of the broker about a running test.
pub(super) enum News {
    /// The time limit of the test counts from now on.
    ClockStarts,
    /// The test must end: an instance is lost, or the broker has gone.
    Lost(Failure),
}

/// The connection to the broker.
pub(super) struct BrokerClient {
    stream: BufReader<UnixStream>,
}

impl BrokerClient {
    /// Connects to the broker's socket.
    pub(super) fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).map_err(|_| unusable(&gone()))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends the hello and the start request together, and prints progress until the answer. A signal (nextest's time
    /// limit or an interrupt) ends the wait soon.
    pub(super) fn start(&mut self, start: StartRequest, signals: &CaughtSignals) -> Result<Told> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let protocol = PROTOCOL;
        let start = BrokerRequest::Start(start);
        let mut frames = Vec::new();
        write_frame(
            &mut frames,
            &BrokerRequest::Hello { protocol, version },
            &[],
        )
        .and_then(|()| write_frame(&mut frames, &start, &[]))
        .and_then(|()| self.stream.get_mut().write_all(&frames))
        .map_err(|_| unusable(&gone()))?;
        loop {
            if !self.readable(signals) {
                // The broker notices that the runner gave up, and replies with the reason.
                let _ = self.stream.get_ref().shutdown(Shutdown::Write);
            }
            match self.read()? {
                Reply::Welcome { .. } => {}
                Reply::Note { text } => ui::note(&text),
                Reply::Run(_) if signals.caught() => {
                    let message = "interrupted before the test began";
                    return Ok(Told::Refused(Failure::new(FailureKind::Infra, message)));
                }
                Reply::Run(run) => return Ok(Told::Run(run)),
                Reply::Print { text, code } => return Ok(Told::Print { text, code }),
                Reply::Refused(failure) => return Ok(Told::Refused(failure)),
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// Reports the end of the test, waits for the verdict, with the reason if the test failed as expected, and prints the
    /// broker's notes. Returns `None` if the broker has gone.
    pub(super) fn finished(&mut self, ended: &ChildEnd) -> Option<(Verdict, Option<String>)> {
        let report = BrokerRequest::Finished {
            exit: ended.exit.clone(),
            timed_out: ended.timed_out.is_some(),
            interrupted: ended.interrupted,
            millis: u64::try_from(ended.duration.as_millis()).unwrap_or(u64::MAX),
        };
        match self.ask(&report) {
            Ok(Reply::Judged {
                verdict,
                reason,
                notes,
            }) => {
                notes.iter().for_each(ui::note);
                Some((Verdict::from_wire(verdict, reason.clone()), reason))
            }
            _ => None,
        }
    }

    /// Waits until a reply is readable. Returns false if a signal came first.
    fn readable(&self, signals: &CaughtSignals) -> bool {
        while self.stream.buffer().is_empty() && !signals.caught() {
            let fds = [self.fd(), signals.fd()].map(|fd| Some(readable(fd)));
            if ready(fds, None).is_ok_and(|[reply, _]| reply) {
                return true;
            }
        }
        !signals.caught()
    }

    /// Sends a request and reads its answer.
    fn ask(&mut self, request: &BrokerRequest) -> Result<Reply> {
        self.send(request)?;
        loop {
            match self.read()? {
                // On its way when the test ended.
                Reply::ClockStarts => {}
                reply => return Ok(reply),
            }
        }
    }

    fn send(&mut self, request: &BrokerRequest) -> Result<()> {
        let stream = self.stream.get_mut();
        let sent = write_frame(stream, request, &[]).and_then(|()| stream.flush());
        sent.map_err(|_| unusable(&gone()))
    }

    fn read(&mut self) -> Result<Reply> {
        read_frame(&mut self.stream)
            .map(|(reply, _)| reply)
            .map_err(|_| unusable(&gone()))
    }

    /// Reports the pid of the test process.
    ///
    /// # Errors
    /// Fails if the broker has gone.
    pub(super) fn started(&mut self, pid: u32) -> Result<()> {
        self.send(&BrokerRequest::Started { pid })
    }

    /// Asks the test's orchestration to end.
    ///
    /// # Errors
    /// Fails if the broker has gone.
    pub(super) fn stop(&mut self, reason: EarlyEnd) -> Result<()> {
        self.send(&BrokerRequest::Stop { reason })
    }

    /// Returns a descriptor that is readable when the broker tells something about a running test.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.get_ref().as_fd()
    }

    /// Returns the message of the broker, once the descriptor is readable.
    pub(super) fn news(&mut self) -> News {
        match self.read() {
            Ok(Reply::ClockStarts) => News::ClockStarts,
            Ok(Reply::Refused(failure)) => News::Lost(failure),
            _ => News::Lost(gone()),
        }
    }
}

fn unusable(failure: &Failure) -> Error {
    let error = Error::infra(format!("infra: {}", failure.message));
    match &failure.hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn unexpected(reply: &Reply) -> Error {
    Error::other(format!("unexpected reply of the broker: {reply:?}"))
}
