//! What goes to a running command: its standard input, and signals.
//!
//! Owns who may write, and for how long that waits. Must not know what comes back.

use std::{
    fmt,
    io::{self, Read},
    mem,
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Result, Shared};
use crate::{
    client::{Window, broken},
    error::{ErrorKind, TargetError},
    wire::{CHUNK, Request, write_frame},
};

/// The standard input of a [`Process`](super::Process), from [`Process::input`](super::Process::input): for a thread that
/// writes while another one reads, or kills.
#[derive(Clone)]
pub struct ProcessInput(Arc<Shared>);

/// The way to a command.
pub(super) struct Sending {
    stream: UnixStream,
    window: Window,
    /// Whether an author may write. Whoever sends has it: frames stay whole, and nothing follows the end of the input.
    open: Mutex<bool>,
}

impl Sending {
    pub(super) fn new(stream: UnixStream, open: bool) -> Self {
        Self {
            stream,
            window: Window::default(),
            open: Mutex::new(open),
        }
    }

    /// So much of what was sent has been read.
    pub(super) fn widen(&self, bytes: usize) {
        self.window.widen(bytes);
    }

    /// Nobody waits here any more, and the broker ends what still runs.
    pub(super) fn close(&self) {
        self.window.close();
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// The broker always reads on: nobody has this for long.
    fn open(&self) -> MutexGuard<'_, bool> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, request: &Request, body: &[u8]) -> io::Result<()> {
        let _turn = self.open();
        write_frame(&mut &self.stream, request, body)
    }

    /// Sends a piece of an author's; false when the input has ended.
    fn send_piece(&self, piece: &[u8]) -> io::Result<bool> {
        let open = self.open();
        if *open {
            write_frame(&mut &self.stream, &Request::Data, piece)?;
        }
        Ok(*open)
    }

    /// Ends the input; a write that waits ends, too.
    fn end_input(&self) {
        let mut open = self.open();
        if mem::take(&mut *open) {
            // Whoever is gone does not read.
            let _ = write_frame(&mut &self.stream, &Request::End, &[]);
            self.window.close();
        }
    }
}

impl Shared {
    /// Whoever is gone does not mind.
    pub(super) fn send(&self, request: &Request, body: &[u8]) -> Result<()> {
        self.unless_over(self.sending.send(request, body), ())
    }

    /// What came of sending; this, where nobody is there any more to mind.
    fn unless_over<T>(&self, sent: io::Result<T>, over: T) -> Result<T> {
        match sent {
            Err(error) if self.is_running() => Err(broken(&error)),
            sent => Ok(sent.unwrap_or(over)),
        }
    }

    /// Sends what the command is to read, to its end or the command's.
    pub(super) fn feed(&self, mut input: Box<dyn Read + Send>) {
        let send = |request: &Request, body: &[u8]| self.sending.send(request, body);
        if self.sending.window.send_all(&mut *input, send).is_err() {
            // The end of what could be read is the end of its input.
            let _ = self.sending.send(&Request::End, &[]);
        }
    }
}

impl ProcessInput {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Writes. What the command has not read yet is kept, 1 MiB of it here and some more on the way; beyond that this
    /// waits, and nothing else does: other commands, this one's output and signals to it go their way. The wait ends when
    /// the command reads, or ends: by itself, by its [`timeout`](crate::Command::timeout), by
    /// [`kill`](super::Process::kill), or because its [`Process`](super::Process) is dropped; or another thread
    /// [closes](Self::close) its input, as [`Process::wait`](super::Process::wait) does.
    ///
    /// # Errors
    /// When it ended while this waited: how, as [`Process::wait`](super::Process::wait) tells it ([`ErrorKind::Exit`],
    /// [`ErrorKind::Timeout`], ...). [`ErrorKind::Request`] after [`close`](Self::close), [`ErrorKind::Infra`] when the
    /// broker is gone. What need not wait is no error, whoever reads it.
    pub fn write(&self, bytes: impl AsRef<[u8]>) -> Result<()> {
        let Shared { sending, .. } = &*self.0;
        for piece in bytes.as_ref().chunks(CHUNK) {
            let fits = sending.window.take(piece.len());
            if !fits && *sending.open() {
                let what =
                    |names| format!("write to {names}: it does not read its input, and ended");
                return Err(self.0.told(what));
            }
            if !fits || !self.0.unless_over(sending.send_piece(piece), true)? {
                return Err(self.closed());
            }
        }
        Ok(())
    }

    fn closed(&self) -> TargetError {
        let command = &self.0.judgement.command;
        let what = format!("write to `{command}`: its input is closed");
        TargetError::new(ErrorKind::Request, what)
    }

    /// Ends it: the command reads what was written, then no more. A [`write`](Self::write) that another thread is in the
    /// midst of ends as one that comes after.
    pub fn close(&self) {
        self.0.sending.end_input();
    }
}

impl fmt::Debug for ProcessInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = &self.0.judgement.command;
        f.debug_tuple("ProcessInput").field(command).finish()
    }
}
