//! How far an upload may be ahead of its reader.
//!
//! Owns the waiting for room, so that nobody ever waits for the socket: what ends a request ends that too. Must not know
//! what is sent.

use std::{
    io::{self, Read},
    sync::{Condvar, Mutex, PoisonError},
};

use crate::wire::{CHUNK, Request, WINDOW};

/// The room for what one request sends.
pub(crate) struct Window {
    /// How many bytes there is room for, and whether there may be more.
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

/// Why an upload ended early.
pub(crate) enum Upload {
    Source(io::Error),
    Socket,
}

impl Window {
    /// Waits until there is room for so many bytes, and takes it; false when there will be none.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |(room, open): &mut (usize, bool)| *room < bytes && *open;
        let waited = self.changed.wait_while(room, waits);
        let mut room = waited.unwrap_or_else(PoisonError::into_inner);
        let fits = bytes <= room.0;
        room.0 -= if fits { bytes } else { 0 };
        fits
    }

    /// So many bytes have found their reader.
    pub(crate) fn widen(&self, bytes: usize) {
        self.change(|room| room.0 += bytes);
    }

    /// There will be no more room.
    pub(crate) fn close(&self) {
        self.change(|room| room.1 = false);
    }

    fn change(&self, change: impl FnOnce(&mut (usize, bool))) {
        change(&mut self.room.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Sends all there is, and its end; or as much as somebody reads.
    pub(crate) fn send_all(
        &self,
        source: &mut (dyn Read + Send),
        send: impl Fn(&Request, &[u8]) -> io::Result<()>,
    ) -> Result<(), Upload> {
        let send = |request: &Request, body: &[u8]| send(request, body).map_err(|_| Upload::Socket);
        let mut piece = vec![0; CHUNK];
        loop {
            match source.read(&mut piece) {
                Ok(0) => return send(&Request::End, &[]),
                Ok(read) if self.take(read) => send(&Request::Data, &piece[..read])?,
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Upload::Source(error)),
            }
        }
    }
}
