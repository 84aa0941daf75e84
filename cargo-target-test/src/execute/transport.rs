//! How commands and files reach an instance, whatever the protocol.
//!
//! Owns the seam: [`Transport`] and its events. Must not know leases, cases or clients.
//! Files travel as commands (`shell`), so a protocol has to offer nothing but commands.

use std::{future::Future, pin::Pin, time::Duration};

use target_fixtures::wire::{Command, Exit, Stream};
use tokio::sync::mpsc;

use crate::error::Result;

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

    /// Proves that the instance answers, within `deadline`: a round trip on the live connection, or
    /// a new one where there is none.
    fn probe(&self, deadline: Duration) -> Answer<Duration>;

    /// Kills everything on the instance that carries this lease's mark.
    fn sweep(&self, lease: &str, deadline: Duration) -> Answer<()>;
}

/// What a transport answers later.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// A started command. Dropping it before [`Event::Exited`] kills the command's process group.
pub struct Running {
    /// What happens, in order; closed after [`Event::Exited`] or [`Event::Lost`]. Bounded: who
    /// does not read slows the command down and loses nothing.
    pub events: mpsc::Receiver<Event>,
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
    Lost(crate::error::Error),
}
