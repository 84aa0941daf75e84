//! Flow control of uploads: the number of bytes that may be sent before the reader has consumed them.
//!
//! A sender waits for room here and never blocks on the socket, so that the end of a request ends the wait.

use std::{
    io::{self, Read},
    sync::{Condvar, Mutex, PoisonError},
};

use crate::wire::{BrokerRequest, CHUNK, WINDOW};

/// The send window of one request.
pub(crate) struct Window {
    /// The number of bytes that may be sent, and true while the window is open.
    room: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            room: Mutex::new((WINDOW, true)),
            changed: Condvar::new(),
        }
    }
}

/// The cause of an incomplete upload: an error of the source, or of the socket.
pub(crate) enum Upload {
    Source(io::Error),
    Socket,
}

impl Window {
    /// Waits until `bytes` bytes fit into the window, and takes them out; returns false if the window is closed before.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |(room, open): &mut (usize, bool)| *room < bytes && *open;
        let waited = self.changed.wait_while(room, waits);
        let mut room = waited.unwrap_or_else(PoisonError::into_inner);
        let fits = bytes <= room.0;
        room.0 -= if fits { bytes } else { 0 };
        fits
    }

    /// Adds `bytes`, which the reader has consumed.
    pub(crate) fn widen(&self, bytes: usize) {
        self.change(|room| room.0 += bytes);
    }

    /// Closes the window: waiting senders stop.
    pub(crate) fn close(&self) {
        self.change(|room| room.1 = false);
    }

    fn change(&self, change: impl FnOnce(&mut (usize, bool))) {
        change(&mut self.room.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Sends the source and its end, or stops when the window is closed.
    pub(crate) fn send_all(
        &self,
        source: &mut (dyn Read + Send),
        send: impl Fn(&BrokerRequest, &[u8]) -> io::Result<()>,
    ) -> Result<(), Upload> {
        let send =
            |request: &BrokerRequest, body: &[u8]| send(request, body).map_err(|_| Upload::Socket);
        let mut piece = vec![0; CHUNK];
        loop {
            match source.read(&mut piece) {
                Ok(0) => return send(&BrokerRequest::End, &[]),
                Ok(read) if self.take(read) => send(&BrokerRequest::Data, &piece[..read])?,
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Upload::Source(error)),
            }
        }
    }
}
