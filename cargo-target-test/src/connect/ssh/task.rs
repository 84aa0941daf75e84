//! A command on a channel, from its start to its exit or kill.
//!
//! Must not know other commands or the state of the connection. An error of the whole session is a [`SessionError`].

use std::{
    io::{Read, Write},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use ssh2::Channel;
use target_fixtures::wire::{Exit, Stream};
use tokio::sync::mpsc;

use super::{
    Job,
    io::{Io, SessionError},
    outbox::Outbox,
};
use crate::{
    connect::{CommandEvent, CommandStdin, input, shell, timed_out},
    error::Error,
};

/// The maximum number of input chunks that are written for one command per round.
const CHUNKS: usize = 32;

pub(super) struct Task {
    pub(super) channel: Channel,
    pub(super) outbox: Outbox,
    /// True if the last event is in the outbox.
    pub(super) finished: bool,
    pub(super) job: Job,
    /// The time at which the server started the command.
    started: Option<Instant>,
    filter: shell::Filter,
    input: CommandInput,
    killing: Option<Killing>,
    /// The receivers of jobs that send signals: dropping one would cancel its job.
    signalling: Vec<mpsc::Receiver<CommandEvent>>,
}

/// The standard input of the command.
#[derive(Default)]
struct CommandInput {
    receiver: Option<CommandStdin>,
    chunk: Vec<u8>,
    /// The number of bytes of the chunk that were written.
    at: usize,
    /// True if the end of the input must be sent.
    end: bool,
}

/// A kill of the command that is in progress.
struct Killing {
    /// The last event of the command; `None` if its receiver is gone.
    last: Option<CommandEvent>,
    done: mpsc::Receiver<CommandEvent>,
    until: Instant,
}

impl Task {
    pub(super) fn new(mut job: Job, channel: Channel) -> Self {
        Self {
            channel,
            outbox: Outbox::new(job.events.clone()),
            finished: false,
            filter: shell::Filter::new(&job.wrapped.nonce),
            started: None,
            input: CommandInput {
                receiver: job.stdin.take(),
                ..CommandInput::default()
            },
            job,
            killing: None,
            signalling: Vec::new(),
        }
    }

    /// True if the server has not started the command yet.
    pub(super) fn is_starting(&self) -> bool {
        self.started.is_none()
    }

    /// True if libssh2 has buffered output that the outbox has room for.
    pub(super) fn has_more(&self) -> bool {
        !self.finished && !self.outbox.is_full() && (self.channel.read_window().available > 0)
    }

    /// Returns the next deadline of the command or of its kill.
    pub(super) fn due(&self) -> Option<Instant> {
        let timeout = self
            .started
            .zip(self.job.timeout)
            .map(|(started, timeout)| started + timeout);
        let killed = self.killing.as_ref().map(|killing| killing.until);
        killed.or_else(|| timeout.into_iter().chain(self.job.expires).min())
    }

    /// Starts the command and writes its input.
    pub(super) fn write(&mut self, io: &mut Io<'_, '_>) -> Result<(), SessionError> {
        if self.started.is_none() && !self.finished {
            match self.channel.exec(&self.job.wrapped.line) {
                Ok(()) => {
                    self.started = Some(Instant::now());
                    io.progress = true;
                }
                Err(error) => {
                    if let Some(text) = io.classify(&error)? {
                        self.end_lost(io, &format!("refused to run the command: {text}"));
                    }
                    return Ok(());
                }
            }
        }
        for _ in 0..CHUNKS {
            if self.finished || !self.feed(io)? {
                break;
            }
            io.progress = true;
        }
        Ok(())
    }

    /// Writes one chunk of input; returns true if there may be more.
    fn feed(&mut self, io: &mut Io<'_, '_>) -> Result<bool, SessionError> {
        let input = &mut self.input;
        if input.at < input.chunk.len() {
            match self.channel.write(&input.chunk[input.at..]) {
                Ok(written) => {
                    input.at += written;
                    return Ok(written > 0);
                }
                Err(error) => {
                    if io.classify_io(&error)?.is_some() {
                        // The command has closed its input. Its exit status is still reported.
                        *input = CommandInput::default();
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
            input.end = match self.channel.send_eof() {
                Ok(()) => false,
                Err(error) => io.classify(&error)?.is_none(),
            };
        }
        Ok(false)
    }

    /// Forwards output and detects the end of the command.
    pub(super) fn read(&mut self, io: &mut Io<'_, '_>) -> Result<(), SessionError> {
        if self.finished || self.started.is_none() {
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
                        self.outbox.push(CommandEvent::Output(stream, bytes));
                        self.outbox.flush(io.context);
                    }
                }
                Err(error) => {
                    if let Some(text) = io.classify_io(&error)? {
                        self.end_lost(io, &format!("closed the command's channel: {text}"));
                        return Ok(());
                    }
                }
            }
        }
        self.check_end(io)
    }

    fn check_end(&mut self, io: &mut Io<'_, '_>) -> Result<(), SessionError> {
        if self.killing.is_some() {
            // The last event is already decided.
        } else if let Some(exit) = self.filter.exit() {
            self.end(io, CommandEvent::Exited(exit));
        } else if self.channel.eof() {
            match self.channel.wait_close() {
                Ok(()) => self.end_without_marker(io),
                Err(error) => {
                    if let Some(text) = io.classify(&error)? {
                        self.end_lost(io, &format!("closed the command's channel: {text}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends a command whose end markers are missing. libssh2 reports exit code 0 in this case.
    fn end_without_marker(&mut self, io: &mut Io<'_, '_>) {
        let signal = self
            .channel
            .exit_signal()
            .ok()
            .and_then(|exit| exit.exit_signal);
        match signal {
            Some(signal) if self.filter.has_started() => {
                self.end(io, CommandEvent::Exited(Exit::Signal(signal)));
            }
            _ if self.filter.has_started() => {
                let text = "did not report the exit status of the command: its shell was killed, or the server closed \
                     the channel (`ChannelTimeout` in its `sshd_config`)";
                self.end_lost(io, text);
            }
            _ => {
                let noise = self.filter.noise();
                let text = "did not run the command; its login shell printed";
                self.end_lost(io, &format!("{text} `{}`", noise.trim()));
            }
        }
    }

    fn end(&mut self, io: &mut Io<'_, '_>, event: CommandEvent) {
        self.outbox.push(event);
        self.outbox.flush(io.context);
        self.finished = true;
        io.progress = true;
    }

    fn end_lost(&mut self, io: &mut Io<'_, '_>, what: &str) {
        let error = Error::infra(format!("`{}` {what}", io.instance));
        self.end(io, CommandEvent::Lost(error));
    }

    /// Ends the command with the error of the session.
    pub(super) fn lose(mut self, error: Error) -> Outbox {
        let last = self.killing.and_then(|killing| killing.last);
        self.outbox.push(last.unwrap_or(CommandEvent::Lost(error)));
        self.outbox
    }

    /// Sends events, and checks the timeout and the progress of a kill. Returns the job that signals the command, if any.
    pub(super) fn update(
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
                if let Some(last) = killing.last.take() {
                    self.outbox.push(match late {
                        true => unconfirmed(instance, last),
                        false => last,
                    });
                    self.outbox.flush(context);
                }
                self.finished = true;
            }
            return None;
        }
        let mut last = late.then(|| CommandEvent::Lost(self.timeout_error(instance, now)));
        if !late && !self.outbox.is_gone() {
            match self.next_signal(context)?.as_str() {
                "KILL" => last = Some(CommandEvent::Exited(Exit::Signal("KILL".to_owned()))),
                name => return self.forward_signal(name, now + answer),
            }
        }
        if self.job.internal {
            self.finished = true;
            return None;
        }
        let (job, done) = signal(&self.job.wrapped, self.filter.group(), "KILL", now + answer)?;
        self.killing = Some(Killing {
            last,
            done,
            until: now + answer,
        });
        Some(job)
    }

    fn next_signal(&mut self, context: &mut Context<'_>) -> Option<String> {
        match self.job.signals.as_mut()?.poll_recv(context) {
            Poll::Ready(Some(name)) => Some(name),
            Poll::Ready(None) => {
                self.job.signals = None;
                None
            }
            Poll::Pending => None,
        }
    }

    fn forward_signal(&mut self, name: &str, expires: Instant) -> Option<Job> {
        let (job, done) = signal(&self.job.wrapped, self.filter.group(), name, expires)?;
        self.signalling.push(done);
        Some(job)
    }

    fn timeout_error(&self, instance: &str, now: Instant) -> Error {
        match self.job.timeout {
            Some(timeout) if self.started.is_some_and(|started| started + timeout <= now) => {
                timed_out(timeout)
            }
            _ => overdue(instance),
        }
    }
}

/// The error of a job whose deadline has passed.
pub(super) fn overdue(instance: &str) -> Error {
    Error::infra(format!("`{instance}` did not answer in time"))
}

/// Returns the last event of a command whose kill was not confirmed.
fn unconfirmed(instance: &str, last: CommandEvent) -> CommandEvent {
    CommandEvent::Lost(match last {
        CommandEvent::Lost(error) => {
            let text = format!("{error} (not confirmed by the instance)");
            Error::new(error.kind(), text)
        }
        _ => overdue(instance),
    })
}

/// Returns the job that sends a signal to a command, and the receiver of the job's events.
fn signal(
    wrapped: &shell::WrappedLine,
    group: Option<u32>,
    name: &str,
    expires: Instant,
) -> Option<(Job, mpsc::Receiver<CommandEvent>)> {
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
