//! An established session: its channels and its keepalive messages.
//!
//! Calls libssh2 on one thread, without blocking. Must not connect.

use std::{
    collections::VecDeque,
    io::Read,
    os::fd::AsFd,
    sync::Arc,
    task::Context,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec};
use ssh2::Channel;

use super::{
    Endpoint, Job, Limits,
    connect::Link,
    io::{Io, SessionError},
    outbox::Outbox,
    task::Task,
};
use crate::{connect::shell::KeptShell, error::Error};

/// The pause before the next attempt to open a refused channel, if a command waits for the channel.
const RETRY: Duration = Duration::from_millis(20);
/// The pause if no command waits for the channel: some servers log every refusal.
const IDLE_RETRY: Duration = Duration::from_secs(1);
/// The time for which the server must refuse channels, while the same commands run, until the session counts as full.
///
/// The server may still count a channel that was just closed.
const FULL: Duration = Duration::from_millis(100);
/// The number of refusals without an open channel after which the session is unusable.
const REFUSALS: u32 = 100;

/// An established session.
pub(super) struct LiveSession {
    tasks: Vec<Task>,
    /// A channel that is opened in advance. A command then takes one round trip less, and an idle session notices when
    /// the server closes the connection.
    spare: Option<Channel>,
    /// Kept shells that serve no command, the last used one last.
    shells: Vec<(Channel, KeptShell)>,
    /// Channels whose close message was not sent yet.
    closing: Vec<Channel>,
    pub(super) link: Link,
    endpoint: Arc<Endpoint>,
    limits: Limits,
    buffer: Vec<u8>,
    /// The time of the last refusal of a channel, if none was opened since.
    refused: Option<Instant>,
    /// The time since which the server refuses channels while the same commands run.
    full: Option<Instant>,
    /// The number of refusals without an open channel.
    refusals: u32,
    /// The number of times the server closed the spare channel since the last command started.
    spare_closed: u32,
    /// True if the server closes an unused channel when a command on another channel ends, as dropbear does.
    closes_unused: bool,
    /// The time of the last received data.
    heard: Instant,
    /// True if the socket or libssh2's buffer may have data that was not received yet.
    has_data: bool,
    /// The time of the last keepalive.
    beaten: Instant,
    /// The time since which an idle session waits for an answer before it may start a command.
    doubt: Option<Instant>,
    /// The time of the last unanswered keepalive.
    asked: Option<Instant>,
    outbound: bool,
    /// True if a command waits for a channel.
    wanted: bool,
    /// True if a signal for a command waits for a channel.
    urgent: bool,
    /// True if the session has run a command.
    pub(super) used: bool,
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        // Shut down first, so that freeing the channels fails instead of waiting for the server.
        let _ = rustix::net::shutdown(&self.link.socket, rustix::net::Shutdown::Both);
    }
}

