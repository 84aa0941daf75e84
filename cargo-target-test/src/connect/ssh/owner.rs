//! The thread that owns an instance's session: queue, connecting, waiting.
//!
//! Owns when there is a connection. Must not know what commands do on it (`live`, `task`).

use std::{
    collections::VecDeque,
    sync::{Arc, Weak, mpsc},
    task::{Context, Waker},
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags};

use super::{
    Job, Limits,
    connect::{self, Link},
    handshake::{late, timespec},
    io::Dead,
    live::Live,
    outbox::Outbox,
    poll_waker::PollWaker,
    sessions::{Room, Sessions},
    task::overdue,
};
use crate::{
    connect::Event,
    connect::{SshReach, ssh_config::CONNECT_TIMEOUT},
    error::{Error, Result},
};

/// How much longer than the connecting itself its thread is waited for.
const GRACE: Duration = Duration::from_millis(500);

pub(super) struct Owner {
    instance: String,
    reach: SshReach,
    limits: Limits,
    jobs: mpsc::Receiver<Job>,
    poll_waker: Arc<PollWaker>,
    queue: VecDeque<Job>,
    connection: Connection,
    /// Events of ended commands that their readers have not made room for.
    leaving: Vec<Outbox>,
    sessions: Weak<Sessions>,
    room: Room,
}

enum Connection {
    None,
    /// A thread of its own connects; whoever hangs there (a name service, an agent) hangs alone.
    Opening {
        since: Instant,
        within: Duration,
        news: mpsc::Receiver<connect::News>,
    },
    Up(Box<Live>),
}

impl Owner {
    pub(super) fn new(
        (instance, reach, limits): (&str, &SshReach, Limits),
        jobs: mpsc::Receiver<Job>,
        poll_waker: &Arc<PollWaker>,
        (sessions, room): (Weak<Sessions>, Room),
    ) -> Self {
        Self {
            instance: instance.to_owned(),
            reach: reach.clone(),
            limits,
            jobs,
            poll_waker: Arc::clone(poll_waker),
            queue: VecDeque::new(),
            connection: Connection::None,
            leaving: Vec::new(),
            sessions,
            room,
        }
    }

    /// Works until the transport is dropped and its last command has ended.
    pub(super) fn run(mut self) {
        let waker = Waker::from(Arc::clone(&self.poll_waker));
        let mut context = Context::from_waker(&waker);
        loop {
            self.poll_waker.clear();
            let closed = self.poll_waker.is_closed();
            self.queue.extend(self.jobs.try_iter());
            self.prune();
            let progress = self.step(&mut context);
            for outbox in &mut self.leaving {
                outbox.flush(&mut context);
            }
            self.leaving.retain(Outbox::is_full);
            if closed && self.is_idle() {
                return;
            }
            self.wait(progress);
        }
    }

    fn is_idle(&self) -> bool {
        let busy = matches!(&self.connection, Connection::Up(live) if !live.is_idle());
        self.queue.is_empty() && self.leaving.is_empty() && !busy
    }

    /// Drops jobs that nobody waits for any more, or not any longer.
    fn prune(&mut self) {
        let now = Instant::now();
        self.queue.retain(|job| {
            let expired = job.expires.is_some_and(|expires| expires <= now);
            if expired {
                let _ = job.events.try_send(Event::Lost(overdue(&self.instance)));
            }
            !expired && !job.events.is_closed()
        });
    }

    /// Whether something happened, so that it should be called again at once.
    fn step(&mut self, context: &mut Context<'_>) -> bool {
        match &mut self.connection {
            Connection::None if self.queue.is_empty() => false,
            Connection::None => {
                self.connect();
                false
            }
            Connection::Opening { .. } => self.look_at_opening(),
            Connection::Up(live) => {
                let round = live.round(&self.instance, &mut self.queue, &mut self.leaving, context);
                match round {
                    Ok(progress) => {
                        self.pass_on();
                        progress
                    }
                    Err(dead) => {
                        self.drop_connection(&dead);
                        true
                    }
                }
            }
        }
    }

