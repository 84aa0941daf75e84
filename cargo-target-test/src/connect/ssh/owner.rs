//! The thread of a session: its queue of jobs, the state of its connection, and its event loop.
//!
//! Must not know commands: `live` and `task` do.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Waker},
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::{
    Endpoint, Job,
    connect::{self, Link},
    handshake::late,
    io::SessionError,
    live::LiveSession,
    outbox::Outbox,
    poll_waker::PollWaker,
    sessions::Sessions,
};
use crate::{
    connect::ssh_config::CONNECT_TIMEOUT,
    error::{Error, Result},
};

/// The additional time that the connecting thread has after its timeout.
const GRACE: Duration = Duration::from_millis(500);

pub(super) struct SessionThread {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) poll_waker: Arc<PollWaker>,
    pub(super) queue: VecDeque<Job>,
    pub(super) state: ConnectionState,
    /// Outboxes of ended commands whose readers are slow.
    pub(super) leaving: Vec<Outbox>,
    pub(super) sessions: Weak<Sessions>,
    /// The number of commands that the session can run at once, which the server may limit further.
    pub(super) capacity: Arc<AtomicUsize>,
}

/// The state of the connection.
#[derive(Default)]
pub(super) enum ConnectionState {
    #[default]
    Disconnected,
    /// A separate thread connects, because name resolution or an agent may hang.
    Connecting {
        since: Instant,
        timeout: Duration,
        progress: mpsc::Receiver<connect::Progress>,
    },
    Connected(Box<LiveSession>),
}

impl SessionThread {
    /// Runs the event loop until the transport is dropped and its last command has ended.
    pub(super) fn run(mut self) {
        let waker = Waker::from(Arc::clone(&self.poll_waker));
        let mut context = Context::from_waker(&waker);
        let mut is_notified = false;
        loop {
            self.poll_waker.clear(is_notified);
            let closed = self.poll_waker.is_closed();
            for job in self.jobs.try_iter() {
                match job.is_urgent {
                    true => self.queue.push_front(job),
                    false => self.queue.push_back(job),
                }
            }
            self.queue.retain(|job| !job.events.is_closed());
            let progress = self.step(&mut context);
            for outbox in &mut self.leaving {
                outbox.flush(&mut context);
            }
            self.leaving.retain(Outbox::is_full);
            if closed && self.is_idle() {
                return;
            }
            is_notified = self.wait(progress);
        }
    }

    fn is_idle(&self) -> bool {
        let busy = matches!(&self.state, ConnectionState::Connected(live) if !live.is_idle());
        self.queue.is_empty() && self.leaving.is_empty() && !busy
    }

    /// Does one step of work; returns true if the next step should follow at once.
    fn step(&mut self, context: &mut Context<'_>) -> bool {
        match &mut self.state {
            ConnectionState::Disconnected if self.queue.is_empty() => false,
            ConnectionState::Disconnected => {
                self.connect();
                false
            }
            ConnectionState::Connecting { .. } => self.check_progress(),
            ConnectionState::Connected(live) => {
                let round = live.round(&mut self.queue, &mut self.leaving, context);
                match round {
                    Ok(progress) => {
                        self.offload();
                        progress
                    }
                    Err(error) => {
                        self.drop_connection(&error);
                        true
                    }
                }
            }
        }
    }

    /// Moves waiting jobs to another session if the server allows no further channel; jobs that kill commands first.
    fn offload(&mut self) {
        let ConnectionState::Connected(live) = &mut self.state else {
            return;
        };
        if let Some(running) = live.room() {
            self.capacity.fetch_max(running, Ordering::Relaxed);
        }
        let Some(running) = live.full() else { return };
        self.capacity.store(running.max(1), Ordering::Relaxed);
        let Some(sessions) = self.sessions.upgrade() else {
            return;
        };
        while let Some(job) = self.queue.pop_front() {
            if let Some(job) = sessions.reassign(job) {
                self.queue.push_front(job);
                break;
            }
        }
    }

