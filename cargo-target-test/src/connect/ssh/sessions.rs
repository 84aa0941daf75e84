//! The sessions of one instance, and who gets the next command.
//!
//! Owns their number: one, more when commands run that one cannot take. Must not know what they do with a command.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use super::{Job, Limits, owner::Owner, poll_waker::PollWaker};
use crate::connect::SshReach;

/// How many sessions an instance has at most; commands beyond what they can run at once wait.
const SESSIONS: usize = 32;

pub(super) struct Sessions {
    instance: String,
    reach: SshReach,
    limits: Limits,
    all: Mutex<Vec<Session>>,
    /// For the threads, which must not keep it.
    this: Weak<Self>,
}

/// The outside of one session's thread.
struct Session {
    jobs: mpsc::Sender<Job>,
    waker: Arc<PollWaker>,
    /// Held once more by every job that is not over.
    load: Arc<()>,
    room: Room,
}

/// How many commands a session can run at once, which its thread may find to be fewer than configured.
#[derive(Clone)]
pub(super) struct Room(Arc<AtomicUsize>);

impl Room {
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
    pub(super) fn new(instance: &str, reach: &SshReach, limits: Limits) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            instance: instance.to_owned(),
            reach: reach.clone(),
            limits,
            all: Mutex::default(),
            this: this.clone(),
        })
    }

    /// Gives a job to the first session that can run it at once: a command must not wait for others that
    /// may never end. Where none can, it waits; false where there is no thread for it.
    pub(super) fn give(&self, job: Job) -> bool {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        match self.place(&mut all) {
            Some(at) => all[at].take(job),
            None => {
                let at = (0..all.len()).min_by_key(|at| all[*at].load());
                all[at.unwrap_or(0)].take(job)
            }
        }
    }

    /// Gives a job that a session has no room for to another one that has; back where there is none.
    pub(super) fn pass_on(&self, job: Job) -> Option<Job> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        match self.place(&mut all) {
            Some(at) => {
                all[at].take(job);
                None
            }
            None => Some(job),
        }
    }

    /// A session with room, made where there is none.
    fn place(&self, all: &mut Vec<Session>) -> Option<usize> {
        let free = all
            .iter()
            .position(|session| session.load() < session.room.get());
        if free.is_none() && all.len() < SESSIONS {
            // What one found out holds for all, as long as nothing else is known.
            let room = all.iter().map(|session| session.room.get()).min();
            let room = room.unwrap_or(self.limits.channels);
            all.push(Session::new(self, room));
            return Some(all.len() - 1);
        }
        free
    }
}

impl Session {
    fn new(sessions: &Sessions, room: usize) -> Self {
        let (jobs, receiver) = mpsc::channel();
        let waker = Arc::new(PollWaker::new());
        let room = Room(Arc::new(AtomicUsize::new(room)));
        let owner = Owner::new(
            (&sessions.instance, &sessions.reach, sessions.limits),
            receiver,
            &waker,
            (sessions.this.clone(), room.clone()),
        );
        // Without a thread the receiver is gone, which every command will tell.
        let _ = thread::Builder::new()
            .name(format!("ssh {}", sessions.instance))
            .spawn(|| owner.run());
        Self {
            jobs,
            waker,
            load: Arc::default(),
            room,
        }
    }

    fn take(&self, mut job: Job) -> bool {
        job._load = Some(Arc::clone(&self.load));
        let taken = self.jobs.send(job).is_ok();
        self.waker.notify();
        taken
    }

    /// How many of its jobs are not over.
    fn load(&self) -> usize {
        Arc::strong_count(&self.load) - 1
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // No job comes any more: the sender goes right after this.
        self.waker.close();
    }
}
