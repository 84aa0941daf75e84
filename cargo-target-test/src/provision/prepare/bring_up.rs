//! Waits for an instance to come up: after a boot, a reboot, a restart from outside, or a restore.
//!
//! Controls the pauses and the deadline, and requires a different boot id after a reboot. Must not know protocols or
//! platforms.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time;

use super::{
    links,
    run::{SHORT, Shell},
    shares,
};
use crate::{
    connect::{self, Reach, Transport, shell},
    error::{Error, ErrorKind, Result},
    provision::{
        WaitNotice,
        platform::{Deployed, DynPlatform, InstanceSpec, read_end},
        pool::Record,
    },
    sync,
};

/// The first and the longest pause between two tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));
/// The first and the longest time limit for the answer to a try. A try that comes too early may never be answered; its
/// time limit is then wasted if the machine comes up a moment later.
const KNOCKS: (Duration, Duration) = (Duration::from_millis(150), Duration::from_secs(1));
/// The time between two notices about a wait.
const APART: Duration = Duration::from_secs(5);
/// The time for which an instance may have no POSIX shell until the wait ends: a machine that boots may have none yet.
const NO_SHELL: Duration = Duration::from_secs(5);
/// The number of last console lines in an error.
const LINES: usize = 12;
/// The number of bytes that are read for those lines.
const CONSOLE: u64 = 64 << 10;

/// A deployed instance: its connection data, and its platform.
#[derive(Clone)]
pub(crate) struct DeployedInstance {
    pub(crate) name: String,
    pub(crate) reach: Reach,
    /// `None` if no known platform deployed it.
    pub(crate) origin: Option<PlatformHandle>,
}

/// The platform of an instance, with the arguments for its methods.
#[derive(Clone)]
pub(crate) struct PlatformHandle {
    pub(crate) platform: Arc<dyn DynPlatform>,
    pub(crate) spec: InstanceSpec,
    pub(crate) deployed: Deployed,
}

impl DeployedInstance {
    /// The instance of a record; `platform` is `None` if it is unknown.
    pub(crate) fn of(record: &Record, platform: Option<&Arc<dyn DynPlatform>>) -> Result<Self> {
        let deployed = record.deployed.as_ref().ok_or_else(|| {
            let (name, state) = (record.name(), &record.state);
            Error::infra(format!("`{name}` is {state} and cannot be reached"))
        })?;
        let origin = platform.map(|platform| PlatformHandle {
            platform: Arc::clone(platform),
            spec: record.spec.clone(),
            deployed: deployed.clone(),
        });
        Ok(Self {
            name: record.name().to_owned(),
            reach: deployed.reach.clone(),
            origin,
        })
    }

    /// A new connection to the instance.
    pub(crate) fn connect(&self) -> Arc<dyn Transport> {
        match &self.origin {
            Some(origin) => origin.platform.connect(&origin.spec, &origin.deployed),
            None => connect::connect(&self.name, &self.reach),
        }
    }

    /// The platform of the instance, with the arguments for its methods.
    pub(crate) fn origin(&self) -> Result<&PlatformHandle> {
        self.origin.as_ref().ok_or_else(|| {
            let message = format!("`{}` has no platform that supports this", self.name);
            Error::usage(message)
        })
    }

