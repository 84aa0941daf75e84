//! Connections to instances: the [`Transport`] trait, its events, and its implementations.
//!
//! Files are transferred by commands (`shell`), so a transport only has to run commands.

// Must not know leases, cases or clients.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use target_fixtures::wire::{Exit, Password, ShellCommand, Stream, Sudo};
use tokio::sync::{mpsc, oneshot};

use crate::{
    bounded,
    error::{Error, ErrorKind, Result},
    process::SessionLog,
    secret::{self, Bound},
    sync,
};

mod connection;
pub(crate) mod download;
pub mod files;
pub(crate) mod interactive;
mod local;
mod openssh;
mod place;
mod program;
mod reach;
mod remote;
pub(crate) mod shell;
mod shell_pool;
pub mod ssh;
mod ssh_client;
pub mod ssh_config;
pub(crate) mod ssh_file;
pub(crate) mod upload;

pub(crate) use connection::LiveConnection;
pub use files::FileMode;
pub(crate) use place::write as write_local;
pub use reach::{ContainerReach, LocalReach, LocalUser, ProgramReach, Reach, Shells, SshReach};
use remote::{ExecProgram, RemoteTransport};
use ssh::Limits;
pub use ssh_client::{SshClient, uses_openssh};

/// The number of events that are buffered before the command is slowed down.
const EVENTS: usize = 16;

/// Creates the transport to an instance, which connects when it is first used. Requires a tokio runtime.
pub fn connect(instance: &str, reach: &Reach) -> Arc<dyn Transport> {
    connect_logged(instance, reach, None)
}

/// As [`connect`]; `sessions` lists the sessions of commands that run on this host.
pub(crate) fn connect_logged(
    instance: &str,
    reach: &Reach,
    sessions: Option<SessionLog>,
) -> Arc<dyn Transport> {
    let exec_program = match reach {
        Reach::Local(reach) => {
            return Arc::new(local::LocalTransport {
                instance: instance.to_owned(),
                reach: reach.clone(),
                sessions,
            });
        }
        Reach::Ssh(reach) => return Arc::new(ssh::connect(instance, reach, Limits::default())),
        Reach::Container(reach) => ExecProgram::container(reach),
        Reach::Programs(reach) => ExecProgram::Programs(reach.as_ref().clone()),
        Reach::ByPlatform => ExecProgram::None,
    };
    Arc::new(RemoteTransport::new(instance, exec_program))
}

/// The chunks of a command's standard input.
pub type CommandStdin = mpsc::Receiver<Vec<u8>>;

/// A connection to one instance, closed when it is dropped.
pub trait Transport: Send + Sync {
    /// Starts a command and returns a handle that receives its events.
    ///
    /// Never blocks: failures to connect or to start the command are events as well.
    ///
    /// `lease` marks all processes of the command (environment variable `TARGET_TEST_LEASE`) for [`Transport::sweep`].
    /// The command's standard input is `stdin`, which ends when the sender is dropped, or `/dev/null`.
    fn exec(&self, command: &ShellCommand, lease: &str, stdin: Option<CommandStdin>) -> Running;

    /// Returns the program of this host that accesses a file of the instance; `None` if files are transferred by
    /// commands.
    ///
    /// # Errors
    /// If a secret is unavailable.
    fn file_program(&self, _access: &FileAccess<'_>) -> Result<Option<std::process::Command>> {
        Ok(None)
    }

    /// Checks, within `timeout`, that a server is reachable, without logging in: cheap enough to poll during a boot.
    ///
    /// Succeeds if the transport cannot tell.
    fn knock(&self, _timeout: Duration) -> TransportFuture<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Checks that the instance answers within `timeout`, connecting first if necessary.
    fn probe(&self, timeout: Duration) -> TransportFuture<ProbeAnswer>;

    /// Returns the number of connections that were lost so far: the instance may have rebooted. 0 if the transport keeps
    /// no connection.
    fn losses(&self) -> usize {
        0
    }

    /// The SSH host key that the instance presented, as type and fingerprint; `None` before a login, and without SSH.
    fn host_key(&self) -> Option<String> {
        None
    }

    /// The password for `sudo`, from the playbook; `None` if `sudo` must not ask.
    fn sudo_password(&self) -> Option<&Bound> {
        None
    }

    /// The variables of every command that a user or a test starts, beneath those of the command; `None` if the
    /// instance itself has them.
    fn env(&self) -> Option<&BTreeMap<String, Bound>> {
        None
    }

    /// Kills all processes of the instance that are marked with this lease.
    fn sweep(&self, lease: &str, timeout: Duration) -> TransportFuture<()>;
}

/// The answer of an instance to [`Transport::probe`].
#[derive(Clone, Debug, Default)]
pub struct ProbeAnswer {
    /// The time of the round trip.
    pub took: Duration,
    /// The boot id of the instance's kernel; empty if it is unknown.
    pub boot_id: String,
}

