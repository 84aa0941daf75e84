//! The context of one round of work on a session, and the classification of libssh2's errors.
//!
//! Must not know commands.

use std::task::Context;

use ssh2::{ErrorCode, Session};

use super::handshake::{blocks_outbound, would_block};

/// The session has failed; contains the reason.
#[derive(Debug)]
pub(super) struct SessionError(pub(super) String);

/// The context of one round of work.
pub(super) struct Io<'a, 'b> {
    pub(super) instance: &'a str,
    session: Session,
    pub(super) context: &'a mut Context<'b>,
    pub(super) buffer: Vec<u8>,
    /// True if bytes were moved, so that another round may move more.
    pub(super) progress: bool,
    /// True if a write is blocked until the socket is writable.
    pub(super) outbound: bool,
}

impl<'a, 'b> Io<'a, 'b> {
    pub(super) fn new(
        instance: &'a str,
        session: &Session,
        context: &'a mut Context<'b>,
        buffer: Vec<u8>,
    ) -> Self {
        Self {
            instance,
            session: session.clone(),
            context,
            buffer,
            progress: false,
            outbound: false,
        }
    }

    /// Returns the reason that a channel has failed; `None` if the call would block.
    pub(super) fn classify(&mut self, error: &ssh2::Error) -> Result<Option<String>, SessionError> {
        if would_block(error) {
            self.outbound |= blocks_outbound(&self.session);
            return Ok(None);
        }
        // libssh2 uses -27 to -21 for errors of a single channel.
        match error.code() {
            ErrorCode::Session(-27..=-21) => Ok(Some(error.message().to_owned())),
            _ => Err(SessionError(error.message().to_owned())),
        }
    }

    /// Classifies an I/O error, which does not contain libssh2's error code.
    pub(super) fn classify_io(
        &mut self,
        error: &std::io::Error,
    ) -> Result<Option<String>, SessionError> {
        match ssh2::Error::last_session_error(&self.session) {
            Some(last) if error.kind() != std::io::ErrorKind::WouldBlock => self.classify(&last),
            _ => {
                let eagain = ErrorCode::Session(libssh2_sys::LIBSSH2_ERROR_EAGAIN);
                self.classify(&ssh2::Error::from_errno(eagain))
            }
        }
    }
}
