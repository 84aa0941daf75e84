//! What wakes a session's thread out of its `poll`.
//!
//! Owns a pair of sockets. Also a [`Waker`](std::task::Waker), so that the thread can wait for tokio's
//! channels and for its socket at once.

use std::{
    io::{Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Wake,
};

pub(super) struct Bell {
    /// None when the process has no file descriptors left: the thread then looks every now and then.
    ends: Option<(UnixStream, UnixStream)>,
    rung: AtomicBool,
    closed: AtomicBool,
}

impl Bell {
    pub(super) fn new() -> Self {
        let ends = UnixStream::pair().ok().filter(|(ours, theirs)| {
            ours.set_nonblocking(true).is_ok() && theirs.set_nonblocking(true).is_ok()
        });
        Self {
            ends,
            rung: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some((_, theirs)) = &self.ends
        {
            // Full means that it rings already.
            let _ = (&*theirs).write(&[1]);
        }
    }

    /// Rings, for the last time: nobody will send a job any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.ring();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Stops ringing; to be called before looking at what it rang for.
    pub(super) fn hush(&self) {
        if let Some((ours, _)) = &self.ends {
            let _ = (&*ours).read(&mut [0; 64]);
        }
        self.rung.store(false, Ordering::Release);
    }

    /// What to poll for reading.
    pub(super) fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.ends.as_ref().map(|(ours, _)| ours.as_fd())
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}
