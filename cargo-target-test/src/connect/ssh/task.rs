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
    connect::{
        CommandEvent, CommandOutput, CommandStdin, SignalRequest, input,
        shell::{self, KeptShell, KeptShells},
        timed_out, unconfirmed,
    },
    error::{Error, Result},
};

/// The maximum number of input chunks that are written for one command per round.
const CHUNKS: usize = 32;

pub(super) struct Task {
    pub(super) channel: Channel,
    pub(super) outbox: Outbox,
    /// True if the last event is in the outbox, or if the command did not run.
    pub(super) finished: bool,
    /// True if the kept shell has ended without running the command.
    returned: bool,
    pub(super) job: Job,
    /// The kept shell that serves the command; `None` if the command has a login of its own.
    shell: Option<KeptShell>,
    /// The time at which the server started the command.
    started: Option<Instant>,
    filter: shell::Filter,
    input: CommandInput,
    killing: Option<Killing>,
    /// True if a signal was sent, which may arrive after the end of the command.
    signalled: bool,
    /// The time until which a kill waits for a kept shell to start the command.
    patience: Option<Instant>,
}

/// The remains of a task.
pub(super) enum Left {
    /// A channel to close.
    Channel(Channel, Outbox),
    /// A channel with a shell that may serve another command.
    Shell(Channel, KeptShell, Outbox),
    /// A channel to close, and the job that did not run on it.
    Job(Channel, Job),
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
    /// The request, if a signal is the cause.
    request: Option<SignalRequest>,
    done: mpsc::Receiver<CommandEvent>,
    stderr: Vec<u8>,
    until: Instant,
}

impl Killing {
    /// Returns the result of the kill once it has ended, or is late.
    fn poll(&mut self, instance: &str, context: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            let exit = match self.done.poll_recv(context) {
                Poll::Ready(Some(CommandEvent::Output(_, bytes))) => {
                    self.stderr.extend(bytes);
                    continue;
                }
                Poll::Ready(Some(CommandEvent::Exited(exit))) => exit,
                Poll::Ready(Some(CommandEvent::Lost(error))) => return Poll::Ready(Err(error)),
                Poll::Pending if self.until > Instant::now() => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => return Poll::Ready(Err(overdue(instance))),
            };
            let ended = CommandOutput {
                exit,
                stdout: Vec::new(),
                stderr: std::mem::take(&mut self.stderr),
            };
            return Poll::Ready(shell::signalled("KILL", ended));
        }
    }
}

impl Task {
    /// Creates a task that starts the command, or a kept shell for it, on a new channel.
    pub(super) fn new(mut job: Job, channel: Channel, shell: Option<KeptShell>) -> Self {
        let request = job.wrapped.request.clone().filter(|_| shell.is_some());
        Self {
            channel,
            outbox: Outbox::new(job.events.clone()),
            finished: false,
            returned: false,
            filter: shell::Filter::new(&job.wrapped.nonce),
            shell,
            started: None,
            input: CommandInput {
                receiver: job.stdin.take(),
                chunk: request.unwrap_or_default(),
                ..CommandInput::default()
            },
            job,
            killing: None,
            signalled: false,
            patience: None,
        }
    }

    /// Creates a task that sends the command to a kept shell.
    pub(super) fn on_shell(job: Job, channel: Channel, shell: KeptShell) -> Self {
        Self {
            started: Some(Instant::now()),
            ..Self::new(job, channel, Some(shell))
        }
    }

    /// Returns the channel and what follows on it or instead of it.
    pub(super) fn leave(mut self, kept: &KeptShells) -> Left {
        let Some(shell) = self.shell.take() else {
            return Left::Channel(self.channel, self.outbox);
        };
        if self.returned {
            kept.ended(&shell);
            return Left::Job(self.channel, self.job);
        }
        let exited = self.killing.is_none() && !self.signalled && self.filter.exit().is_some();
        match (self.filter.stamp()).and_then(|stamp| kept.served(shell, stamp)) {
            Some(shell) if exited => Left::Shell(self.channel, shell, self.outbox),
            _ => Left::Channel(self.channel, self.outbox),
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
        killed
            .or(self.patience)
            .or_else(|| timeout.into_iter().chain(self.job.expires).min())
    }

    /// Starts the command and writes its input.
    pub(super) fn write(&mut self, io: &mut Io<'_, '_>) -> Result<(), SessionError> {
        if self.started.is_none() && !self.finished {
            let kept = self.shell.as_ref().map(|_| shell::keep());
            match self
                .channel
                .exec(kept.as_deref().unwrap_or(&self.job.wrapped.line))
            {
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
        if self.shell.is_some() && self.filter.stamp().is_none() {
            (self.returned, self.finished, io.progress) = (true, true, true);
            return;
        }
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
        let late = self.patience.is_some() || self.due().is_some_and(|due| due <= now);
        if let Some(killing) = &mut self.killing {
            if let Poll::Ready(killed) = killing.poll(instance, context) {
                if let Some(last) = killing.last.take() {
                    self.outbox.push(match &killed {
                        Ok(()) => last,
                        Err(error) => unconfirmed(last, error.clone()),
                    });
                    self.outbox.flush(context);
                }
                if let Some(request) = killing.request.take() {
                    request.answer(killed);
                }
                self.finished = true;
            }
            return None;
        }
        if self.shell.is_some() && !self.filter.has_started() {
            // There is no process to signal yet.
            let ends = late || self.outbox.is_gone();
            if !ends || *self.patience.get_or_insert(now + answer) > now {
                return None;
            }
        }
        let mut last = late.then(|| CommandEvent::Lost(self.timeout_error(instance, now)));
        let mut request = None;
        if !late && !self.outbox.is_gone() {
            let next = self.next_signal(context)?;
            self.signalled = true;
            if next.name != "KILL" {
                return self.forward_signal(next, now + answer);
            }
            last = Some(CommandEvent::Exited(Exit::Signal("KILL".to_owned())));
            request = Some(next);
        }
        if self.job.internal {
            self.finished = true;
            return None;
        }
        let (events, done) = mpsc::channel(4);
        let job = self.signal("KILL", events, now + answer).ok()?;
        self.killing = Some(Killing {
            last,
            request,
            done,
            stderr: Vec::new(),
            until: now + answer,
        });
        Some(job)
    }

    fn next_signal(&mut self, context: &mut Context<'_>) -> Option<SignalRequest> {
        match self.job.signals.as_mut()?.poll_recv(context) {
            Poll::Ready(Some(request)) => Some(request),
            Poll::Ready(None) => {
                self.job.signals = None;
                None
            }
            Poll::Pending => None,
        }
    }

    /// Returns the job that sends a signal. The job may outlive the command: it answers the request itself.
    fn forward_signal(&mut self, request: SignalRequest, expires: Instant) -> Option<Job> {
        match self.signal(&request.name, request.sent.clone(), expires) {
            Ok(job) => Some(job),
            Err(error) => {
                request.answer(Err(error));
                None
            }
        }
    }

    /// Returns the job that sends a signal to the command.
    fn signal(
        &self,
        name: &str,
        events: mpsc::Sender<CommandEvent>,
        expires: Instant,
    ) -> Result<Job> {
        let command = shell::signal(&self.job.wrapped, self.filter.group(), name);
        let stdin = input(&command, None);
        Ok(Job {
            wrapped: shell::wrap(&command, "", stdin.is_some())?,
            timeout: None,
            expires: Some(expires),
            stdin,
            events,
            signals: None,
            internal: true,
            _fresh: None,
            _load: None,
        })
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