/// An access to a file of an instance.
pub enum FileAccess<'a> {
    /// Writes standard input to the file.
    Put {
        /// The absolute path.
        path: &'a str,
        /// The permission bits.
        mode: u32,
    },
    /// Writes the file to standard output.
    Get {
        /// The absolute path.
        path: &'a str,
    },
}

/// The future returned by the methods of [`Transport`].
pub type TransportFuture<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// A started command. Dropping it before [`CommandEvent::Exited`] kills the command's process group.
pub struct Running {
    /// The events, in order; closed after [`CommandEvent::Exited`] or [`CommandEvent::Lost`].
    ///
    /// The channel is bounded: a slow reader slows the command down and loses no event.
    pub events: mpsc::Receiver<CommandEvent>,
    signals: mpsc::UnboundedSender<SignalRequest>,
    left_nothing: Arc<AtomicBool>,
}

/// The transport's end of a [`Running`].
pub struct RunningEnd {
    /// Takes the events; closed after [`CommandEvent::Exited`] or [`CommandEvent::Lost`].
    pub events: mpsc::Sender<CommandEvent>,
    /// Signals for the command's process group. `KILL` is followed by an event when the group is gone.
    pub signals: mpsc::UnboundedReceiver<SignalRequest>,
    /// Set before [`CommandEvent::Exited`] if the command is known to have left no process.
    pub left_nothing: Arc<AtomicBool>,
}

/// A signal for the process group of a command. Dropping the request tells the sender that the command has ended.
pub struct SignalRequest {
    /// The name: `TERM`.
    pub name: String,
    /// Takes the result.
    sent: oneshot::Sender<Result<()>>,
}

impl SignalRequest {
    /// Reports that the signal was sent, or the reason that it was not.
    pub fn answer(self, result: Result<()>) {
        // Fails if the sender has dropped its future.
        let _ = self.sent.send(result);
    }
}

/// An event of a command.
#[derive(Debug)]
pub enum CommandEvent {
    /// A chunk of output.
    Output(Stream, Vec<u8>),
    /// The command exited. All output was sent before.
    Exited(Exit),
    /// The exit status is unknown. The process group was killed at the timeout ([`crate::ErrorKind::Timeout`]), or the
    /// connection failed ([`crate::ErrorKind::Infra`]).
    Lost(Error),
}

/// The exit status and the output of a command that exited.
#[derive(Debug)]
pub struct CommandOutput {
    /// Exit code or signal.
    pub exit: Exit,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// The end of standard error, at least 64 KiB if it was longer.
    pub stderr: Vec<u8>,
}

impl CommandOutput {
    /// Fails unless the exit code is 0: `context`, then the command's own standard error.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`].
    pub fn success(self, context: &str) -> Result<Self> {
        match self.failure() {
            Some(reason) => Err(Error::infra(format!("{context}: {reason}"))),
            None => Ok(self),
        }
    }

    /// Returns an [`ErrorKind::Usage`] error if the command failed: the instance works, but the request is invalid.
    pub(crate) fn accepted(self) -> Result<Self> {
        match self.failure() {
            Some(reason) => Err(Error::usage(reason)),
            None => Ok(self),
        }
    }

    /// Returns the standard error or the exit status of a failed command; `None` if the command succeeded.
    fn failure(&self) -> Option<String> {
        let stderr = String::from_utf8_lossy(&self.stderr);
        match (stderr.trim(), &self.exit) {
            (_, Exit::Code(0)) => None,
            ("", Exit::Code(code)) => Some(format!("exit code {code}")),
            ("", Exit::Signal(signal)) => Some(format!("killed by signal {signal}")),
            (stderr, _) => Some(stderr.to_owned()),
        }
    }
}

impl Running {
    /// Creates both ends of a command that a transport starts.
    pub fn new() -> (Self, RunningEnd) {
        let (event, events) = mpsc::channel(EVENTS);
        let (signal, signals) = mpsc::unbounded_channel();
        let left_nothing = Arc::new(AtomicBool::new(false));
        let ends = RunningEnd {
            events: event,
            signals,
            left_nothing: Arc::clone(&left_nothing),
        };
        (
            Self {
                events,
                signals: signal,
                left_nothing,
            },
            ends,
        )
    }

    /// Creates a command that failed to start.
    pub(crate) fn lost(error: Error) -> Self {
        let (running, ends) = Self::new();
        // Cannot fail: the channel is empty and its receiver exists.
        let _ = ends.events.try_send(CommandEvent::Lost(error));
        running
    }

    /// Sends a signal to the command's process group, by name (`TERM`), and returns the result. The signal is on its
    /// way before the future is polled.
    ///
    /// After `KILL`, the exit event arrives once the group is gone.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if no process is left, the signal does not exist, or the instance refuses it;
    /// [`ErrorKind::Infra`] if the connection is lost.
    pub fn signal(&self, name: &str) -> impl Future<Output = Result<()>> + Send + use<> {
        let (sent, result) = oneshot::channel();
        let name = name.to_owned();
        // Fails if the command has exited.
        let _ = self.signals.send(SignalRequest { name, sent });
        async move {
            let ended = |_| Err(Error::usage("the command has already ended"));
            result.await.unwrap_or_else(ended)
        }
    }

