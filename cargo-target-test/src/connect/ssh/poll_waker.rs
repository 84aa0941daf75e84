//! Wakes the thread of a session out of its `poll`.
//!
//! [`PollWaker`] is a [`Waker`](std::task::Waker), so that the thread can wait for tokio channels and its socket at once.

use std::{
    io::{Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Wake,
};

pub(super) struct PollWaker {
    /// A socket pair; `None` if the process has no file descriptors left, so that the thread must poll with a timeout.
    ends: Option<(UnixStream, UnixStream)>,
    pending: AtomicBool,
    closed: AtomicBool,
}

impl PollWaker {
    pub(super) fn new() -> Self {
        let ends = UnixStream::pair().ok().filter(|(ours, theirs)| {
            ours.set_nonblocking(true).is_ok() && theirs.set_nonblocking(true).is_ok()
        });
        Self {
            ends,
            pending: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn notify(&self) {
        if !self.pending.swap(true, Ordering::AcqRel)
            && let Some((_, theirs)) = &self.ends
        {
            // Fails if the socket is full, which also wakes the thread.
            let _ = (&*theirs).write(&[1]);
        }
    }

    /// Wakes the thread and tells it that no more jobs will follow.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.notify();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Clears the notification. Must be called before the queue is read. `is_readable`: the descriptor was ready.
    pub(super) fn clear(&self, is_readable: bool) {
        if let Some((ours, _)) = self.ends.as_ref().filter(|_| is_readable) {
            let _ = (&*ours).read(&mut [0; 64]);
        }
        self.pending.store(false, Ordering::Release);
    }

    /// Returns the descriptor to poll for reading.
    pub(super) fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.ends.as_ref().map(|(ours, _)| ours.as_fd())
    }
}

impl Wake for PollWaker {
    fn wake(self: Arc<Self>) {
        self.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notify();
    }
}
