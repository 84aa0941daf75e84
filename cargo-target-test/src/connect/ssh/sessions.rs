//! The sessions of one instance, and the assignment of jobs to sessions.
//!
//! There is one session, and more if the running commands exceed its capacity.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use tokio::sync::oneshot;

use super::{
    Endpoint, Job,
    owner::{ConnectionState, SessionThread},
    poll_waker::PollWaker,
};
use crate::{
    connect::{
        CommandStdin, EVENTS,
        program::{Carrier, StartedProgram},
        shell::WrappedLine,
    },
    error::{Error, Result},
    sync,
};

/// The maximum number of sessions of an instance.
const SESSIONS: usize = 32;

pub(in crate::connect) struct Sessions {
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
    /// The number of commands that the session can run at once, which the server may limit further.
    capacity: Arc<AtomicUsize>,
}

impl Sessions {
    pub(in crate::connect) fn new(endpoint: &Arc<Endpoint>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            endpoint: Arc::clone(endpoint),
            all: Mutex::default(),
            this: this.clone(),
        })
    }

    /// Starts a command in a kept shell, or in a login of its own.
    pub(in crate::connect) async fn start(
        &self,
        wrapped: &WrappedLine,
        stdin: Option<CommandStdin>,
        is_urgent: bool,
    ) -> Result<StartedProgram> {
        let (send, events) = tokio::sync::mpsc::channel(EVENTS);
        let (started, is_started) = oneshot::channel();
        let (back, returned) = oneshot::channel();
        self.assign(Job {
            line: wrapped.line.clone(),
            request: wrapped.request.clone(),
            stdin,
            events: send,
            started,
            returned,
            is_urgent,
            _load: None,
        });
        let shell = is_started.await.unwrap_or_else(|_| {
            let instance = &self.endpoint.instance;
            let text = format!("`{instance}`: failed to start the connection thread");
            Err(Error::infra(text))
        })?;
        Ok(StartedProgram {
            events,
            shell,
            requests: None,
            carrier: Carrier::Channel(back),
        })
    }

    /// Assigns a job to a session with free capacity or, if there is none, to the session with the fewest jobs.
    ///
    /// A command must not wait for commands that may never end.
    fn assign(&self, job: Job) {
        let mut all = sync::lock(&self.all);
        let free = self.find_free(&mut all, job.is_urgent);
        let least = || (0..all.len()).min_by_key(|at| all[*at].load());
        let at = free.or_else(least).unwrap_or(0);
        all[at].send(job);
    }

    /// Assigns a job of a full session to another session; returns the job if no session has free capacity.
    pub(super) fn reassign(&self, job: Job) -> Option<Job> {
        let mut all = sync::lock(&self.all);
        match self.find_free(&mut all, job.is_urgent) {
            Some(at) => {
                all[at].send(job);
                None
            }
            None => Some(job),
        }
    }

    /// Returns the index of a session with free capacity, creating a session if there is none. One urgent job more than
    /// the capacity is tried.
    fn find_free(&self, all: &mut Vec<SessionHandle>, is_urgent: bool) -> Option<usize> {
        let more = usize::from(is_urgent);
        let free = all
            .iter()
            .position(|session| session.load() < session.capacity() + more);
        if free.is_none() && all.len() < SESSIONS {
            // A limit that the server imposed on one session applies to new sessions as well.
            let capacity = all.iter().map(SessionHandle::capacity).min();
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
        let capacity = Arc::new(AtomicUsize::new(capacity));
        let session = SessionThread {
            endpoint: Arc::clone(&sessions.endpoint),
            jobs: receiver,
            poll_waker: Arc::clone(&waker),
            queue: VecDeque::new(),
            state: ConnectionState::default(),
            leaving: Vec::new(),
            sessions: sessions.this.clone(),
            capacity: Arc::clone(&capacity),
        };
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

    fn send(&self, mut job: Job) {
        job._load = Some(Arc::clone(&self.load));
        // Fails if the session has no thread, which the job's receiver notices.
        let _ = self.jobs.send(job);
        self.waker.notify();
    }

    fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
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
