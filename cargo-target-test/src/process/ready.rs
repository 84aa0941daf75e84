//! Waits for descriptors.

use std::{io, os::fd::BorrowedFd, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A descriptor, and what it shall be ready for.
type Awaited<'a> = (BorrowedFd<'a>, PollFlags);

/// A descriptor that shall be readable.
pub(crate) fn readable(fd: BorrowedFd<'_>) -> Awaited<'_> {
    (fd, PollFlags::IN)
}

/// Waits until one of these descriptors is ready, for at most `limit`. True for each one that is; false for all after a
/// signal.
pub(crate) fn ready<const N: usize>(
    awaited: [Option<Awaited<'_>>; N],
    limit: Option<Duration>,
) -> io::Result<[bool; N]> {
    let fds = awaited.iter().flatten();
    let mut fds: Vec<_> = fds
        .map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
        .collect();
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    match poll(&mut fds, limit.as_ref()) {
        Err(rustix::io::Errno::INTR) => return Ok([false; N]),
        other => other?,
    };
    let mut fds = fds.iter();
    // `and_then` comes first, so that every descriptor consumes its own entry.
    let is_ready = |one: Option<_>| one.and_then(|_| fds.next());
    let found = awaited.map(is_ready);
    Ok(found.map(|fd| fd.is_some_and(|fd| !fd.revents().is_empty())))
}
