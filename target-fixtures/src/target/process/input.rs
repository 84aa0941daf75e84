//! The standard input of a running command, and signals to it.
//!
//! Must not know its output.

use std::{
    fmt,
    io::{self, Read},
    mem,
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Result, SharedProcess};
use crate::{
    client::{Window, broken},
    error::{ErrorKind, Placed, TargetError},
    wire::{BrokerRequest, CHUNK, write_frame},
};

/// A handle to the standard input of a [`Process`](super::Process), from [`Process::input`](super::Process::input). One
/// thread can write while another thread reads the output or kills the process.
#[derive(Clone)]
pub struct ProcessInput(Arc<SharedProcess>);

/// The sending half of the connection to a command.
pub(super) struct Sending {
    stream: UnixStream,
    window: Window,
    /// True while the input is open. The lock is held to send a frame, so that frames do not mix and no data follows
    /// the end of the input.
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

    /// Adds `bytes`, which the command has read, to the window.
    pub(super) fn widen(&self, bytes: usize) {
        self.window.widen(bytes);
    }

    /// Ends waiting writes and closes the connection; the broker kills the command if it still runs.
    pub(super) fn close(&self) {
        self.window.close();
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Locks `open`. The broker always keeps reading, so the lock is never held for long.
    fn open(&self) -> MutexGuard<'_, bool> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, request: &BrokerRequest, body: &[u8]) -> io::Result<()> {
        let _turn = self.open();
        write_frame(&mut &self.stream, request, body)
    }

    /// Sends a piece of input; returns false if the input is closed.
    fn send_piece(&self, piece: &[u8]) -> io::Result<bool> {
        let open = self.open();
        if *open {
            write_frame(&mut &self.stream, &BrokerRequest::Data, piece)?;
        }
        Ok(*open)
    }

    /// Closes the input, and ends waiting writes.
    fn end_input(&self) {
        let mut open = self.open();
        if mem::take(&mut *open) {
            // An error means that the command has ended.
            let _ = write_frame(&mut &self.stream, &BrokerRequest::End, &[]);
            self.window.close();
        }
    }
}

impl SharedProcess {
    /// Sends a frame; succeeds without effect if the command has ended.
    pub(super) fn send(&self, request: &BrokerRequest, body: &[u8]) -> Result<()> {
        self.unless_over(self.sending.send(request, body), ())
    }

    /// Returns the result of sending, or `over` if sending failed because the command has ended.
    fn unless_over<T>(&self, sent: io::Result<T>, over: T) -> Result<T> {
        match sent {
            Err(error) if self.is_running() => Err(broken(&error)),
            sent => Ok(sent.unwrap_or(over)),
        }
    }

    /// Sends `input` until its end or the end of the command.
    pub(super) fn feed(&self, mut input: Box<dyn Read + Send>) {
        let send = |request: &BrokerRequest, body: &[u8]| self.sending.send(request, body);
        if self.sending.window.send_all(&mut *input, send).is_err() {
            // If `input` cannot be read further, close the command's input.
            let _ = self.sending.send(&BrokerRequest::End, &[]);
        }
    }
}

impl ProcessInput {
    pub(super) fn new(shared: Arc<SharedProcess>) -> Self {
        Self(shared)
    }

    /// Writes to the standard input. Up to 1 MiB of unread input is buffered here, and some more in transit. Beyond
    /// that, the call blocks; other commands, the output of this command and signals to it are not affected. The call
    /// returns when the command reads or ends: by itself, by its [`timeout`](crate::Command::timeout), by
    /// [`kill`](super::Process::kill), because its [`Process`](super::Process) is dropped, or because another thread
    /// [closes](Self::close) the input, as [`Process::wait`](super::Process::wait) does.
    ///
    /// # Errors
    /// If the command ends while the call blocks: the same error as [`Process::wait`](super::Process::wait)
    /// ([`ErrorKind::Exit`], [`ErrorKind::Timeout`], ...). [`ErrorKind::Request`] after [`close`](Self::close).
    /// [`ErrorKind::Infra`] if the broker is gone. Input that is buffered without blocking is not an error, even if the
    /// command never reads it.
    #[track_caller]
    pub fn write(&self, bytes: impl AsRef<[u8]>) -> Result<()> {
        let SharedProcess { sending, .. } = &*self.0;
        for piece in bytes.as_ref().chunks(CHUNK) {
            let fits = sending.window.take(piece.len());
            if !fits && *sending.open() {
                let what = |names| {
                    format!("write to {names}: the command ended without reading its input")
                };
                return Err(self.0.end_error(what).placed());
            }
            let sent = || self.0.unless_over(sending.send_piece(piece), true);
            if !fits || !sent().placed()? {
                return Err(self.closed().placed());
            }
        }
        Ok(())
    }

    fn closed(&self) -> TargetError {
        let command = &self.0.exit_check.command;
        let what = format!("write to `{command}`: its input is closed");
        TargetError::new(ErrorKind::Request, what)
    }

    /// Closes the standard input: the command reads end-of-file after the data written so far. A blocked
    /// [`write`](Self::write) in another thread fails.
    pub fn close(&self) {
        self.0.sending.end_input();
    }
}

impl fmt::Debug for ProcessInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = &self.0.exit_check.command;
        f.debug_tuple("ProcessInput").field(command).finish()
    }
}