    /// Where the server allows no further channel, what waits goes to another session: kills above all.
    fn pass_on(&mut self) {
        let Connection::Up(live) = &mut self.connection else {
            return;
        };
        if let Some(running) = live.room() {
            self.room.raise(running);
        }
        let Some(running) = live.full() else { return };
        self.room.set(running.max(1));
        let Some(sessions) = self.sessions.upgrade() else {
            return;
        };
        for queue in [&mut live.urgent, &mut self.queue] {
            while let Some(job) = queue.pop_front() {
                if let Some(job) = sessions.pass_on(job) {
                    queue.push_front(job);
                    break;
                }
            }
        }
    }

    fn connect(&mut self) {
        let (sender, news) = mpsc::channel();
        let (instance, reach) = (self.instance.clone(), self.reach.clone());
        let poll_waker = Arc::clone(&self.poll_waker);
        let open = move || {
            let result = connect::open(&instance, &reach, &sender);
            // Nobody there: too late, and the connection is closed.
            let _ = sender.send(connect::News::Done(Box::new(result)));
            poll_waker.notify();
        };
        let name = format!("connect {}", self.instance);
        match thread::Builder::new().name(name).spawn(open) {
            Ok(_) => {
                let within = self.reach.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
                self.connection = Connection::Opening {
                    since: Instant::now(),
                    within,
                    news,
                };
            }
            Err(error) => self.refuse_all(&error.into()),
        }
    }

    fn look_at_opening(&mut self) -> bool {
        let Connection::Opening {
            since,
            within,
            news,
        } = &mut self.connection
        else {
            return false;
        };
        match news.try_recv() {
            Ok(connect::News::Within(from, limit)) => {
                (*since, *within) = (from, limit);
                true
            }
            Ok(connect::News::Done(result)) => {
                self.opened(*result);
                true
            }
            Err(_) if since.elapsed() >= *within + GRACE => {
                let error = late(&self.instance, &self.reach.host, *within);
                self.opened(Err(error));
                true
            }
            Err(_) => false,
        }
    }

    fn opened(&mut self, result: Result<Link>) {
        match result {
            Ok(link) => {
                self.connection = Connection::Up(Box::new(Live::new(link, self.limits)));
            }
            Err(error) => {
                self.connection = Connection::None;
                self.refuse_all(&error);
            }
        }
    }

    /// Running commands are lost, for nobody knows how far they came. Waiting ones get a new connection,
    /// unless this one was of no use to any.
    fn drop_connection(&mut self, dead: &Dead) {
        let connection = std::mem::replace(&mut self.connection, Connection::None);
        let Connection::Up(live) = connection else {
            return;
        };
        if !live.used {
            let text = format!(
                "cannot use `{}` at {}: {}",
                self.instance, live.link.address, dead.0
            );
            self.refuse_all(&Error::new(crate::ErrorKind::Infra, text));
        }
        live.lose(&self.instance, dead, &mut self.leaving);
    }

    fn refuse_all(&mut self, error: &Error) {
        for job in self.queue.drain(..) {
            let mut copy = Error::new(error.kind(), error.chain());
            if let Some(hint) = error.hint() {
                copy = copy.with_hint(hint);
            }
            // Nothing was sent on it before, so there is room.
            let _ = job.events.try_send(Event::Lost(copy));
        }
    }

    /// Waits for the socket, the waker, or the next thing due.
    fn wait(&mut self, progress: bool) {
        let now = Instant::now();
        let left = |due: Instant| due.saturating_duration_since(now);
        let next = match &self.connection {
            _ if progress => Some(Duration::ZERO),
            Connection::None => None,
            Connection::Opening { since, within, .. } => Some(left(*since + *within + GRACE)),
            Connection::Up(live) => live.due().map(left),
        };
        let expiring = self
            .queue
            .iter()
            .filter_map(|job| job.expires)
            .map(left)
            .min();
        let next = next.into_iter().chain(expiring).min();
        // Without a waker (no file descriptors left) the thread has to look.
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
        if let Connection::Up(live) = &self.connection {
            fds.extend(
                live.flags()
                    .map(|flags| PollFd::new(&live.link.socket, flags)),
            );
        }
        let polled = rustix::event::poll(&mut fds, next.map(timespec).as_ref());
        let socket = fds.get(usize::from(poll_waker.is_some()));
        let heard =
            polled.is_ok() && socket.is_some_and(|fd| !(fd.revents() - PollFlags::OUT).is_empty());
        drop(fds);
        if let Connection::Up(live) = &mut self.connection
            && heard
        {
            live.hears();
        }
    }
}
