//! A machine in somebody's hands: an instance of a lease, or one that they have anyway, with its live connection.
//!
//! Owns what can be done with it. Must not know pools or leases.

mod act;
mod ping;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use target_fixtures::wire::{Instance, ShellCommand};
use tokio::sync::mpsc;

use super::{describe, platform::Platforms, pool::Record, prepare::DeployedInstance};
use crate::{
    connect::{
        CommandOutput, LiveConnection, Reach, Running, Transport, download, own_command,
        upload::{self, Moved},
    },
    error::{Error, ErrorKind, Result},
    run_event::{RunEventKind, Sink},
    secret::redacted,
};

/// The number of bytes of a lost machine's console that are emitted.
const CONSOLE: u64 = 16 << 10;

/// A machine. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct Machine {
    shared: Arc<Shared>,
    /// The mark on everything that is started there.
    mark: Arc<str>,
    role: Option<String>,
}

/// The state that all clones of a machine share.
struct Shared {
    instance: DeployedInstance,
    connection: Arc<LiveConnection>,
    /// `None`: it is in no pool.
    record: Option<Record>,
    /// True if no test had it before.
    unused: bool,
    /// The number of things under way for which it goes down.
    going_down: AtomicUsize,
}

/// A machine is down on purpose, until this is dropped.
struct GoesDown<'a>(&'a Shared);

