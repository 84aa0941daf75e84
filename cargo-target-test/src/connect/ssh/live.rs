//! A session at work: its channels, and the signs of life of its other end.
//!
//! Owns the order in which libssh2 is called, on one thread, never blocking. Must not connect.

use std::{
    collections::VecDeque,
    io::Read,
    os::fd::AsFd,
    task::Context,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec};
use ssh2::Channel;

use super::{
    Job, Limits,
    connect::Link,
    io::{Dead, Io, Trouble},
    outbox::Outbox,
    task::Task,
};
use crate::error::{Error, ErrorKind};

/// How long a refused channel is waited for before the next try, where something waits for it.
const PAUSE: Duration = Duration::from_millis(20);
/// The same where nothing waits: some servers note every refusal in their log.
const LAZY: Duration = Duration::from_secs(1);
/// How long channels are refused while the same commands run before that counts as all there are: one that was just
/// closed may still count at the server.
const FULL: Duration = Duration::from_millis(100);
/// How often a channel is asked for while no other is open, before the session counts as useless.
const REFUSALS: u32 = 100;

pub(super) struct Live {
    tasks: Vec<Task>,
    /// A channel that is open before it is needed: a command then takes one round trip less, and an idle
    /// session has something to read.
    spare: Option<Channel>,
    /// Channels whose close message is not sent yet.
    closing: Vec<Channel>,
    pub(super) link: Link,
    limits: Limits,
    buffer: Vec<u8>,
    /// Kills.
    pub(super) urgent: VecDeque<Job>,
    /// When a channel was refused last, if none was given since.
    refused: Option<Instant>,
    /// Since when channels are refused while the same commands run.
    full: Option<Instant>,
    refusals: u32,
    /// How often the spare channel was closed since a command ran.
    spare_closed: u32,
    /// The server closes a channel that is not used yet when a command on another one ends (dropbear does).
    shy: bool,
    /// When anything was last heard.
    heard: Instant,
    beaten: Instant,
    /// Since when the session has to prove itself before it gets a command.
    doubt: Option<Instant>,
    /// When it was asked for a sign of life that may still come.
    asked: Option<Instant>,
    outbound: bool,
    /// Whether it ever ran a command.
    pub(super) used: bool,
}

impl Drop for Live {
    fn drop(&mut self) {
        // First, so that freeing channels fails instead of waiting to say goodbye.
        let _ = rustix::net::shutdown(&self.link.socket, rustix::net::Shutdown::Both);
    }
}