    /// True if the command has exited and is known to have left no process; see [`ShellCommand::watches_rest`].
    pub fn has_left_nothing(&self) -> bool {
        self.left_nothing.load(Ordering::Relaxed)
    }

    /// Waits until the command exits and collects the output in memory: at most 16 MiB of standard output, and the end
    /// of standard error.
    pub(crate) async fn finished(self) -> Result<CommandOutput> {
        collected(self.events, None).await
    }

    /// As [`Running::finished`], but sends the standard output to `to`; fails with `aborted` if that is closed.
    async fn forwarded(self, to: mpsc::Sender<Vec<u8>>, aborted: Error) -> Result<CommandOutput> {
        collected(self.events, Some((to, aborted))).await
    }
}

/// Collects the output of a command in memory, until its exit. The standard output goes to `to`, if that is given; the
/// error is for a closed receiver.
async fn collected(
    mut events: mpsc::Receiver<CommandEvent>,
    to: Option<(mpsc::Sender<Vec<u8>>, Error)>,
) -> Result<CommandOutput> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(event) = events.recv().await {
        match (event, &to) {
            (CommandEvent::Output(Stream::Stdout, bytes), Some((to, aborted))) => {
                if to.send(bytes).await.is_err() {
                    return Err(aborted.clone());
                }
            }
            (CommandEvent::Output(Stream::Stdout, bytes), None) => {
                if let Err(error) = bounded::extend(&mut stdout, &bytes) {
                    let message = format!("standard output of the command is {error}");
                    return Err(Error::infra(message));
                }
            }
            (CommandEvent::Output(Stream::Stderr, bytes), _) => {
                bounded::extend_tail(&mut stderr, &bytes);
            }
            (CommandEvent::Exited(exit), _) => {
                return Ok(CommandOutput {
                    exit,
                    stdout,
                    stderr,
                });
            }
            (CommandEvent::Lost(error), _) => return Err(error),
        }
    }
    Err(Error::other(
        "the events of the command ended before its exit",
    ))
}

fn sudo_password(command: &ShellCommand) -> Option<&Password> {
    command.sudo.as_ref()?.password.as_ref()
}

/// Starts a command with the instance's variables. `sudo` gets the instance's password from the playbook, unless the
/// command has one.
///
/// # Errors
/// If a secret is unavailable.
pub(crate) async fn start(
    transport: &dyn Transport,
    command: &ShellCommand,
    lease: &str,
    stdin: Option<CommandStdin>,
) -> Result<Running> {
    let mut command = command.clone();
    if let Some(sudo @ Sudo { password: None }) = &mut command.sudo
        && let Some(password) = transport.sudo_password().cloned()
    {
        let password = sync::blocking(move || password.value()).await?;
        sudo.password = Some(Password(password));
    }
    if let Some(env) = transport.env().filter(|env| !env.is_empty()).cloned() {
        for (name, value) in sync::blocking(move || secret::values(&env)).await? {
            command.env.entry(name).or_insert(value);
        }
    }
    let stdin = input(&command, stdin);
    Ok(transport.exec(&command, lease, stdin))
}

/// Returns the standard input of a command: the `sudo` password, if any, and then `stdin`.
fn input(command: &ShellCommand, stdin: Option<CommandStdin>) -> Option<CommandStdin> {
    let Some(password) = sudo_password(command) else {
        return stdin;
    };
    let (send, input) = mpsc::channel(4);
    // Cannot fail: the channel is empty.
    let _ = send.try_send(format!("{}\n", password.0).into_bytes());
    if let Some(mut stdin) = stdin {
        tokio::spawn(async move {
            while let Some(bytes) = stdin.recv().await {
                if send.send(bytes).await.is_err() {
                    return;
                }
            }
        });
    }
    Some(input)
}

/// Runs a command of this tool to its end.
async fn run(transport: &dyn Transport, lease: &str, line: String) -> Result<CommandOutput> {
    let command = own_command(line, None);
    transport.exec(&command, lease, None).finished().await
}

/// Creates a command of this tool, which needs no environment, folder or `sudo`.
pub(crate) fn own_command(line: String, timeout: Option<Duration>) -> ShellCommand {
    ShellCommand {
        line,
        timeout: timeout.map(|timeout| timeout.as_millis() as u64),
        ..ShellCommand::default()
    }
}

/// The error of a command that was killed at its timeout. The caller adds the command and the instance.
fn timed_out(timeout: Duration) -> Error {
    let after = humantime::format_duration(timeout);
    Error::new(
        ErrorKind::Timeout,
        format!("timed out after {after} and was killed"),
    )
}
