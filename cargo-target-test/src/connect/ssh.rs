//! Runs commands over SSH. Each session is owned by one thread; more sessions are opened when many commands run at once.
//!
//! Must not call libssh2: `ssh/*` does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use target_fixtures::wire::ShellCommand;
use tokio::sync::mpsc;

use super::{Running, RunningEnd, Transport, TransportFuture, own_command, shell, sweep_context};
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
mod limits;
mod live;
mod outbox;
mod owner;
mod poll_waker;
mod sessions;
mod task;

pub use limits::Limits;
use sessions::Sessions;

/// The SSH transport to one instance.
pub struct SshTransport {
    instance: String,
    reach: SshReach,
    sessions: Arc<Sessions>,
}

/// A command for a session thread.
struct Job {
    wrapped: shell::WrappedLine,
    /// The timeout, from the start of the command.
    timeout: Option<Duration>,
    /// The deadline, which includes queueing and connecting.
    expires: Option<Instant>,
    stdin: Option<mpsc::Receiver<Vec<u8>>>,
    events: mpsc::Sender<super::CommandEvent>,
    signals: Option<mpsc::UnboundedReceiver<String>>,
    /// True if the transport itself started the command, to signal another command.
    internal: bool,
    /// Counts the jobs of the session.
    _load: Option<Arc<()>>,
}

impl SshTransport {
    /// Creates a transport that connects when it is first used.
    pub fn new(instance: &str, reach: &SshReach, limits: Limits) -> Self {
        Self {
            instance: instance.to_owned(),
            reach: reach.clone(),
            sessions: Sessions::new(instance, reach, limits),
        }
    }

    fn submit(
        &self,
        command: &ShellCommand,
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
        if self.sessions.assign(job) {
            return Ok(running);
        }
        let text = format!("`{}`: failed to start the connection thread", self.instance);
        Err(Error::new(ErrorKind::Infra, text))
    }
}

impl Transport for SshTransport {
    fn exec(
        &self,
        command: &ShellCommand,
        lease: &str,
        stdin: Option<mpsc::Receiver<Vec<u8>>>,
    ) -> Running {
        self.submit(command, lease, stdin, None)
            .unwrap_or_else(Running::lost)
    }

    fn knock(&self, timeout: Duration) -> TransportFuture<()> {
        let (instance, reach) = (self.instance.clone(), self.reach.clone());
        Box::pin(async move {
            let knock = move || connect::knock(&instance, &reach, timeout);
            let knocked = tokio::task::spawn_blocking(knock).await;
            knocked.unwrap_or_else(|error| Err(Error::new(ErrorKind::Other, error.to_string())))
        })
    }

    fn probe(&self, timeout: Duration) -> TransportFuture<Duration> {
        let started = Instant::now();
        let running = self.submit(&own_command(":".to_owned(), None), "", None, Some(timeout));
        let what = format!("`{}` does not answer", self.instance);
        Box::pin(async move {
            running?.finished().await?.success(&what)?;
            Ok(started.elapsed())
        })
    }

    fn sweep(&self, lease: &str, timeout: Duration) -> TransportFuture<()> {
        let command = own_command(shell::sweep(lease), None);
        let running = self.submit(&command, "", None, Some(timeout));
        let what = sweep_context(&self.instance, lease);
        Box::pin(async move { running?.finished().await?.success(&what).map(drop) })
    }
}