    fn connect(&mut self) {
        let (sender, progress) = mpsc::channel();
        let endpoint = Arc::clone(&self.endpoint);
        let poll_waker = Arc::clone(&self.poll_waker);
        let open = move || {
            let result = connect::open(&endpoint, &sender);
            // Fails after the timeout; dropping the result closes the connection.
            let _ = sender.send(connect::Progress::Done(Box::new(result)));
            poll_waker.notify();
        };
        let name = format!("connect {}", self.endpoint.instance);
        match thread::Builder::new().name(name).spawn(open) {
            Ok(_) => {
                let timeout = self
                    .endpoint
                    .reach
                    .connect_timeout
                    .unwrap_or(CONNECT_TIMEOUT);
                self.state = ConnectionState::Connecting {
                    since: Instant::now(),
                    timeout,
                    progress,
                };
            }
            Err(error) => self.refuse_all(&error.into()),
        }
    }

    fn check_progress(&mut self) -> bool {
        let ConnectionState::Connecting {
            since,
            timeout,
            progress,
        } = &mut self.state
        else {
            return false;
        };
        match progress.try_recv() {
            Ok(connect::Progress::Timeout(from, limit)) => {
                (*since, *timeout) = (from, limit);
                true
            }
            Ok(connect::Progress::Done(result)) => {
                self.connected(*result);
                true
            }
            Err(_) if since.elapsed() >= *timeout + GRACE => {
                let Endpoint {
                    instance, reach, ..
                } = &*self.endpoint;
                let error = late(instance, &reach.host, "session", *timeout);
                self.connected(Err(error));
                true
            }
            Err(_) => false,
        }
    }

    fn connected(&mut self, result: Result<Link>) {
        match result {
            Ok(link) => {
                let live = LiveSession::new(link, &self.endpoint);
                self.state = ConnectionState::Connected(Box::new(live));
            }
            Err(error) => {
                self.state = ConnectionState::Disconnected;
                self.refuse_all(&error);
            }
        }
    }

    /// Ends the running commands with an error and keeps the queued jobs for a new connection.
    ///
    /// The queued jobs fail too if the connection has never run a command.
    fn drop_connection(&mut self, reason: &SessionError) {
        let state = std::mem::replace(&mut self.state, ConnectionState::Disconnected);
        let ConnectionState::Connected(live) = state else {
            return;
        };
        self.endpoint.losses.fetch_add(1, Ordering::Relaxed);
        if !live.used {
            let text = format!(
                "connection to `{}` at {} is unusable: {}",
                self.endpoint.instance, live.link.address, reason.0
            );
            self.refuse_all(&Error::infra(text));
        }
        live.lose(&self.endpoint.instance, reason, &mut self.leaving);
    }

    fn refuse_all(&mut self, error: &Error) {
        for job in self.queue.drain(..) {
            // Fails if the receiver is gone.
            let _ = job.started.send(Err(error.clone()));
        }
    }

    /// Waits for the socket, the waker, or the next deadline. Returns true if the waker is ready.
    fn wait(&mut self, progress: bool) -> bool {
        let now = Instant::now();
        let left = |due: Instant| due.saturating_duration_since(now);
        let next = match &self.state {
            _ if progress => Some(Duration::ZERO),
            ConnectionState::Disconnected => None,
            ConnectionState::Connecting { since, timeout, .. } => {
                Some(left(*since + *timeout + GRACE))
            }
            ConnectionState::Connected(live) => live.due().map(left),
        };
        // Without a waker (no file descriptors left) the thread polls its queue.
        let next = if self.poll_waker.fd().is_none() {
            Some(Duration::from_millis(5))
        } else {
            next
        };
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(2);
        let poll_waker = self.poll_waker.fd();
        fds.extend(
            poll_waker.map(|poll_waker| PollFd::from_borrowed_fd(poll_waker, PollFlags::IN)),
        );
        if let ConnectionState::Connected(live) = &self.state {
            fds.extend(
                live.flags()
                    .map(|flags| PollFd::new(&live.link.socket, flags)),
            );
        }
        let next = next.and_then(|next| Timespec::try_from(next).ok());
        let polled = rustix::event::poll(&mut fds, next.as_ref());
        let is_ready = |fd: &PollFd<'_>| !(fd.revents() - PollFlags::OUT).is_empty();
        let is_ready = |at| polled.is_ok() && fds.get(at).is_some_and(is_ready);
        let wakers = usize::from(poll_waker.is_some());
        let (is_notified, has_data) = (wakers > 0 && is_ready(0), is_ready(wakers));
        drop(fds);
        if let ConnectionState::Connected(live) = &mut self.state
            && has_data
        {
            live.on_data();
        }
        is_notified
    }
}
