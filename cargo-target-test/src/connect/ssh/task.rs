//! One command on one channel: started, fed, read, ended, or killed.
//!
//! Owns a command's course. Must not know other commands or the connection's state: an error that ends
//! the whole session is returned as [`Dead`].

use std::{
    io::{Read, Write},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use ssh2::Channel;
use target_fixtures::wire::{Exit, Stream};
use tokio::sync::mpsc;

use super::{
    Job,
    io::{Dead, Io, Trouble},
    outbox::Outbox,
};
use crate::{
    connect::{Event, input, shell, timed_out},
    error::{Error, ErrorKind},
};

/// How many pieces a command is fed before others have their turn.
const PIECES: usize = 32;

pub(super) struct Task {
    pub(super) channel: Channel,
    pub(super) outbox: Outbox,
    /// Whether its last event is in the outbox.
    pub(super) finished: bool,
    /// As in its job.
    pub(super) internal: bool,
    _load: Option<Arc<()>>,
    wrapped: shell::Wrapped,
    timeout: Option<Duration>,
    expires: Option<Instant>,
    /// When the instance had agreed to run it.
    began: Option<Instant>,
    filter: shell::Filter,
    input: Input,
    killing: Option<Killing>,
    signals: Option<mpsc::UnboundedReceiver<String>>,
    /// Signals on their way, whose arrival nobody waits for.
    signalling: Vec<mpsc::Receiver<Event>>,
}

struct Input {
    receiver: Option<mpsc::Receiver<Vec<u8>>>,
    chunk: Vec<u8>,
    at: usize,
    end: bool,
}

/// A kill under way.
struct Killing {
    /// What to say when it is over; nothing where nobody listens.
    verdict: Option<Event>,
    done: mpsc::Receiver<Event>,
    until: Instant,
}

impl Task {
    pub(super) fn new(job: Job, channel: Channel) -> Self {
        Self {
            channel,
            outbox: Outbox::new(job.events),
            finished: false,
            internal: job.internal,
            filter: shell::Filter::new(&job.wrapped.nonce),
            _load: job._load,
            wrapped: job.wrapped,
            timeout: job.timeout,
            expires: job.expires,
            began: None,
            input: Input {
                end: false,
                receiver: job.stdin,
                chunk: Vec::new(),
                at: 0,
            },
            killing: None,
            signals: job.signals,
            signalling: Vec::new(),
        }
    }

    /// Whether the instance has still to agree to run it.
    pub(super) fn is_starting(&self) -> bool {
        self.began.is_none()
    }

    /// Whether libssh2 holds something for it that it would take.
    pub(super) fn has_more(&self) -> bool {
        !self.finished && !self.outbox.is_full() && (self.channel.read_window().available > 0)
    }

    /// When it must be looked at again.
    pub(super) fn due(&self) -> Option<Instant> {
        let timeout = self
            .began
            .zip(self.timeout)
            .map(|(began, timeout)| began + timeout);
        let killed = self.killing.as_ref().map(|killing| killing.until);
        killed.or_else(|| timeout.into_iter().chain(self.expires).min())
    }

    /// Asks the instance to run it, and feeds it.
    pub(super) fn write(&mut self, io: &mut Io<'_, '_>) -> Result<(), Dead> {
        if self.began.is_none() && !self.finished {
            match self.channel.exec(&self.wrapped.line) {
                Ok(()) => {
                    self.began = Some(Instant::now());
                    io.progress = true;
                }
                Err(error) => {
                    if let Trouble::Channel(text) = io.sort(&error)? {
                        self.end_lost(io, &format!("would not run a command: {text}"));
                    }
                    return Ok(());
                }
            }
        }
        for _ in 0..PIECES {
            if self.finished || !self.feed(io)? {
                break;
            }
            io.progress = true;
        }
        Ok(())
    }

    /// Feeds one piece; whether there may be more.
    fn feed(&mut self, io: &mut Io<'_, '_>) -> Result<bool, Dead> {
        let input = &mut self.input;
        if input.at < input.chunk.len() {
            match self.channel.write(&input.chunk[input.at..]) {
                Ok(written) => {
                    input.at += written;
                    return Ok(written > 0);
                }
                Err(error) => {
                    if let Trouble::Channel(_) = io.sort_io(&error)? {
                        // Nobody reads there any more: the command's end says the rest.
                        *input = Input {
                            receiver: None,
                            chunk: Vec::new(),
                            at: 0,
                            end: false,
                        };
                    }
                    return Ok(false);
                }
            }
        }
        if let Some(receiver) = &mut input.receiver {
            match receiver.poll_recv(io.context) {
                Poll::Ready(Some(chunk)) => (input.chunk, input.at) = (chunk, 0),
                Poll::Ready(None) => (input.receiver, input.end) = (None, true),
                Poll::Pending => return Ok(false),
            }
            return Ok(true);
        }
        if input.end {
            match self.channel.send_eof() {
                Ok(()) => input.end = false,
                Err(error) => {
                    if let Trouble::Channel(_) = io.sort(&error)? {
                        input.end = false;
                    }
                }
            }
        }
        Ok(false)
    }

    /// Passes its output on, and notices its end.
    pub(super) fn read(&mut self, io: &mut Io<'_, '_>) -> Result<(), Dead> {
        if self.finished || self.began.is_none() {
            return Ok(());
        }
        for (id, stream) in [(0, Stream::Stdout), (1, Stream::Stderr)] {
            if self.outbox.is_full() {
                return Ok(());
            }
            match self.channel.stream(id).read(io.buffer) {
                Ok(0) => {}
                Ok(read) => {
                    io.progress = true;
                    let bytes = match stream {
                        Stream::Stdout => self.filter.stdout(&io.buffer[..read]),
                        Stream::Stderr => self.filter.stderr(&io.buffer[..read]),
                    };
                    if !bytes.is_empty() {
                        self.outbox.push(Event::Output(stream, bytes));
                        self.outbox.flush(io.context);
                    }
                }
                Err(error) => {
                    if let Trouble::Channel(text) = io.sort_io(&error)? {
                        self.end_lost(io, &format!("closed the command's channel: {text}"));
                        return Ok(());
                    }
                }
            }
        }
        self.notice_end(io)
    }

    fn notice_end(&mut self, io: &mut Io<'_, '_>) -> Result<(), Dead> {
        if self.killing.is_some() {
            // Its verdict stands.
        } else if let Some(code) = self.filter.exit() {
            self.end(io, Event::Exited(Exit::Code(code)));
        } else if self.channel.eof() {
            match self.channel.wait_close() {
                Ok(()) => self.end_without_trailer(io),
                Err(error) => {
                    if let Trouble::Channel(text) = io.sort(&error)? {
                        self.end_lost(io, &format!("closed the command's channel: {text}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// The shell that would have told the exit code is gone. libssh2 would call that exit code 0.
    fn end_without_trailer(&mut self, io: &mut Io<'_, '_>) {
        let signal = self
            .channel
            .exit_signal()
            .ok()
            .and_then(|exit| exit.exit_signal);
        match signal {
            Some(signal) if self.filter.has_started() => {
                self.end(io, Event::Exited(Exit::Signal(signal)));
            }
            _ if self.filter.has_started() => {
                let text = "did not tell how the command ended: its shell was killed, or the server closed \
                     the channel (`ChannelTimeout` in its `sshd_config`)";
                self.end_lost(io, text);
            }
            _ => {
                let noise = self.filter.noise();
                let text = "did not run the command: its login shell said";
                self.end_lost(io, &format!("{text} `{}`", noise.trim()));
            }
        }
    }

    fn end(&mut self, io: &mut Io<'_, '_>, event: Event) {
        self.outbox.push(event);
        self.outbox.flush(io.context);
        self.finished = true;
        io.progress = true;
    }

    fn end_lost(&mut self, io: &mut Io<'_, '_>, what: &str) {
        let error = Error::new(ErrorKind::Infra, format!("`{}` {what}", io.instance));
        self.end(io, Event::Lost(error));
    }

    /// The session is gone.
    pub(super) fn lose(mut self, error: Error) -> Outbox {
        let verdict = self.killing.and_then(|killing| killing.verdict);
        self.outbox.push(verdict.unwrap_or(Event::Lost(error)));
        self.outbox
    }

    /// Lets it go on with its reader, its timeout and its kill. Where it must be killed: the job that
    /// does so.
    pub(super) fn tend(
        &mut self,
        instance: &str,
        context: &mut Context<'_>,
        answer: Duration,
    ) -> Option<Job> {
        self.outbox.flush(context);
        if self.finished {
            return None;
        }
        let now = Instant::now();
        let late = self.due().is_some_and(|due| due <= now);
        if let Some(killing) = &mut self.killing {
            if late || !matches!(killing.done.poll_recv(context), Poll::Pending) {
                if let Some(verdict) = killing.verdict.take() {
                    self.outbox.push(match late {
                        true => unconfirmed(instance, verdict),
                        false => verdict,
                    });
                    self.outbox.flush(context);
                }
                self.finished = true;
            }
            return None;
        }
        let mut verdict = late.then(|| Event::Lost(self.too_late(instance, now)));
        if !late && !self.outbox.is_gone() {
            match self.next_signal(context)?.as_str() {
                "KILL" => verdict = Some(Event::Exited(Exit::Signal("KILL".to_owned()))),
                name => return self.pass_on(name, now + answer),
            }
        }
        if self.internal {
            self.finished = true;
            return None;
        }
        let (job, done) = signal(&self.wrapped, self.filter.group(), "KILL", now + answer)?;
        self.killing = Some(Killing {
            verdict,
            done,
            until: now + answer,
        });
        Some(job)
    }

    fn next_signal(&mut self, context: &mut Context<'_>) -> Option<String> {
        match self.signals.as_mut()?.poll_recv(context) {
            Poll::Ready(Some(name)) => Some(name),
            Poll::Ready(None) => {
                self.signals = None;
                None
            }
            Poll::Pending => None,
        }
    }

    fn pass_on(&mut self, name: &str, expires: Instant) -> Option<Job> {
        let (job, done) = signal(&self.wrapped, self.filter.group(), name, expires)?;
        self.signalling.push(done);
        Some(job)
    }

    fn too_late(&self, instance: &str, now: Instant) -> Error {
        match self.timeout {
            Some(timeout) if self.began.is_some_and(|began| began + timeout <= now) => {
                timed_out(timeout)
            }
            _ => overdue(instance),
        }
    }
}

/// One of the transport's own commands was not done in time.
pub(super) fn overdue(instance: &str) -> Error {
    Error::new(
        ErrorKind::Infra,
        format!("`{instance}` did not answer in time"),
    )
}

/// What is told of a kill that nobody confirmed.
fn unconfirmed(instance: &str, verdict: Event) -> Event {
    Event::Lost(match verdict {
        Event::Lost(error) => {
            let text = format!("{error} (which the instance did not confirm)");
            Error::new(error.kind(), text)
        }
        _ => overdue(instance),
    })
}

/// A job that sends a command a signal, and where its end is told.
fn signal(
    wrapped: &shell::Wrapped,
    group: Option<u32>,
    name: &str,
    expires: Instant,
) -> Option<(Job, mpsc::Receiver<Event>)> {
    let (events, done) = mpsc::channel(4);
    let command = shell::signal(wrapped, group, name);
    let stdin = input(&command, None);
    let job = Job {
        wrapped: shell::wrap(&command, "", stdin.is_some()).ok()?,
        timeout: None,
        expires: Some(expires),
        stdin,
        events,
        signals: None,
        internal: true,
        _load: None,
    };
    Some((job, done))
}
