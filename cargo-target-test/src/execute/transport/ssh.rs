//! Commands over SSH: one thread per instance owns the session and everything made from it.
//!
//! Owns the transport's outside: what is sent to that thread. Must not touch libssh2 (`ssh/*` does).

use std::{
    sync::{Arc, mpsc as std_mpsc},
    thread,
    time::{Duration, Instant},
};

use target_fixtures::wire::Command;
use tokio::sync::mpsc;

use super::{Answer, EVENTS, Running, Transport, own_command, shell};
use crate::{
    error::{Error, ErrorKind, Result},
    provision::platform::SshReach,
};

mod auth;
mod bell;
mod connect;
mod host_key;
mod live;
mod outbox;
mod owner;
mod task;

use bell::Bell;

/// The times and numbers of a session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How often the instance is asked for a sign of life.
    pub heartbeat: Duration,
    /// How long it may say nothing before the connection counts as lost.
    pub silence: Duration,
    /// After how long without a word a connection must prove itself before it gets a command.
    pub idle: Duration,
    /// How long that proof, and the killing of a command, may take.
    pub answer: Duration,
    /// How many commands run at once; sshd's default allows 10 channels.
    pub channels: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            silence: Duration::from_secs(20),
            idle: Duration::from_secs(3),
            answer: Duration::from_secs(4),
            channels: 8,
        }
    }
}

/// The way to one instance over SSH.
pub struct Ssh {
    instance: String,
    jobs: std_mpsc::Sender<Job>,
    bell: Arc<Bell>,
}

/// A command on its way to the thread.
struct Job {
    wrapped: shell::Wrapped,
    /// How long it may run, from its start.
    timeout: Option<Duration>,
    /// When it must be over, waiting and connecting included.
    expires: Option<Instant>,
    stdin: Option<mpsc::Receiver<Vec<u8>>>,
    events: mpsc::Sender<super::Event>,
}

impl Ssh {
    /// A transport that connects when it is first used.
    pub fn new(instance: &str, reach: &SshReach, limits: Limits) -> Self {
        let (jobs, receiver) = std_mpsc::channel();
        let bell = Arc::new(Bell::new());
        let owner = owner::Owner::new(instance, reach, limits, receiver, &bell);
        // Without a thread the receiver is gone, which every command will tell.
        let _ = thread::Builder::new()
            .name(format!("ssh {instance}"))
            .spawn(|| owner.run());
        Self {
            instance: instance.to_owned(),
            jobs,
            bell,
        }
    }

    fn submit(
        &self,
        command: &Command,
        lease: &str,
        stdin: Option<mpsc::Receiver<Vec<u8>>>,
        within: Option<Duration>,
    ) -> Result<Running> {
        let (events, receiver) = mpsc::channel(EVENTS);
        let job = Job {
            wrapped: shell::wrap(command, lease, stdin.is_some())?,
            timeout: command.timeout.map(Duration::from_millis),
            expires: within.map(|within| Instant::now() + within),
            stdin,
            events,
        };
        self.jobs.send(job).map_err(|_| {
            let text = format!("`{}`: the connection's thread is gone", self.instance);
            Error::new(ErrorKind::Infra, text)
        })?;
        self.bell.ring();
        Ok(Running { events: receiver })
    }
}

impl Transport for Ssh {
    fn exec(
        &self,
        command: &Command,
        lease: &str,
        stdin: Option<mpsc::Receiver<Vec<u8>>>,
    ) -> Running {
        self.submit(command, lease, stdin, None)
            .unwrap_or_else(Running::lost)
    }

    fn probe(&self, deadline: Duration) -> Answer<Duration> {
        let started = Instant::now();
        let running = self.submit(&own_command(":".to_owned(), None), "", None, Some(deadline));
        let what = format!("`{}` does not answer", self.instance);
        Box::pin(async move {
            running?.outcome().await?.success(&what)?;
            Ok(started.elapsed())
        })
    }

    fn sweep(&self, lease: &str, deadline: Duration) -> Answer<()> {
        let command = own_command(shell::sweep(lease), None);
        let running = self.submit(&command, "", None, Some(deadline));
        let what = format!("`{}`: cannot kill what `{lease}` left", self.instance);
        Box::pin(async move { running?.outcome().await?.success(&what).map(drop) })
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        // The sender goes right after this; the thread looks again until it has.
        self.bell.close();
    }
}
