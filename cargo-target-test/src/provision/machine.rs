//! A machine with its live connection: a leased instance, or a machine that exists anyway.
//!
//! Must not know pools or leases.

mod act;
mod crash;
mod fault;
mod ping;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use target_fixtures::wire::{FaultKind, Instance, Question, ShellCommand};
use tokio::sync::watch;

use self::{crash::CrashWindow, fault::Undo};
use super::{
    describe, network::RunningNetwork, platform::Platforms, pool::Record, prepare::DeployedInstance,
};
use crate::{
    connect::{
        self, CommandOutput, CommandStdin, LiveConnection, Reach, Running, Transport, own_command,
        upload::Transfer,
    },
    error::{Error, Result},
    run_event::{RunEventKind, Sink},
    secret::redacted,
};

/// The number of bytes of a lost machine's console that are emitted.
const CONSOLE: u64 = 16 << 10;

/// A machine. Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub struct Machine {
    shared: Arc<Shared>,
    /// The mark on every process that is started on the machine.
    mark: Arc<str>,
    role: Option<String>,
    /// The networks of its environment that the machine is in.
    networks: Arc<[RunningNetwork]>,
}

/// The state that all clones of a machine share.
struct Shared {
    instance: DeployedInstance,
    connection: Arc<LiveConnection>,
    /// `None` if the machine is not in a pool.
    record: Option<Record>,
    /// True if no test used the machine before.
    unused: bool,
    /// The number of running operations that take the machine down.
    going_down: AtomicUsize,
    window: watch::Sender<CrashWindow>,
    /// The faults that last, with the way to end each.
    faults: Mutex<BTreeMap<FaultKind, Undo>>,
}

/// Marks a machine as down on purpose until it is dropped.
struct GoesDown<'a>(&'a Shared);

