//! The sessions of one instance, and the assignment of jobs to sessions.
//!
//! There is one session, and more if the running commands exceed its capacity.

use std::{
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use super::{Endpoint, Job, owner::SessionThread, poll_waker::PollWaker};
use crate::sync;

/// The maximum number of sessions of an instance.
const SESSIONS: usize = 32;

pub(super) struct Sessions {
    endpoint: Arc<Endpoint>,
    all: Mutex<Vec<SessionHandle>>,
    /// A weak reference for the session threads.
    this: Weak<Self>,
}

/// The handle of a session thread.
struct SessionHandle {
    jobs: mpsc::Sender<Job>,
    waker: Arc<PollWaker>,
    /// Each unfinished job holds a clone, so the reference count is the number of jobs.
    load: Arc<()>,
    capacity: Capacity,
}

/// The number of commands that a session can run at once, which the server may limit further.
#[derive(Clone)]
pub(super) struct Capacity(Arc<AtomicUsize>);

impl Capacity {
    pub(super) fn raise(&self, commands: usize) {
        self.0.fetch_max(commands, Ordering::Relaxed);
    }

    pub(super) fn set(&self, commands: usize) {
        self.0.store(commands, Ordering::Relaxed);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Sessions {
    pub(super) fn new(endpoint: &Arc<Endpoint>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            endpoint: Arc::clone(endpoint),
            all: Mutex::default(),
            this: this.clone(),
        })
    }

    /// Assigns a job to a session with free capacity or, if there is none, to the session with the fewest jobs.
    ///
    /// A command must not wait for commands that may never end. Returns false if the session has no thread.
    pub(super) fn assign(&self, job: Job) -> bool {
        let mut all = sync::lock(&self.all);
        match self.find_free(&mut all) {
            Some(at) => all[at].send(job),
            None => {
                let at = (0..all.len()).min_by_key(|at| all[*at].load());
                all[at.unwrap_or(0)].send(job)
            }
        }
    }

    /// Assigns a job of a full session to another session; returns the job if no session has free capacity.
    pub(super) fn reassign(&self, job: Job) -> Option<Job> {
        let mut all = sync::lock(&self.all);
        match self.find_free(&mut all) {
            Some(at) => {
                all[at].send(job);
                None
            }
            None => Some(job),
        }
    }

    /// Returns the index of a session with free capacity, creating a session if there is none.
    fn find_free(&self, all: &mut Vec<SessionHandle>) -> Option<usize> {
        let free = all
            .iter()
            .position(|session| session.load() < session.capacity.get());
        if free.is_none() && all.len() < SESSIONS {
            // A limit that the server imposed on one session applies to new sessions as well.
            let capacity = all.iter().map(|session| session.capacity.get()).min();
            let capacity = capacity.unwrap_or(self.endpoint.limits.channels);
            all.push(SessionHandle::new(self, capacity));
            return Some(all.len() - 1);
        }
        free
    }
}

impl SessionHandle {
    fn new(sessions: &Sessions, capacity: usize) -> Self {
        let (jobs, receiver) = mpsc::channel();
        let waker = Arc::new(PollWaker::new());
        let capacity = Capacity(Arc::new(AtomicUsize::new(capacity)));
        let session = SessionThread::new(
            &sessions.endpoint,
            receiver,
            &waker,
            (sessions.this.clone(), capacity.clone()),
        );
        // If the thread cannot be started, its receiver is dropped and `send` fails.
        let _ = thread::Builder::new()
            .name(format!("ssh {}", sessions.endpoint.instance))
            .spawn(|| session.run());
        Self {
            jobs,
            waker,
            load: Arc::default(),
            capacity,
        }
    }

    fn send(&self, mut job: Job) -> bool {
        job._load = Some(Arc::clone(&self.load));
        let is_sent = self.jobs.send(job).is_ok();
        self.waker.notify();
        is_sent
    }

    /// Returns the number of unfinished jobs.
    fn load(&self) -> usize {
        Arc::strong_count(&self.load) - 1
    }
}

impl Drop for SessionHandle {
    fn drop(&mut self) {
        // The sender is dropped next, so no more jobs follow.
        self.waker.close();
    }
}
