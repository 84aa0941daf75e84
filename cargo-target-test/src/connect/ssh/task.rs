//! A program on a channel, from its start to its end.
//!
//! Must not know other programs or the state of the connection. An error of the whole session is a [`SessionError`].

use std::{
    io::{Read, Write},
    sync::Arc,
    task::{Context, Poll},
};

use ssh2::Channel;
use target_fixtures::wire::{Exit, Stream};
use tokio::sync::oneshot;

use super::{
    Job,
    io::{Io, SessionError},
    outbox::Outbox,
};
use crate::{
    connect::{
        CommandEvent, CommandStdin,
        shell::{self, KeptShell},
    },
    error::Error,
};

/// The maximum number of input chunks that are written for one command per round.
const CHUNKS: usize = 32;

pub(super) struct Task {
    pub(super) channel: Channel,
    pub(super) outbox: Outbox,
    /// The line that starts the program.
    line: String,
    /// True if the server has started the program.
    is_started: bool,
    /// True if the last event is in the outbox.
    finished: bool,
    input: CommandInput,
    /// Gives the kept shell back if it may serve another command.
    returned: oneshot::Receiver<KeptShell>,
    /// As [`Job::is_urgent`].
    pub(super) is_urgent: bool,
    _load: Option<Arc<()>>,
}

/// The standard input of the program.
#[derive(Default)]
struct CommandInput {
    receiver: Option<CommandStdin>,
    chunk: Vec<u8>,
    /// The number of bytes of the chunk that were written.
    at: usize,
    /// True if the end of the input must be sent.
    end: bool,
}

impl Task {
    /// Creates a task that starts the command, or a kept shell for it, on a new channel.
    pub(super) fn new(job: Job, channel: Channel, shell: Option<KeptShell>) -> Self {
        let (line, request) = match shell {
            Some(_) => (shell::keep(), job.request),
            None => (job.line, None),
        };
        // Fails if the receiver is gone.
        let _ = job.started.send(Ok(shell));
        Self {
            channel,
            outbox: Outbox::new(job.events),
            line,
            is_started: false,
            finished: false,
            input: CommandInput {
                receiver: job.stdin,
                chunk: request.unwrap_or_default(),
                ..CommandInput::default()
            },
            returned: job.returned,
            is_urgent: job.is_urgent,
            _load: job._load,
        }
    }

    /// Creates a task that sends the command to a kept shell.
    pub(super) fn on_shell(job: Job, channel: Channel, shell: KeptShell) -> Self {
        Self {
            is_started: true,
            ..Self::new(job, channel, Some(shell))
        }
    }

    /// Sends events; returns true if the program has ended or its receiver is gone.
    pub(super) fn has_ended(&mut self, context: &mut Context<'_>) -> bool {
        self.outbox.flush(context);
        self.finished || self.outbox.is_gone()
    }

    /// Returns the channel, the events that are not sent, and the shell if it may serve another command.
    pub(super) fn leave(mut self) -> (Channel, Outbox, Option<KeptShell>) {
        (self.channel, self.outbox, self.returned.try_recv().ok())
    }

    /// True if the server has not started the program yet.
    pub(super) fn is_starting(&self) -> bool {
        !self.is_started
    }

    /// True if libssh2 has buffered output that the outbox has room for.
    pub(super) fn has_more(&self) -> bool {
        !self.finished && !self.outbox.is_full() && (self.channel.read_window().available > 0)
    }

    /// Starts the command and writes its input.
    pub(super) fn write(&mut self, io: &mut Io<'_, '_>) -> Result<(), SessionError> {
        if !self.is_started && !self.finished {
            match self.channel.exec(&self.line) {
                Ok(()) => {
                    self.is_started = true;
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
        if self.finished || !self.is_started {
            return Ok(());
        }
        for (id, stream) in [(0, Stream::Stdout), (1, Stream::Stderr)] {
            if self.outbox.is_full() {
                return Ok(());
            }
            match self.channel.stream(id).read(&mut io.buffer) {
                Ok(0) => {}
                Ok(read) => {
                    io.progress = true;
                    let bytes = io.buffer[..read].to_vec();
                    self.outbox.push(CommandEvent::Output(stream, bytes));
                    self.outbox.flush(io.context);
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
        if self.channel.eof() {
            match self.channel.wait_close() {
                Ok(()) => self.end(io),
                Err(error) => {
                    if let Some(text) = io.classify(&error)? {
                        self.end_lost(io, &format!("closed the command's channel: {text}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends the program. Reports only a signal: without an exit status from the server, libssh2 returns 0.
    fn end(&mut self, io: &mut Io<'_, '_>) {
        let signal = self.channel.exit_signal().ok();
        let signal = signal.and_then(|exit| exit.exit_signal);
        self.finish(io, signal.map(Exit::Signal).map(CommandEvent::Exited));
    }

    fn end_lost(&mut self, io: &mut Io<'_, '_>, what: &str) {
        let error = Error::infra(format!("`{}` {what}", io.instance));
        self.finish(io, Some(CommandEvent::Lost(error)));
    }

    fn finish(&mut self, io: &mut Io<'_, '_>, last: Option<CommandEvent>) {
        last.into_iter().for_each(|last| self.outbox.push(last));
        (self.finished, io.progress) = (true, true);
    }

    /// Ends the program with the error of the session.
    pub(super) fn lose(mut self, error: Error) -> Outbox {
        self.outbox.push(CommandEvent::Lost(error));
        self.outbox
    }
}