impl Drop for GoesDown<'_> {
    fn drop(&mut self) {
        self.0.going_down.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Machine {
    /// An existing machine, reached by `reach`; needs no pool and no playbook. Connects on first use, which needs a
    /// tokio runtime.
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

    /// The instance of a record, used beside the holder of its lease.
    ///
    /// # Errors
    /// Fails if the instance is not deployed.
    pub fn beside(record: &Record, platforms: &Platforms) -> Result<Self> {
        let platform = super::platform_of(platforms, record)?;
        let instance = DeployedInstance::of(record, Some(platform))?;
        let connection = Arc::new(LiveConnection::new(instance.connect()));
        Ok(Self::new(instance, connection, Some(record.clone()), false))
    }

    /// An instance, with its record if it is in the pool.
    pub(super) fn new(
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
                window: watch::Sender::default(),
                faults: Mutex::default(),
            }),
            mark: mark.into(),
            role: None,
            networks: Arc::default(),
        }
    }

    /// The same machine, on those networks of its environment that it is in.
    #[must_use]
    pub(super) fn on_networks(mut self, all: &[RunningNetwork]) -> Self {
        if let Some(name) = self.place_name() {
            let own = all.iter().filter(|network| network.has(&name));
            self.networks = own.cloned().collect();
        }
        self
    }

    /// The same machine with the mark and the role of a lease.
    #[must_use]
    pub(crate) fn marked(mut self, mark: &str, role: Option<&str>) -> Self {
        self.mark = mark.into();
        self.role = role.map(str::to_owned);
        self
    }

    /// The name: `ubuntu-0`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.instance.name
    }

    /// The role in which the machine was requested, or that it has in its environment.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        self.role.as_deref()
    }

    /// The machine's name in its environment: `gateway`.
    pub(super) fn place_name(&self) -> Option<String> {
        let place = self.record()?.spec.place.as_ref()?;
        Some(place.machine.clone())
    }

    /// The mark on every process that is started on the machine: the variable `TARGET_TEST_LEASE`.
    #[must_use]
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// The address.
    #[must_use]
    pub fn reach(&self) -> &Reach {
        &self.shared.instance.reach
    }

    /// The description for tests.
    #[must_use]
    pub fn describe(&self) -> Instance {
        match &self.shared.record {
            Some(record) => describe::describe(record),
            None => describe::describe_wrapped(self.name(), self.reach()),
        }
    }

    /// The record; `None` if the machine is not in a pool.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        self.shared.record.as_ref()
    }

    /// True if no test used the machine before.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.shared.unused
    }

    /// Runs a command line in the machine's POSIX shell and waits for its end.
    ///
    /// # Errors
    /// Fails if the command was cut off. A nonzero exit code is not an error; [`CommandOutput::success`] makes it one.
    pub async fn run(&self, line: &str) -> Result<CommandOutput> {
        self.run_within(line, None).await
    }

    /// Runs a command line with a time limit.
    pub(crate) async fn run_within(
        &self,
        line: &str,
        limit: Option<Duration>,
    ) -> Result<CommandOutput> {
        let command = own_command(line.to_owned(), limit);
        self.start(&command, None).await?.finished().await
    }

    /// Starts a command with the machine's variables; see [`Transport::exec`].
    ///
    /// # Errors
    /// Fails if a secret is unavailable.
    pub async fn start(
        &self,
        command: &ShellCommand,
        stdin: Option<CommandStdin>,
    ) -> Result<Running> {
        connect::start(&*self.transport(), command, &self.mark, stdin).await
    }

    /// Copies a file or folder of this host to an absolute path on the machine.
    ///
    /// # Errors
    /// Fails if it cannot be read here or written there.
    pub async fn put(&self, from: &Path, to: &str) -> Result<()> {
        self.transfer().put(from, to).await.map(drop)
    }

    /// Copies a file or folder from an absolute path on the machine to this host.
    ///
    /// # Errors
    /// Fails if it cannot be read there or written here.
    pub async fn get(&self, from: &str, to: &Path) -> Result<()> {
        self.transfer().get(from, to).await
    }

    /// Checks that the machine answers within this time.
    ///
    /// # Errors
    /// Fails if it does not.
    pub async fn probe(&self, limit: Duration) -> Result<()> {
        self.transport().probe(limit).await.map(drop)
    }

    /// Kills every process on the machine that carries its mark.
    ///
    /// # Errors
    /// Fails if that takes longer than `limit`, or if the machine does not answer.
    pub async fn sweep(&self, limit: Duration) -> Result<()> {
        self.transport().sweep(&self.mark, limit).await
    }

    /// The facts of the machine: those that were probed before it became ready, or else those of now.
    ///
    /// # Errors
    /// Fails if the machine does not answer.
    pub(crate) async fn facts(&self) -> Result<BTreeMap<String, String>> {
        match self.record() {
            Some(record) if !record.facts.is_empty() => Ok(record.facts.clone()),
            _ => {
                let facts = self.ask(&Question::Facts).await?;
                Ok(serde_json::from_value(facts).unwrap_or_default())
            }
        }
    }

    /// Copies files and folders to and from the machine.
    pub(crate) fn transfer(&self) -> Transfer {
        Transfer::new(self.transport(), &self.mark)
    }

    /// The current connection; a machine that was down has a new one.
    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        self.shared.connection.transport()
    }

    /// The connection, with the time of its last answer.
    pub(crate) fn connection(&self) -> &LiveConnection {
        &self.shared.connection
    }

    /// Fails if the platform reports that the machine is dead.
    pub(crate) async fn check_alive(&self) -> Result<()> {
        self.shared.instance.check_alive().await
    }

    /// Fails unless the machine is alive and answers within this time, even if it answered just before, and has not
    /// rebooted: that is a crash, since [`Machine::reboot`] and the like note the new boot id.
    pub(crate) async fn confirm(&self, limit: Duration) -> Result<()> {
        let answer = async {
            self.check_alive().await?;
            match self.connection().has_rebooted(limit).await? {
                true => Err(self.crashed("it rebooted unexpectedly")),
                false => Ok(()),
            }
        };
        let answered = tokio::time::timeout(limit, answer).await;
        let answered = answered.unwrap_or_else(|_| {
            let message = format!("`{}` did not answer within {limit:?}", self.name());
            Err(Error::infra(message))
        });
        match answered {
            // The platform may know more than the silence, and may have learned it meanwhile.
            Err(error) => Err(self.check_alive().await.err().unwrap_or(error)),
            answered => answered,
        }
    }

    /// Returns the end of the machine's console output without secrets; `None` if there is no output.
    pub(crate) fn console_end(&self) -> Option<String> {
        let text = self.shared.instance.console(CONSOLE)?;
        (!text.is_empty()).then(|| redacted(&text).into_owned())
    }

    /// Emits the end of the machine's console output, if there is any.
    pub(crate) fn emit_console(&self, sink: &Sink) {
        if let Some(text) = self.console_end() {
            sink.emit(RunEventKind::Console {
                instance: self.name().to_owned(),
                text,
                file: None,
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