    /// Calls the platform on a thread that may block.
    pub(crate) async fn act<T: Send + 'static>(
        &self,
        act: impl FnOnce(&PlatformHandle) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let origin = self.origin()?.clone();
        sync::blocking(move || act(&origin)).await
    }

    /// Fails with this kind if the instance has no kernel of its own.
    pub(crate) fn check_own_kernel(&self, refused: ErrorKind) -> Result<()> {
        match self.reach {
            Reach::Local(_) | Reach::Container(_) => {
                let name = &self.name;
                let message =
                    format!("`{name}` shares the kernel of this host and cannot be rebooted");
                Err(Error::new(refused, message))
            }
            _ => Ok(()),
        }
    }

    /// Fails if the platform reports that the instance is dead.
    pub(crate) async fn check_alive(&self) -> Result<()> {
        let Some(origin) = self.origin.clone() else {
            return Ok(());
        };
        let alive = move || origin.platform.check_alive(&origin.spec, &origin.deployed);
        tokio::task::spawn_blocking(alive).await.unwrap_or(Ok(()))
    }

    /// Returns the end of the console output, at most `most` bytes; `None` if the instance has no console.
    pub(crate) fn console(&self, most: u64) -> Option<String> {
        // The file is created when the machine first writes to its console.
        Some(read_end(&self.console_file()?, 0, most).unwrap_or_default())
    }

    /// The file with the console output; `None` if the instance has no console.
    pub(crate) fn console_file(&self) -> Option<PathBuf> {
        let origin = self.origin.as_ref()?;
        origin.platform.console(&origin.spec)
    }

    /// The end of the console, to append to an error; empty if there is no console.
    pub(crate) fn console_tail(&self) -> String {
        let Some(text) = self.console(CONSOLE) else {
            return String::new();
        };
        let lines: Vec<_> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
        match last.trim() {
            "" => "; its console is empty".to_owned(),
            last => format!("; its console ends:\n{last}"),
        }
    }
}

/// A wait for an instance.
pub(crate) struct BringUp<'a> {
    /// The instance.
    pub(crate) instance: &'a DeployedInstance,
    /// The longest time to wait.
    pub(crate) limit: Duration,
    /// Receives lines about long steps.
    pub(crate) progress: &'a (dyn Fn(&str) + Sync),
    /// True if the instance is not needed any more.
    pub(crate) cancelled: &'a (dyn Fn() -> bool + Sync),
    /// True if the instance was restored, and its clock with it.
    pub(crate) sets_clock: bool,
}

/// The first answer of an instance.
pub(crate) struct FirstAnswer {
    pub(crate) transport: Arc<dyn Transport>,
    /// The boot id; empty if the kernel has none.
    pub(crate) boot_id: String,
}

impl<'a> BringUp<'a> {
    /// A wait that reports nothing and cannot be cancelled.
    pub(crate) fn quiet(instance: &'a DeployedInstance, limit: Duration) -> Self {
        Self {
            instance,
            limit,
            progress: &|_| {},
            cancelled: &|| false,
            sets_clock: false,
        }
    }

    /// As [`BringUp::quiet`], for an instance that was restored.
    pub(crate) fn restored(instance: &'a DeployedInstance, limit: Duration) -> Self {
        Self {
            sets_clock: true,
            ..Self::quiet(instance, limit)
        }
    }
}

