//! Runs commands over SSH. Each session is owned by one thread; more sessions are opened when many commands run at once.

// Must not call libssh2: `ssh/*` does.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use target_fixtures::wire::ShellCommand;
use tokio::sync::mpsc;

use super::{
    CommandStdin, ProbeAnswer, Running, RunningEnd, Transport, TransportFuture, answered,
    own_command,
    shell::{self, KeptShells},
    swept,
};
use crate::{
    connect::SshReach,
    error::{Error, Result},
    sync,
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
    endpoint: Arc<Endpoint>,
    sessions: Arc<Sessions>,
}

/// The instance that sessions connect to.
struct Endpoint {
    instance: String,
    reach: SshReach,
    limits: Limits,
    kept: KeptShells,
    /// The number of connections that were lost.
    losses: AtomicUsize,
    /// Type and fingerprint of the key that the host presented at the first login.
    host_key: OnceLock<String>,
}

/// A command for a session thread.
struct Job {
    wrapped: shell::WrappedLine,
    /// The timeout, from the start of the command.
    timeout: Option<Duration>,
    /// The deadline, which includes queueing and connecting.
    expires: Option<Instant>,
    stdin: Option<CommandStdin>,
    events: mpsc::Sender<super::CommandEvent>,
    signals: Option<mpsc::UnboundedReceiver<super::SignalRequest>>,
    /// True if the transport itself started the command, to signal another command.
    internal: bool,
    /// Prevents kept shells while a command runs that must have a login of its own.
    _fresh: Option<Arc<()>>,
    /// Counts the jobs of the session.
    _load: Option<Arc<()>>,
}

impl Job {
    /// True if a kept shell may run the command.
    fn may_be_kept(&self) -> bool {
        self.wrapped.request.is_some()
    }
}

impl SshTransport {
    /// Creates a transport that connects when it is first used.
    pub fn new(instance: &str, reach: &SshReach, limits: Limits) -> Self {
        let endpoint = Arc::new(Endpoint {
            instance: instance.to_owned(),
            reach: reach.clone(),
            limits,
            kept: KeptShells::new(reach.shells),
            losses: AtomicUsize::new(0),
            host_key: OnceLock::new(),
        });
        Self {
            sessions: Sessions::new(&endpoint),
            endpoint,
        }
    }

    fn submit(
        &self,
        command: &ShellCommand,
        lease: &str,
        stdin: Option<CommandStdin>,
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
            _fresh: shell::ends_shells(command).then(|| self.endpoint.kept.close()),
            _load: None,
        };
        if self.sessions.assign(job) {
            return Ok(running);
        }
        let instance = &self.endpoint.instance;
        let text = format!("`{instance}`: failed to start the connection thread");
        Err(Error::infra(text))
    }
}

impl Transport for SshTransport {
    fn exec(&self, command: &ShellCommand, lease: &str, stdin: Option<CommandStdin>) -> Running {
        self.submit(command, lease, stdin, None)
            .unwrap_or_else(Running::lost)
    }

    fn knock(&self, timeout: Duration) -> TransportFuture<()> {
        let endpoint = Arc::clone(&self.endpoint);
        Box::pin(sync::blocking(move || connect::knock(&endpoint, timeout)))
    }

    fn probe(&self, timeout: Duration) -> TransportFuture<ProbeAnswer> {
        let (asked, command) = (Instant::now(), own_command(shell::BOOT_ID.to_owned(), None));
        let running = self.submit(&command, "", None, Some(timeout));
        answered(&self.endpoint.instance, asked, running)
    }

    fn losses(&self) -> usize {
        self.endpoint.losses.load(Ordering::Relaxed)
    }

    fn host_key(&self) -> Option<String> {
        self.endpoint.host_key.get().cloned()
    }

    fn sweep(&self, lease: &str, timeout: Duration) -> TransportFuture<()> {
        let command = own_command(shell::sweep(lease), None);
        let running = self.submit(&command, "", None, Some(timeout));
        swept(&self.endpoint.instance, lease, running)
    }
}