impl Live {
    pub(super) fn new(link: Link, limits: Limits) -> Self {
        // libssh2 counts for itself too; a second less, so that its count never outlasts ours.
        let seconds = limits.heartbeat.as_secs().saturating_sub(1).max(2);
        link.session
            .set_keepalive(true, u32::try_from(seconds).unwrap_or(u32::MAX));
        let banner = link.session.banner().unwrap_or_default();
        let shy = banner.contains("dropbear");
        let now = Instant::now();
        Self {
            tasks: Vec::new(),
            spare: None,
            closing: Vec::new(),
            link,
            limits,
            buffer: vec![0; 128 << 10],
            urgent: VecDeque::new(),
            refused: None,
            full: None,
            refusals: 0,
            spare_closed: 0,
            shy,
            heard: now,
            beaten: now,
            doubt: None,
            asked: None,
            outbound: false,
            used: false,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// What to poll the socket for; nothing while every reader is slow and no channel is spare, when
    /// nobody would take what comes.
    pub(super) fn flags(&self) -> Option<PollFlags> {
        match (self.is_stalled(), self.outbound) {
            (true, _) => None,
            (false, true) => Some(PollFlags::IN | PollFlags::OUT),
            (false, false) => Some(PollFlags::IN),
        }
    }

    fn is_stalled(&self) -> bool {
        let slow = || self.tasks.iter().all(|task| task.outbox.is_full());
        self.refused.is_some() && self.spare.is_none() && !self.tasks.is_empty() && slow()
    }

    /// How many commands run, where the server allows no more on this connection.
    pub(super) fn full(&self) -> Option<usize> {
        let lasts = self.full.is_some_and(|since| since.elapsed() >= FULL);
        lasts.then(|| self.running())
    }

    /// How many commands can run, where a channel is spare.
    pub(super) fn room(&self) -> Option<usize> {
        let room = (self.running() + 1).min(self.limits.channels);
        self.spare.as_ref().map(|_| room)
    }

    fn running(&self) -> usize {
        self.tasks.iter().filter(|task| !task.internal).count()
    }

    /// The socket had something to read.
    pub(super) fn hears(&mut self) {
        self.heard = Instant::now();
        (self.doubt, self.asked) = (None, None);
    }

    /// One round over all channels; whether something happened.
    pub(super) fn round(
        &mut self,
        instance: &str,
        queue: &mut VecDeque<Job>,
        leaving: &mut Vec<Outbox>,
        context: &mut Context<'_>,
    ) -> Result<bool, Dead> {
        self.signs_of_life(!queue.is_empty())?;
        if self.doubt.is_some() || self.asked.is_some() {
            // Whatever reads or writes now could take the sign of life off the socket, and nobody would know that it
            // came. There is nothing to read before the socket says so.
            self.outbound = false;
            return Ok(false);
        }
        let mut io = Io::new(instance, &self.link.session, context, &mut self.buffer);
        if drain(self.spare.as_mut(), &mut io)? {
            // If it is the server that goes, the next one tells.
            self.closing.extend(self.spare.take());
            self.spare_closed += 1;
        }
        if self.spare_closed > REFUSALS {
            return Err(Dead("it closes channels before they are used".to_owned()));
        }
        close(&mut self.closing, &mut io)?;
        for task in &mut self.tasks {
            task.write(&mut io)?;
        }
        let written = (io.progress, io.outbound);
        let opened = self.open(instance, !queue.is_empty(), context)?;
        let started = self.start(queue);
        let mut io = Io::new(instance, &self.link.session, context, &mut self.buffer);
        for task in &mut self.tasks {
            task.read(&mut io)?;
        }
        let progress = written.0 || opened.0 || started || io.progress;
        self.outbound = written.1 || opened.1 || io.outbound;
        let ended = self.tend(instance, leaving, context);
        // Reading for one channel also takes what belongs to another off the socket.
        Ok(progress || ended || self.tasks.iter().any(Task::has_more))
    }

    /// Opens the spare channel; whether something happened, and whether the socket is full.
    fn open(
        &mut self,
        instance: &str,
        wanted: bool,
        context: &mut Context<'_>,
    ) -> Result<(bool, bool), Dead> {
        let now = Instant::now();
        let pause = match wanted || !self.urgent.is_empty() {
            true => PAUSE,
            false => LAZY,
        };
        if self.spare.is_some()
            || self.refused.is_some_and(|refused| now < refused + pause)
            || self.shy && !self.is_time(wanted)
        {
            return Ok((false, false));
        }
        let mut io = Io::new(instance, &self.link.session, context, &mut self.buffer);
        match self.link.session.channel_session() {
            Ok(channel) => {
                (self.spare, self.refusals) = (Some(channel), 0);
                (self.refused, self.full) = (None, None);
                Ok((true, false))
            }
            Err(error) => {
                if let Trouble::Channel(text) = io.sort(&error)? {
                    self.refused = Some(now);
                    if self.tasks.is_empty() {
                        self.refusals += 1;
                    } else if self.closing.is_empty() {
                        self.full.get_or_insert(now);
                    }
                    if self.refusals > REFUSALS {
                        return Err(Dead(format!("no command may be run: {text}")));
                    }
                } else if !self.used {
                    acknowledge_at_once(&self.link.socket);
                }
                Ok((false, io.outbound))
            }
        }
    }

    /// Whether a shy server may be asked for a channel: not while one is closing, and while others are open only for
    /// what waits.
    fn is_time(&self, wanted: bool) -> bool {
        let none_open = self.tasks.is_empty() && self.closing.is_empty();
        none_open || !self.urgent.is_empty() || wanted && self.closing.is_empty()
    }

    /// Gives the spare channel to the next job.
    fn start(&mut self, queue: &mut VecDeque<Job>) -> bool {
        if self.doubt.is_some() || self.spare.is_none() {
            return false;
        }
        let job = match self.urgent.pop_front() {
            None if self.running() < self.limits.channels => queue.pop_front(),
            urgent => urgent,
        };
        let Some(job) = job else { return false };
        if let Some(channel) = self.spare.take() {
            self.tasks.push(Task::new(job, channel));
            (self.used, self.spare_closed) = (true, 0);
        }
        true
    }

    fn tend(
        &mut self,
        instance: &str,
        leaving: &mut Vec<Outbox>,
        context: &mut Context<'_>,
    ) -> bool {
        for task in &mut self.tasks {
            self.urgent
                .extend(task.tend(instance, context, self.limits.answer));
        }
        let before = self.tasks.len();
        for at in (0..before).rev() {
            if self.tasks[at].finished {
                let task = self.tasks.remove(at);
                self.full = None;
                self.closing.push(task.channel);
                leaving.push(task.outbox);
            }
        }
        before != self.tasks.len() || (!self.urgent.is_empty() && self.spare.is_some())
    }

    /// Asks for a sign of life where one is due, and gives up where none came.
    fn signs_of_life(&mut self, wanted: bool) -> Result<(), Dead> {
        let (now, limits) = (Instant::now(), self.limits);
        if self.is_stalled() {
            self.heard = now;
        }
        let quiet = now.saturating_duration_since(self.heard);
        let late = |asked: &Instant| now.saturating_duration_since(*asked) >= limits.answer;
        self.asked = self.asked.filter(|asked| !late(asked));
        if let Some(since) = self.doubt {
            if late(&since) {
                return Err(Dead("it did not answer after a pause".to_owned()));
            }
        } else if self.tasks.is_empty() {
            if wanted && quiet >= limits.idle {
                self.doubt = Some(now);
                self.beat(now)?;
            }
        } else if quiet >= limits.silence {
            let quiet = humantime::format_duration(Duration::from_secs(quiet.as_secs()));
            return Err(Dead(format!("nothing was heard of it for {quiet}")));
        } else if quiet >= limits.heartbeat && now >= self.beaten + limits.heartbeat {
            self.beat(now)?;
        }
        Ok(())
    }

    fn beat(&mut self, now: Instant) -> Result<(), Dead> {
        self.beaten = now;
        // A half-sent keepalive could never be completed (libssh2 keeps no copy): only when there is room.
        let mut room = [PollFd::new(&self.link.socket, PollFlags::OUT)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        if rustix::event::poll(&mut room, Some(&at_once)).is_ok_and(|ready| ready > 0) {
            self.link
                .session
                .keepalive_send()
                .map_err(|error| Dead(error.message().to_owned()))?;
            self.asked = Some(now);
        }
        Ok(())
    }

    /// When the next round is due though nothing happens.
    pub(super) fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut due: Vec<Instant> = self.tasks.iter().filter_map(Task::due).collect();
        if !self.tasks.is_empty() {
            due.push(self.heard + self.limits.silence);
            due.push(self.heard.max(self.beaten) + self.limits.heartbeat);
        }
        let asked = self.doubt.into_iter().chain(self.asked);
        due.extend(asked.map(|since| since + self.limits.answer));
        // An answer that another channel's read took off the socket is found by looking again.
        if self.spare.is_none() || self.tasks.iter().any(Task::is_starting) {
            due.push(now + PAUSE);
        }
        due.into_iter().min()
    }

    /// Tells all commands that the session is gone.
    pub(super) fn lose(mut self, instance: &str, why: &Dead, leaving: &mut Vec<Outbox>) {
        for task in self.tasks.drain(..) {
            let text = format!(
                "lost the connection to `{instance}` at {} while a command ran: {}",
                self.link.address, why.0
            );
            leaving.push(task.lose(Error::new(ErrorKind::Infra, text)));
        }
    }
}

/// Before the first command sshd holds each small packet back until the one before is acknowledged, which takes
/// the kernel 40 ms unless it is told not to wait.
fn acknowledge_at_once(socket: impl AsFd) {
    #[cfg(target_os = "linux")]
    // Of what is no TCP (a jump) nobody waits for acknowledgements.
    let _ = rustix::net::sockopt::set_tcp_quickack(socket, true);
    #[cfg(not(target_os = "linux"))]
    drop(socket);
}

/// Reads what is not for any command: requests of the server, and its going away; says whether the channel was
/// closed.
fn drain(spare: Option<&mut Channel>, io: &mut Io<'_, '_>) -> Result<bool, Dead> {
    let Some(channel) = spare else {
        return Ok(false);
    };
    match channel.read(io.buffer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(Dead(error.to_string())),
        Ok(read) => Ok(read == 0),
    }
}

fn close(closing: &mut Vec<Channel>, io: &mut Io<'_, '_>) -> Result<(), Dead> {
    for at in (0..closing.len()).rev() {
        let done = match closing[at].close() {
            Ok(()) => true,
            Err(error) => matches!(io.sort(&error)?, Trouble::Channel(_)),
        };
        if done {
            closing.remove(at);
            io.progress = true;
        }
    }
    Ok(())
}
