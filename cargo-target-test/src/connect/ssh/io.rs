//! One round of work on a session: what it needs, and what libssh2's errors mean for it.
//!
//! Owns the sorting of errors into wait, this channel, and the whole session. Must not know commands.

use std::task::Context;

use ssh2::{BlockDirections, ErrorCode, Session};

use super::handshake::would_block;

/// Why the session cannot be used any more.
#[derive(Debug)]
pub(super) struct Dead(pub(super) String);

/// What a round of work needs, and what it found.
pub(super) struct Io<'a, 'b> {
    pub(super) instance: &'a str,
    pub(super) session: &'a Session,
    pub(super) context: &'a mut Context<'b>,
    pub(super) buffer: &'a mut [u8],
    /// Something happened, so more may.
    pub(super) progress: bool,
    /// Something waits for the socket to take bytes.
    pub(super) outbound: bool,
}

/// An error that is not the session's.
pub(super) enum Trouble {
    Wait,
    Channel(String),
}

impl<'a, 'b> Io<'a, 'b> {
    pub(super) fn new(
        instance: &'a str,
        session: &'a Session,
        context: &'a mut Context<'b>,
        buffer: &'a mut [u8],
    ) -> Self {
        let (progress, outbound) = (false, false);
        Self {
            instance,
            session,
            context,
            buffer,
            progress,
            outbound,
        }
    }

    /// Sorts an error of libssh2.
    pub(super) fn sort(&mut self, error: &ssh2::Error) -> Result<Trouble, Dead> {
        if would_block(error) {
            let directions = self.session.block_directions();
            self.outbound |= matches!(
                directions,
                BlockDirections::Outbound | BlockDirections::Both
            );
            return Ok(Trouble::Wait);
        }
        // libssh2 numbers what concerns one channel from -21 to -27.
        match error.code() {
            ErrorCode::Session(-27..=-21) => Ok(Trouble::Channel(error.message().to_owned())),
            _ => Err(Dead(error.message().to_owned())),
        }
    }

    /// As [`Io::sort`], for errors whose number was lost on the way.
    pub(super) fn sort_io(&mut self, error: &std::io::Error) -> Result<Trouble, Dead> {
        match ssh2::Error::last_session_error(self.session) {
            Some(last) if error.kind() != std::io::ErrorKind::WouldBlock => self.sort(&last),
            _ => {
                let eagain = ErrorCode::Session(libssh2_sys::LIBSSH2_ERROR_EAGAIN);
                self.sort(&ssh2::Error::from_errno(eagain))
            }
        }
    }
}
