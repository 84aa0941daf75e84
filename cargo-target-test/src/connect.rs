//! How commands and files reach an instance, whatever the protocol.
//!
//! Owns the seam: [`Transport`] and its events. Must not know leases, cases or clients.
//! Files travel as commands (`shell`), so a protocol has to offer nothing but commands.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use target_fixtures::wire::{Command, Exit, Stream};
use tokio::sync::mpsc;

use crate::error::{Error, ErrorKind, Result};

mod connection;
pub(crate) mod download;
pub mod files;
pub(crate) mod interactive;
mod local;
mod piped;
mod reach;
pub(crate) mod shell;
pub mod ssh;
pub mod ssh_config;
pub(crate) mod ssh_file;
mod unreachable;
pub(crate) mod upload;

pub(crate) use connection::LiveConnection;
pub use reach::{LocalUser, ProgramReach, Reach, SshReach};

/// How many events wait for who reads them, before the command is slowed down.
const EVENTS: usize = 16;

/// The way to an instance. Lazy: the first use connects. Called, and used, within a tokio runtime.
pub fn connect(instance: &str, reach: &Reach) -> Arc<dyn Transport> {
    match reach {
        Reach::Local {
            directory,
            env,
            inherit,
            user,
        } => Arc::new(local::Local {
            instance: instance.to_owned(),
            directory: directory.clone(),
            env: env.clone(),
            inherit: inherit.clone(),
            user: *user,
        }),
        Reach::Ssh(reach) => Arc::new(ssh::Ssh::new(instance, reach, ssh::Limits::default())),
        Reach::Container {
            engine,
            container,
            user,
        } => {
            let call = piped::Call::Container {
                engine: engine.clone(),
                container: container.clone(),
                user: user.clone(),
            };
            Arc::new(piped::Piped::new(instance, call))
        }
        Reach::ByPlatform => Arc::new(unreachable::Unreachable {
            instance: instance.to_owned(),
        }),
        Reach::Programs(reach) => {
            let call = piped::Call::Programs(reach.as_ref().clone());
            Arc::new(piped::Piped::new(instance, call))
        }
    }
}

/// A live way to one instance. Cheap to share; dropping the last owner closes it.
pub trait Transport: Send + Sync {
    /// Starts a command; its events arrive on the returned handle. Never blocks: connecting,
    /// queueing and refusals are all told by the events.
    ///
    /// `lease` marks everything the command starts (environment variable `TARGET_TEST_LEASE`), so
    /// that [`Transport::sweep`] finds it. With `stdin` the command reads what is sent there until
    /// the sender is dropped; otherwise from `/dev/null`.
    fn exec(
        &self,
        command: &Command,
        lease: &str,
        stdin: Option<mpsc::Receiver<Vec<u8>>>,
    ) -> Running;

    /// A program of this host that reads or writes a file of the instance, where there is one; else files travel as
    /// commands.
    ///
    /// # Errors
    /// When a secret of its cannot be had.
    fn file_program(&self, _access: &FileAccess<'_>) -> Result<Option<std::process::Command>> {
        Ok(None)
    }

    /// Looks, for at most this long, whether there is anything that could answer; costs the instance little, so that it
    /// can be asked while it boots. Success where that cannot be told.
    fn knock(&self, _patience: Duration) -> Answer<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Proves that the instance answers, within `deadline`: a round trip on the live connection, or
    /// a new one where there is none.
    fn probe(&self, deadline: Duration) -> Answer<Duration>;

    /// Kills everything on the instance that carries this lease's mark.
    fn sweep(&self, lease: &str, deadline: Duration) -> Answer<()>;
}

/// What is done with a file of an instance.
pub enum FileAccess<'a> {
    /// Standard input goes to it.
    Put {
        /// Its absolute path.
        path: &'a str,
        /// Its permission bits.
        mode: u32,
    },
    /// It goes to standard output.
    Get {
        /// Its absolute path.
        path: &'a str,
    },
}

/// What a transport answers later.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// A started command. Dropping it before [`Event::Exited`] kills the command's process group.
pub struct Running {
    /// What happens, in order; closed after [`Event::Exited`] or [`Event::Lost`]. Bounded: who
    /// does not read slows the command down and loses nothing.
    pub events: mpsc::Receiver<Event>,
    signals: mpsc::UnboundedSender<String>,
}