impl Drop for GoesDown<'_> {
    fn drop(&mut self) {
        self.0.going_down.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Machine {
    /// A machine that is there, reached this way; needs no pool and no playbook. Connects when it is first used, within
    /// a tokio runtime.
    #[must_use]
    pub fn wrap(name: &str, reach: &Reach) -> Self {
        let instance = DeployedInstance {
            name: name.to_owned(),
            reach: reach.clone(),
            origin: None,
        };
        let connection = Arc::new(LiveConnection::new(instance.connect()));
        Self::new(instance, connection, None, false)
    }

    /// The instance of a record, beside whoever holds its lease.
    ///
    /// # Errors
    /// When it is not deployed.
    pub fn beside(record: &Record, platforms: &Platforms) -> Result<Self> {
        let platform = super::platform_of(platforms, record)?;
        let instance = DeployedInstance::of(record, Some(platform))?;
        let connection = Arc::new(LiveConnection::new(instance.connect()));
        Ok(Self::new(instance, connection, Some(record.clone()), false))
    }

    /// The leased instance of a record.
    pub(super) fn of_record(
        instance: DeployedInstance,
        connection: Arc<LiveConnection>,
        record: Record,
        unused: bool,
    ) -> Self {
        Self::new(instance, connection, Some(record), unused)
    }

    fn new(
        instance: DeployedInstance,
        connection: Arc<LiveConnection>,
        record: Option<Record>,
        unused: bool,
    ) -> Self {
        let mark = format!("{}-{}", instance.name, std::process::id());
        Self {
            shared: Arc::new(Shared {
                instance,
                connection,
                record,
                unused,
                going_down: AtomicUsize::new(0),
            }),
            mark: mark.into(),
            role: None,
        }
    }

    /// The same machine, in a role of a lease whose mark this is.
    #[must_use]
    pub(crate) fn marked(mut self, mark: &str, role: Option<&str>) -> Self {
        self.mark = mark.into();
        self.role = role.map(str::to_owned);
        self
    }

    /// Its name: `ubuntu-0`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.instance.name
    }

    /// The role in which it was asked for.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        self.role.as_deref()
    }

    /// The mark on everything that is started there: the variable `TARGET_TEST_LEASE`.
    #[must_use]
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Its address.
    #[must_use]
    pub fn reach(&self) -> &Reach {
        &self.shared.instance.reach
    }

    /// The description that tests get.
    #[must_use]
    pub fn describe(&self) -> Instance {
        match &self.shared.record {
            Some(record) => describe::describe(record),
            None => describe::describe_wrapped(self.name(), self.reach()),
        }
    }

    /// Its record; `None`: it is in no pool.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        self.shared.record.as_ref()
    }

    /// True if no test had it before.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.shared.unused
    }

    /// Runs a line in its POSIX shell, to its end.
    ///
    /// # Errors
    /// When the command did not end by itself; a command that fails is no error ([`CommandOutput::success`] makes it one).
    pub async fn run(&self, line: &str) -> Result<CommandOutput> {
        self.run_within(line, None).await
    }

    /// Runs a line, at most for as long as `limit`.
    pub(crate) async fn run_within(
        &self,
        line: &str,
        limit: Option<Duration>,
    ) -> Result<CommandOutput> {
        let running = self.start(&own_command(line.to_owned(), limit), None);
        running.finished().await
    }

    /// Starts a command; see [`Transport::exec`].
    #[must_use]
    pub fn start(&self, command: &ShellCommand, stdin: Option<mpsc::Receiver<Vec<u8>>>) -> Running {
        self.transport().exec(command, &self.mark, stdin)
    }

    /// Copies a file or folder of this host to an absolute path there.
    ///
    /// # Errors
    /// When it cannot be read here or written there.
    pub async fn put(&self, from: &Path, to: &str) -> Result<()> {
        let (transport, moved) = (self.transport(), Moved::default());
        let put = upload::put(&*transport, &self.mark, from, to, &moved);
        put.await.map(drop)
    }

    /// Copies a file or folder of an absolute path there to this host.
    ///
    /// # Errors
    /// When it cannot be read there or written here.
    pub async fn get(&self, from: &str, to: &Path) -> Result<()> {
        let (transport, moved) = (self.transport(), Moved::default());
        download::get(&*transport, &self.mark, from, to, &moved).await
    }

    /// Fails unless it answers within this time.
    ///
    /// # Errors
    /// When it does not.
    pub async fn probe(&self, limit: Duration) -> Result<()> {
        self.transport().probe(limit).await.map(drop)
    }

    /// Kills everything there that carries its mark.
    ///
    /// # Errors
    /// When that takes longer than `limit`, or the machine does not answer.
    pub async fn sweep(&self, limit: Duration) -> Result<()> {
        self.transport().sweep(&self.mark, limit).await
    }

    /// The connection as it is now; a machine that was down has a new one.
    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        self.shared.connection.transport()
    }

    /// The connection, with the time of its last answer.
    pub(crate) fn connection(&self) -> &LiveConnection {
        &self.shared.connection
    }

    /// Fails if its platform sees that it does not live.
    pub(crate) async fn check_alive(&self) -> Result<()> {
        self.shared.instance.check_alive().await
    }

    /// Fails unless it lives and answers within this time, whatever it answered before.
    pub(crate) async fn confirm(&self, limit: Duration) -> Result<()> {
        let connection = self.connection();
        connection.doubt();
        let answer = async {
            self.check_alive().await?;
            connection.prove_within(limit).await
        };
        let answered = tokio::time::timeout(limit, answer).await;
        answered.unwrap_or_else(|_| {
            let message = format!("`{}` did not answer within {limit:?}", self.name());
            Err(Error::new(ErrorKind::Infra, message))
        })
    }

    /// Emits the end of its console, if it has one and wrote to it.
    pub(crate) fn emit_console(&self, sink: &Sink) {
        let text = self.shared.instance.console(CONSOLE).unwrap_or_default();
        if !text.is_empty() {
            sink.emit(RunEventKind::Console {
                instance: self.name().to_owned(),
                text: redacted(&text).into_owned(),
            });
        }
    }

    /// True if it is down on purpose.
    pub(crate) fn is_going_down(&self) -> bool {
        self.shared.going_down.load(Ordering::Relaxed) > 0
    }

    fn goes_down(&self) -> GoesDown<'_> {
        self.shared.going_down.fetch_add(1, Ordering::Relaxed);
        GoesDown(&self.shared)
    }
}

#[cfg(test)]
mod tests;
