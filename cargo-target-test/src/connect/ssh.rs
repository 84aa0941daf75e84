//! Runs commands over SSH. Each session is owned by one thread; more sessions are opened when many commands run at once.

// Must not call libssh2: `ssh/*` does.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex, OnceLock, atomic::AtomicUsize},
    time::Instant,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    CommandEvent, CommandStdin, Transport,
    remote::{ExecProgram, RemoteTransport},
    shell::{KeptShell, KeptShells},
    ssh_client::SshClients,
};
use crate::{connect::SshReach, error::Result};

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

pub(super) use connect::knock;
pub use limits::Limits;
pub(super) use sessions::Sessions;

/// Creates the transport to a host by SSH, which connects when it is first used.
pub fn connect(instance: &str, reach: &SshReach, limits: Limits) -> impl Transport + use<> {
    let clients = SshClients::new(Endpoint {
        instance: instance.to_owned(),
        reach: reach.clone(),
        limits,
        kept: Arc::new(KeptShells::new(reach.shells)),
        losses: AtomicUsize::new(0),
        host_key: OnceLock::new(),
        knocked: Mutex::default(),
    });
    RemoteTransport::new(instance, ExecProgram::Ssh(Arc::new(clients)))
}

/// The instance that sessions connect to.
pub(super) struct Endpoint {
    pub(super) instance: String,
    pub(super) reach: SshReach,
    pub(super) limits: Limits,
    pub(super) kept: Arc<KeptShells>,
    /// The number of connections that were lost.
    pub(super) losses: AtomicUsize,
    /// Type and fingerprint of the key that the host presented at the first login.
    pub(super) host_key: OnceLock<String>,
    /// The connection on which the server answered a knock: the next login uses it, so that the server starts no further
    /// process.
    pub(super) knocked: Mutex<Option<(OwnedFd, Instant)>>,
}

/// A command for a session thread.
struct Job {
    /// The line for a login of its own.
    line: String,
    /// The request for a kept shell, if one may run the command.
    request: Option<Vec<u8>>,
    stdin: Option<CommandStdin>,
    events: mpsc::Sender<CommandEvent>,
    /// Told when the command starts, with its kept shell if it runs in one; or why it cannot start.
    started: oneshot::Sender<Result<Option<KeptShell>>>,
    /// Gives the shell back if it may serve another command.
    returned: oneshot::Receiver<KeptShell>,
    /// True for a signal to another command: it does not queue behind commands.
    is_urgent: bool,
    /// Counts the jobs of the session.
    _load: Option<Arc<()>>,
}