impl BringUp<'_> {
    /// Waits until the instance answers.
    pub(crate) async fn answer(&self) -> Result<FirstAnswer> {
        let mut tries = self.tries("an answer");
        loop {
            match self.knock(tries.knock()).await {
                Ok(answer) => {
                    self.mount_shares(&answer.transport).await?;
                    return Ok(answer);
                }
                Err(error) => tries.failed(error).await?,
            }
        }
    }

    async fn knock(&self, patience: Duration) -> Result<FirstAnswer> {
        let transport = self.instance.connect();
        transport.knock(patience).await?;
        let boot_id = transport.probe(self.limit).await?.boot_id;
        self.set_up(&transport).await?;
        Ok(FirstAnswer { transport, boot_id })
    }

    /// Reboots the instance from inside and waits until it answers with a different boot id; returns a shell with a new
    /// connection. `refused` is the kind of the error if the instance cannot reboot.
    pub(crate) async fn reboot(&self, at: &Shell, refused: ErrorKind) -> Result<Shell> {
        self.instance.check_own_kernel(refused)?;
        let before = boot_id(at).await?;
        match at.run_as(true, shell::REBOOT, SHORT).await {
            // The reboot may close the connection before the command ends.
            Err(error) if error.kind() == ErrorKind::Infra => {}
            Ok(ended) if shell::goes_down(&ended.exit) => {}
            Ok(ended) => {
                let accepted = ended.success().map(drop);
                accepted.map_err(|error| Error::new(refused, error.chain()))?;
            }
            Err(error) => return Err(error),
        }
        let mut tries = self.tries("the end of the reboot");
        loop {
            match self.rebooted(at, &before, tries.knock()).await {
                Ok(fresh) => {
                    self.mount_shares(&fresh.transport).await?;
                    return Ok(fresh);
                }
                Err(error) => tries.failed(error).await?,
            }
        }
    }

    async fn rebooted(&self, at: &Shell, before: &str, patience: Duration) -> Result<Shell> {
        let transport = self.instance.connect();
        transport.knock(patience).await?;
        let fresh = Shell::new(transport, at.mark.clone());
        match boot_id(&fresh).await? == before {
            true => Err(Error::infra("it has not rebooted yet")),
            false => {
                self.set_up(&fresh.transport).await?;
                Ok(fresh)
            }
        }
    }

    /// Gives the links of the instance their addresses: a boot forgets them. Sets the clock of a restored instance.
    async fn set_up(&self, transport: &Arc<dyn Transport>) -> Result<()> {
        match &self.instance.origin {
            Some(origin) => links::configure(transport, &origin.spec, self.sets_clock).await,
            None => Ok(()),
        }
    }

    /// Mounts the folders of this host: a boot forgets them.
    async fn mount_shares(&self, transport: &Arc<dyn Transport>) -> Result<()> {
        let Some(origin) = &self.instance.origin else {
            return Ok(());
        };
        let mounts = origin.platform.mounts(&origin.spec, &origin.deployed);
        shares::mount(transport, &self.instance.name, &mounts).await
    }

    /// Returns tries that end at the time limit, or when the instance dies.
    pub(super) fn tries<'a>(&'a self, what: &'a str) -> Tries<'a> {
        Tries {
            bring_up: self,
            what,
            pause: Growing(PAUSES.0, PAUSES.1),
            knock: Growing(KNOCKS.0, KNOCKS.1),
            notice: WaitNotice::even(APART, APART),
            unfit: None,
        }
    }

    pub(super) fn check_cancelled(&self) -> Result<()> {
        match (self.cancelled)() {
            true => Err(Error::infra("cancelled")),
            false => Ok(()),
        }
    }
}

/// Tries until one succeeds.
pub(super) struct Tries<'a> {
    bring_up: &'a BringUp<'a>,
    what: &'a str,
    pause: Growing,
    knock: Growing,
    notice: WaitNotice,
    /// The time since which every try ended with [`ErrorKind::Unfit`]: the instance is up and runs no commands.
    unfit: Option<Instant>,
}

impl Tries<'_> {
    /// The time limit for the answer to the next try.
    fn knock(&mut self) -> Duration {
        self.knock.next()
    }

    /// Pauses after a failed try.
    ///
    /// # Errors
    /// Fails if it was the last try.
    pub(super) async fn failed(&mut self, error: Error) -> Result<()> {
        let BringUp {
            instance,
            limit,
            progress,
            ..
        } = self.bring_up;
        self.bring_up.check_cancelled()?;
        instance.check_alive().await?;
        let unfit = (error.kind() == ErrorKind::Unfit).then(Instant::now);
        self.unfit = unfit.map(|now| self.unfit.unwrap_or(now));
        if self.unfit.is_some_and(|since| since.elapsed() >= NO_SHELL) {
            let text = format!("`{}` has no POSIX shell", instance.name);
            return Err(Error::infra(text).with_hint_of(&error).with_source(error));
        }
        let (what, waited) = (self.what, self.notice.waited());
        if waited >= *limit {
            let (name, limit) = (&instance.name, humantime::format_duration(*limit));
            let (cause, console) = (error.chain(), instance.console_tail());
            let message =
                format!("timed out after {limit} waiting for {what} of `{name}`: {cause}{console}");
            return Err(Error::infra(message));
        }
        let words = format!("waiting for {what} ({} s)", waited.as_secs());
        if self.notice.is_due(&words) {
            progress(&words);
        }
        time::sleep(self.pause.next()).await;
        Ok(())
    }
}

/// A duration that doubles up to a maximum.
struct Growing(Duration, Duration);

impl Growing {
    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 3 / 2).min(self.1);
        now
    }
}

async fn boot_id(at: &Shell) -> Result<String> {
    match at.run(shell::BOOT_ID, SHORT).await?.success()?.trim() {
        "" => Err(Error::infra("its kernel has no boot id")),
        boot_id => Ok(boot_id.to_owned()),
    }
}