/// The transport's end of a [`Running`].
pub struct RunningEnd {
    /// Takes the events; closed after [`Event::Exited`] or [`Event::Lost`].
    pub events: mpsc::Sender<Event>,
    /// Signals for the command's process group, by name. `KILL` is followed by an event when the group is gone.
    pub signals: mpsc::UnboundedReceiver<String>,
}

/// What happens to a command.
#[derive(Debug)]
pub enum Event {
    /// A piece of output.
    Output(Stream, Vec<u8>),
    /// It ended by itself; all output came before.
    Exited(Exit),
    /// It did not end by itself, or nobody knows: timeout ([`crate::ErrorKind::Timeout`], the process
    /// group was killed), connection lost or refused ([`crate::ErrorKind::Infra`], the instance named).
    Lost(Error),
}

/// A command that ended by itself, with everything it printed.
#[derive(Debug)]
pub struct Finished {
    /// Exit code or signal.
    pub exit: Exit,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Fails unless the exit code is 0: `what`, then the command's own standard error.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`].
    pub fn success(self, what: &str) -> Result<Self> {
        match self.complaint() {
            Some(words) => Err(Error::new(ErrorKind::Infra, format!("{what}: {words}"))),
            None => Ok(self),
        }
    }

    /// The same, where the instance works and what was asked of it does not.
    pub(crate) fn accepted(self) -> Result<Self> {
        match self.complaint() {
            Some(words) => Err(Error::new(ErrorKind::Usage, words)),
            None => Ok(self),
        }
    }

    /// What a command that failed said, or how it ended.
    fn complaint(&self) -> Option<String> {
        let words = String::from_utf8_lossy(&self.stderr);
        match (words.trim(), &self.exit) {
            (_, Exit::Code(0)) => None,
            ("", Exit::Code(code)) => Some(format!("exit code {code}")),
            ("", Exit::Signal(signal)) => Some(format!("killed by signal {signal}")),
            (words, _) => Some(words.to_owned()),
        }
    }
}

impl Running {
    /// Both ends of a command that a transport starts.
    pub fn new() -> (Self, RunningEnd) {
        let (event, events) = mpsc::channel(EVENTS);
        let (signal, signals) = mpsc::unbounded_channel();
        let ends = RunningEnd {
            events: event,
            signals,
        };
        (
            Self {
                events,
                signals: signal,
            },
            ends,
        )
    }

    /// A command that could not be started.
    pub(crate) fn lost(error: Error) -> Self {
        let (running, ends) = Self::new();
        // There is room, and the receiver is here.
        let _ = ends.events.try_send(Event::Lost(error));
        running
    }

    /// Sends a signal to its process group, by name (`TERM`); after `KILL` its end is told when nothing of the group is
    /// left.
    pub fn signal(&self, name: String) {
        // One that has ended needs none.
        let _ = self.signals.send(name);
    }

    /// Waits for the end and keeps the output, which must be small.
    pub(crate) async fn finished(mut self) -> Result<Finished> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some(event) = self.events.recv().await {
            match event {
                Event::Output(Stream::Stdout, bytes) => stdout.extend(bytes),
                Event::Output(Stream::Stderr, bytes) => stderr.extend(bytes),
                Event::Exited(exit) => {
                    return Ok(Finished {
                        exit,
                        stdout,
                        stderr,
                    });
                }
                Event::Lost(error) => return Err(error),
            }
        }
        Err(Error::new(
            ErrorKind::Other,
            "the command's events ended early",
        ))
    }
}

/// What a command reads: before its own input the password, where it has one.
pub(crate) fn input(
    command: &Command,
    stdin: Option<mpsc::Receiver<Vec<u8>>>,
) -> Option<mpsc::Receiver<Vec<u8>>> {
    let password = command
        .sudo
        .as_ref()
        .and_then(|sudo| sudo.password.as_ref());
    let Some(password) = password else {
        return stdin;
    };
    let (send, input) = mpsc::channel(4);
    // There is room.
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

/// A command of our own, on whatever transport.
pub(crate) fn own_command(line: String, deadline: Option<Duration>) -> Command {
    Command {
        line,
        timeout: deadline.map(|deadline| deadline.as_millis() as u64),
        ..Command::default()
    }
}

/// Names neither instance nor command: whoever asked for it knows them.
fn timed_out(timeout: Duration) -> Error {
    let after = humantime::format_duration(timeout);
    Error::new(
        ErrorKind::Timeout,
        format!("it did not end within {after} and was killed"),
    )
}
