//! Drives the non-blocking steps of a handshake until the deadline.
//!
//! Must not know the steps.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec};
use ssh2::{BlockDirections, ErrorCode, Session};

use crate::{
    connect::ssh_config::SshConfig,
    error::{Error, Result},
};

/// A session that is not yet authenticated.
pub(super) struct Handshake<'a> {
    pub(super) instance: &'a str,
    pub(super) config: &'a SshConfig,
    /// The password, and its source for messages.
    pub(super) password: Option<(String, String)>,
    pub(super) session: Session,
    pub(super) fd: &'a OwnedFd,
    pub(super) deadline: Instant,
}

impl Handshake<'_> {
    /// True if the server has sent its SSH version. Other lines may precede the version.
    pub(super) fn has_banner(&self) -> bool {
        let banner = self.session.banner();
        banner.is_some_and(|line| line.starts_with("SSH-"))
    }

    /// Calls `step` until it does not return `EAGAIN`, or until the deadline.
    pub(super) fn drive<T>(
        &self,
        mut step: impl FnMut() -> Result<T, ssh2::Error>,
    ) -> Result<T, ssh2::Error> {
        loop {
            match step() {
                Err(error) if would_block(&error) => {}
                result => return result,
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ssh2::Error::new(
                    ErrorCode::Session(libssh2_sys::LIBSSH2_ERROR_TIMEOUT),
                    "no answer",
                ));
            }
            let mut flags = PollFlags::IN;
            if blocks_outbound(&self.session) {
                flags |= PollFlags::OUT;
            }
            let _ = rustix::event::poll(
                &mut [PollFd::new(self.fd, flags)],
                Timespec::try_from(left).ok().as_ref(),
            );
        }
    }

    /// Converts an error of the handshake or of the authentication.
    pub(super) fn refused(&self, error: &ssh2::Error) -> Error {
        let address = self.config.address();
        let what = match error.code() {
            ErrorCode::Session(libssh2_sys::LIBSSH2_ERROR_TIMEOUT) => {
                let what = if self.has_banner() {
                    "session"
                } else {
                    "banner"
                };
                return late(self.instance, &address, what, self.config.connect_timeout);
            }
            _ => error.message(),
        };
        Error::infra(format!(
            "failed to connect to `{}` at {address}: {what}",
            self.instance
        ))
    }
}

/// The error of a `what` that the server did not give before the deadline.
pub(super) fn late(instance: &str, address: &str, what: &str, limit: Duration) -> Error {
    let limit = humantime::format_duration(limit);
    let text =
        format!("failed to connect to `{instance}` at {address}: no SSH {what} within {limit}");
    Error::infra(text)
        .with_hint("check that an SSH server is listening there and is not overloaded")
}

pub(super) fn would_block(error: &ssh2::Error) -> bool {
    error.code() == ErrorCode::Session(libssh2_sys::LIBSSH2_ERROR_EAGAIN)
}

/// True if libssh2 waits until the socket is writable.
pub(super) fn blocks_outbound(session: &Session) -> bool {
    let directions = session.block_directions();
    matches!(
        directions,
        BlockDirections::Outbound | BlockDirections::Both
    )
}