impl LiveSession {
    pub(super) fn new(link: Link, endpoint: &Arc<Endpoint>) -> Self {
        let limits = endpoint.limits;
        // libssh2 has its own keepalive interval, which must not be longer than the heartbeat.
        let seconds = limits.heartbeat.as_secs().saturating_sub(1).max(2);
        link.session
            .set_keepalive(true, u32::try_from(seconds).unwrap_or(u32::MAX));
        let banner = link.session.banner().unwrap_or_default();
        let closes_unused = banner.contains("dropbear");
        let now = Instant::now();
        Self {
            tasks: Vec::new(),
            spare: None,
            shells: Vec::new(),
            closing: Vec::new(),
            link,
            endpoint: Arc::clone(endpoint),
            limits,
            buffer: vec![0; 128 << 10],
            refused: None,
            full: None,
            refusals: 0,
            spare_closed: 0,
            closes_unused,
            heard: now,
            has_data: true,
            beaten: now,
            doubt: None,
            asked: None,
            outbound: false,
            wanted: false,
            urgent: false,
            used: false,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Returns the events to poll the socket for; `None` if no channel can take received data.
    pub(super) fn flags(&self) -> Option<PollFlags> {
        match (self.is_stalled(), self.outbound) {
            (true, _) => None,
            (false, true) => Some(PollFlags::IN | PollFlags::OUT),
            (false, false) => Some(PollFlags::IN),
        }
    }

    /// True if all readers are slow and there is no spare channel.
    fn is_stalled(&self) -> bool {
        let slow = || self.tasks.iter().all(|task| task.outbox.is_full());
        self.refused.is_some() && self.spare.is_none() && !self.tasks.is_empty() && slow()
    }

    /// Returns the number of running commands if the server allows no more on this connection.
    pub(super) fn full(&self) -> Option<usize> {
        let lasts = self.full.is_some_and(|since| since.elapsed() >= FULL);
        lasts.then(|| self.running())
    }

    /// Returns a lower bound of the number of commands that can run; `None` without a spare channel.
    pub(super) fn room(&self) -> Option<usize> {
        let room = (self.running() + 1).min(self.limits.channels);
        self.spare.as_ref().map(|_| room)
    }

    fn running(&self) -> usize {
        self.tasks.iter().filter(|task| !task.is_urgent).count()
    }

    /// Records that data was received.
    pub(super) fn on_data(&mut self) {
        self.heard = Instant::now();
        self.has_data = true;
        (self.doubt, self.asked) = (None, None);
    }

    /// Does one round of work on all channels; returns true if another round may do more.
    pub(super) fn round(
        &mut self,
        queue: &mut VecDeque<Job>,
        leaving: &mut Vec<Outbox>,
        context: &mut Context<'_>,
    ) -> Result<bool, SessionError> {
        let endpoint = Arc::clone(&self.endpoint);
        let ended = self.update(leaving, context);
        self.check_alive(!queue.is_empty())?;
        if self.doubt.is_some() || self.asked.is_some() {
            // A libssh2 call now might consume the answer to the keepalive unnoticed. The socket is polled first.
            self.outbound = false;
            return Ok(false);
        }
        let buffer = std::mem::take(&mut self.buffer);
        let mut io = Io::new(&endpoint.instance, &self.link.session, context, buffer);
        let has_data = std::mem::take(&mut self.has_data);
        if let Some(spare) = &mut self.spare
            && has_closed(spare, has_data, &mut io)?
        {
            // If the server closes the connection, the next call returns the error.
            self.closing.extend(self.spare.take());
            self.spare_closed += 1;
        }
        for at in (0..self.shells.len()).rev() {
            let (channel, shell) = &mut self.shells[at];
            let is_current = endpoint.kept.is_current(shell);
            if !is_current || has_closed(channel, has_data, &mut io)? {
                self.closing.push(self.shells.remove(at).0);
            }
        }
        if self.spare_closed > REFUSALS {
            let reason = "the server closes channels before they are used";
            return Err(SessionError(reason.to_owned()));
        }
        close(&mut self.closing, &mut io)?;
        let freed = io.progress;
        let started = self.start(queue);
        let starts = self.tasks.iter().any(Task::is_starting);
        for task in &mut self.tasks {
            task.write(&mut io)?;
        }
        let next = queue.front();
        self.wanted = next.is_some_and(|job| self.shells.is_empty() || job.request.is_none());
        self.urgent = next.is_some_and(|job| job.is_urgent);
        let opened = self.open(&mut io)?;
        // Calls that wait for a packet leave those behind it in libssh2's buffer.
        self.has_data = freed || opened || starts;
        for task in &mut self.tasks {
            // The calls for other channels may have received data of this one.
            if has_data || task.has_more() || task.channel.eof() {
                task.read(&mut io)?;
            }
        }
        (self.outbound, self.buffer) = (io.outbound, io.buffer);
        let progress = ended || started || opened || io.progress;
        // A read for one channel also receives the data of other channels.
        Ok(progress || self.tasks.iter().any(Task::has_more))
    }

    /// Opens the spare channel; returns true if it was opened.
    fn open(&mut self, io: &mut Io<'_, '_>) -> Result<bool, SessionError> {
        let now = Instant::now();
        let pause = match self.wanted {
            true => RETRY,
            false => IDLE_RETRY,
        };
        if self.spare.is_some()
            || self.is_full_of_shells()
            || self.refused.is_some_and(|refused| now < refused + pause)
            || self.closes_unused && !self.can_open()
        {
            return Ok(false);
        }
        match self.link.session.channel_session() {
            Ok(channel) => {
                (self.spare, self.refusals) = (Some(channel), 0);
                (self.refused, self.full) = (None, None);
                Ok(true)
            }
            Err(error) => {
                if let Some(text) = io.classify(&error)? {
                    self.refused = Some(now);
                    if self.wanted && !self.shells.is_empty() {
                        // The server counts the shell until it has seen the close message.
                        self.closing.push(self.shells.remove(0).0);
                    } else if !self.shells.is_empty() {
                        // Without a spare channel, commands run in the kept shells.
                    } else if self.tasks.is_empty() {
                        self.refusals += 1;
                    } else if self.closing.is_empty() {
                        self.full.get_or_insert(now);
                    }
                    if self.refusals > REFUSALS {
                        let reason = format!("the server refuses to open channels: {text}");
                        return Err(SessionError(reason));
                    }
                } else if !self.used {
                    acknowledge_at_once(&self.link.socket);
                }
                Ok(false)
            }
        }
    }

    /// True if the server allows no channel beside the kept shells, and no command waits for one.
    fn is_full_of_shells(&self) -> bool {
        self.refused.is_some() && !self.shells.is_empty() && !self.wanted
    }

    /// True if a channel may be opened on a server that closes unused channels: no channel is closing and, if others are
    /// open, a job waits.
    fn can_open(&self) -> bool {
        let used = self.tasks.len() + self.shells.len() + self.closing.len();
        let none_open = used == 0;
        none_open || self.urgent || self.wanted && self.closing.is_empty()
    }

    /// Gives a kept shell or the spare channel to the next job.
    fn start(&mut self, queue: &mut VecDeque<Job>) -> bool {
        let has_room = self.running() < self.limits.channels;
        let Some(job) = queue.front().filter(|job| job.is_urgent || has_room) else {
            return false;
        };
        let is_kept = job.request.is_some();
        let shell = self.shells.pop_if(|_| is_kept);
        if self.doubt.is_some() || shell.is_none() && self.spare.is_none() {
            self.shells.extend(shell);
            return false;
        }
        let Some(job) = queue.pop_front() else {
            return false;
        };
        if let Some((channel, shell)) = shell {
            self.tasks.push(Task::on_shell(job, channel, shell));
        } else if let Some(channel) = self.spare.take() {
            let shell = is_kept.then(|| self.endpoint.kept.login()).flatten();
            self.tasks.push(Task::new(job, channel, shell));
            (self.used, self.spare_closed) = (true, 0);
        }
        if self.tasks.len() + self.shells.len() > self.limits.channels && !self.shells.is_empty() {
            self.closing.push(self.shells.remove(0).0);
        }
        true
    }

    /// Sends events, and removes the tasks that have ended; returns true if there were any.
    fn update(&mut self, leaving: &mut Vec<Outbox>, context: &mut Context<'_>) -> bool {
        let before = self.tasks.len();
        for at in (0..before).rev() {
            if self.tasks[at].has_ended(context) {
                let (channel, outbox, shell) = self.tasks.remove(at).leave();
                self.full = None;
                leaving.push(outbox);
                match shell {
                    Some(shell) => self.shells.push((channel, shell)),
                    None => {
                        self.has_data = true;
                        self.closing.push(channel);
                    }
                }
            }
        }
        before != self.tasks.len()
    }

    /// Sends a keepalive if one is due, and fails if an answer is overdue.
    fn check_alive(&mut self, wanted: bool) -> Result<(), SessionError> {
        let (now, limits) = (Instant::now(), self.limits);
        if self.is_stalled() {
            self.heard = now;
        }
        let quiet = now.saturating_duration_since(self.heard);
        let late = |asked: &Instant| now.saturating_duration_since(*asked) >= limits.answer;
        self.asked = self.asked.filter(|asked| !late(asked));
        if let Some(since) = self.doubt {
            if late(&since) {
                return Err(SessionError("no answer after an idle period".to_owned()));
            }
        } else if self.tasks.is_empty() {
            if wanted && quiet >= limits.idle {
                self.doubt = Some(now);
                self.beat(now)?;
            }
        } else if quiet >= limits.silence {
            let quiet = humantime::format_duration(Duration::from_secs(quiet.as_secs()));
            return Err(SessionError(format!("no data received for {quiet}")));
        } else if quiet >= limits.heartbeat && now >= self.beaten + limits.heartbeat {
            self.beat(now)?;
        }
        Ok(())
    }

    /// Sends a keepalive.
    fn beat(&mut self, now: Instant) -> Result<(), SessionError> {
        self.beaten = now;
        // Only if the socket is writable: libssh2 cannot complete a partially sent keepalive.
        let mut room = [PollFd::new(&self.link.socket, PollFlags::OUT)];
        if rustix::event::poll(&mut room, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
            self.link
                .session
                .keepalive_send()
                .map_err(|error| SessionError(error.message().to_owned()))?;
            self.asked = Some(now);
        }
        Ok(())
    }

    /// Returns the time of the next round if no event occurs before.
    pub(super) fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut due = Vec::new();
        if !self.tasks.is_empty() {
            due.push(self.heard + self.limits.silence);
            due.push(self.heard.max(self.beaten) + self.limits.heartbeat);
        }
        let asked = self.doubt.into_iter().chain(self.asked);
        due.extend(asked.map(|since| since + self.limits.answer));
        // A read for another channel may have received the answer to a request to open a channel or start a command.
        let opens = self.spare.is_none() && !self.is_full_of_shells();
        if opens || self.tasks.iter().any(Task::is_starting) {
            due.push(now + RETRY);
        }
        due.into_iter().min()
    }

    /// Ends all commands with the error of the session.
    pub(super) fn lose(mut self, instance: &str, why: &SessionError, leaving: &mut Vec<Outbox>) {
        for task in self.tasks.drain(..) {
            let text = format!(
                "lost the connection to `{instance}` at {} while a command ran: {}",
                self.link.address, why.0
            );
            leaving.push(task.lose(Error::infra(text)));
        }
    }
}

/// Disables delayed acknowledgements, which take 40 ms each.
///
/// Before the first command, sshd delays a small packet until the previous one is acknowledged (Nagle's algorithm).
fn acknowledge_at_once(socket: impl AsFd) {
    #[cfg(target_os = "linux")]
    // Fails for the socket pair of a jump host, which has no acknowledgements.
    let _ = rustix::net::sockopt::set_tcp_quickack(socket, true);
    #[cfg(not(target_os = "linux"))]
    drop(socket);
}

/// Returns true if an unused channel was closed. Reads from it if the socket has data, so that libssh2 handles messages
/// for the session.
fn has_closed(
    channel: &mut Channel,
    has_data: bool,
    io: &mut Io<'_, '_>,
) -> Result<bool, SessionError> {
    if !has_data {
        return Ok(channel.eof());
    }
    match channel.read(&mut io.buffer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(SessionError(error.to_string())),
        Ok(read) => Ok(read == 0),
    }
}

fn close(closing: &mut Vec<Channel>, io: &mut Io<'_, '_>) -> Result<(), SessionError> {
    for at in (0..closing.len()).rev() {
        let done = match closing[at].close() {
            Ok(()) => true,
            Err(error) => io.classify(&error)?.is_some(),
        };
        if done {
            closing.remove(at);
            io.progress = true;
        }
    }
    Ok(())
}
