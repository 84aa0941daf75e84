//! Commands over SSH: one thread per session owns the session and everything made from it.
//!
//! Owns the transport's outside: what is sent to its sessions (one, more when many commands run at once). Must not touch libssh2 (`ssh/*` does).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use target_fixtures::wire::Command;
use tokio::sync::mpsc;

use super::{Answer, Running, RunningEnd, Transport, own_command, shell};
use crate::{
    connect::SshReach,
    error::{Error, ErrorKind, Result},
};

mod auth;
mod connect;
mod dial;
mod handshake;
mod host_key;
mod io;
mod live;
mod outbox;
mod owner;
mod poll_waker;
mod sessions;
mod task;

use sessions::Sessions;

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
    reach: SshReach,
    sessions: Arc<Sessions>,
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
    signals: Option<mpsc::UnboundedReceiver<String>>,
    /// Whether it is one of the transport's own kills.
    internal: bool,
    _load: Option<Arc<()>>,
}

impl Ssh {
    /// A transport that connects when it is first used.
    pub fn new(instance: &str, reach: &SshReach, limits: Limits) -> Self {
        Self {
            instance: instance.to_owned(),
            reach: reach.clone(),
            sessions: Sessions::new(instance, reach, limits),
        }
    }

    fn submit(
        &self,
        command: &Command,
        lease: &str,
        stdin: Option<mpsc::Receiver<Vec<u8>>>,
        within: Option<Duration>,
    ) -> Result<Running> {
        let (running, RunningEnd { events, signals }) = Running::new();
        let job = Job {
            wrapped: shell::wrap(command, lease, stdin.is_some())?,
            timeout: command.timeout.map(Duration::from_millis),
            expires: within.map(|within| Instant::now() + within),
            stdin,
            events,
            signals: Some(signals),
            internal: false,
            _load: None,
        };
        if self.sessions.give(job) {
            return Ok(running);
        }
        let text = format!(
            "`{}`: the connection's thread could not be started",
            self.instance
        );
        Err(Error::new(ErrorKind::Infra, text))
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

    fn knock(&self, patience: Duration) -> Answer<()> {
        let (instance, reach) = (self.instance.clone(), self.reach.clone());
        Box::pin(async move {
            let knock = move || connect::knock(&instance, &reach, patience);
            let knocked = tokio::task::spawn_blocking(knock).await;
            knocked.unwrap_or_else(|error| Err(Error::new(ErrorKind::Other, error.to_string())))
        })
    }

    fn probe(&self, deadline: Duration) -> Answer<Duration> {
        let started = Instant::now();
        let running = self.submit(&own_command(":".to_owned(), None), "", None, Some(deadline));
        let what = format!("`{}` does not answer", self.instance);
        Box::pin(async move {
            running?.finished().await?.success(&what)?;
            Ok(started.elapsed())
        })
    }

    fn sweep(&self, lease: &str, deadline: Duration) -> Answer<()> {
        let command = own_command(shell::sweep(lease), None);
        let running = self.submit(&command, "", None, Some(deadline));
        let what = format!("`{}`: cannot kill what `{lease}` left", self.instance);
        Box::pin(async move { running?.finished().await?.success(&what).map(drop) })
    }
}
