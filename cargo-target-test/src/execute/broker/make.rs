//! One instance from asking the pool to its answering: tried again where that is worth it, prepared where it is new.
//!
//! Owns what counts as failed and how it is told. Must not know who asked, nor how an instance is prepared.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use target_fixtures::wire::Failure;
use tokio::runtime::Handle;

use super::{Core, Supply, infra, supply::Supplied};
use crate::{
    connect,
    connect::LiveConnection,
    error::{Error, ErrorKind, Result, one_line},
    provision::{
        Ensured, Preparer, Wanted,
        platform::Deployed,
        platform::FIRST_STATE,
        pool::{Facts, Record},
        prepare::Preparation,
    },
};

/// How long a kept instance may take to show that it is well.
const HEALTH: Duration = Duration::from_secs(5);
/// The pause before a deploy is tried again; twice as long each time.
const PAUSE: Duration = Duration::from_secs(1);

impl Supply {
    /// Has the pool make the instance; a deploy that failed is tried again as often as the playbook says.
    pub(super) async fn make(&self, core: &Arc<Core>, index: usize) -> Result<Supplied, Failure> {
        let wanted = &self.wanted[index];
        let instance = wanted.instance();
        let looked_up = look_up(wanted.clone()).await;
        looked_up.map_err(|error| could_not(&instance, &error))?;
        let mut pause = PAUSE;
        let mut left = if wanted.platform.makes_machines() {
            wanted.care.retries
        } else {
            0
        };
        loop {
            let error = match self.attempt(core, wanted).await {
                Ok(supplied) => return Ok(supplied),
                Err(error) => error,
            };
            if left == 0 || core.is_cancelled() || error.kind() == ErrorKind::Pool {
                return Err(could_not(&instance, &error));
            }
            let after = humantime::format_duration(pause);
            core.progress(&format!(
                "{instance}: {}; is tried again in {after}",
                one_line(&error.chain())
            ));
            tokio::time::sleep(pause).await;
            (pause, left) = (pause * 2, left - 1);
        }
    }

    /// A kept instance that is not well is replaced, once.
    async fn attempt(&self, core: &Arc<Core>, wanted: &Wanted) -> Result<Supplied> {
        let (started, mut replaced) = (Instant::now(), None);
        loop {
            let ensured = self.ensure(core, wanted).await?;
            if let Some(reason) = &ensured.recycled {
                core.progress(&format!("{}: recycled: {reason}", wanted.instance()));
            }
            let health = match ensured.fresh {
                true => Ok(()),
                false => core.check_health(&ensured.record).await,
            };
            match health {
                Ok(()) => {
                    let story = story(&ensured, replaced.as_deref(), started.elapsed());
                    let record = ensured.record;
                    let unused = Mutex::new(ensured.fresh);
                    return Ok(Supplied {
                        record,
                        story,
                        unused,
                    });
                }
                Err(error) => {
                    core.spoil(&ensured.record, &error.chain()).await;
                    if replaced.is_some() {
                        return Err(error);
                    }
                    replaced = Some(error.chain());
                }
            }
        }
    }

    async fn ensure(&self, core: &Arc<Core>, wanted: &Wanted) -> Result<Ensured> {
        let (wanted, core) = (wanted.clone(), Arc::clone(core));
        let runtime = Handle::current();
        let ensured = tokio::task::spawn_blocking(move || {
            let asking = Asking {
                core: &core,
                wanted: &wanted,
                instance: wanted.instance(),
                runtime,
            };
            let ensured = core.provisioner.ensure(&wanted, &asking)?;
            let record = &ensured.record;
            let reach = &deployed(record)?.reach;
            core.ssh_hosts
                .add(&core.ssh_config(), record.name(), reach)?;
            Ok(ensured)
        });
        ensured
            .await
            .map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?
    }
}

/// Looks up what the instance's parameters refer to, also where that is in a kept instance since long: what shows its
/// output has to know.
async fn look_up(wanted: Wanted) -> Result<()> {
    let look_up = tokio::task::spawn_blocking(move || {
        for lookup in wanted.platform.secrets(&wanted.order(""))? {
            lookup.value()?;
        }
        Ok(())
    });
    let ended = |error: tokio::task::JoinError| Error::new(ErrorKind::Other, error.to_string());
    look_up.await.map_err(ended)?
}

/// Asks the pool for one instance, on a thread that may block.
struct Asking<'a> {
    core: &'a Arc<Core>,
    wanted: &'a Wanted,
    instance: String,
    runtime: Handle,
}

impl Preparer for Asking<'_> {
    fn progress(&self, line: &str) {
        self.core.progress(&format!("{}: {line}", self.instance));
    }

    fn cancelled(&self) -> bool {
        self.core.is_cancelled()
    }

    fn prepare(&self, record: &Record, recycled: Option<&str>) -> Result<Facts> {
        let preparation = Preparation {
            wanted: self.wanted,
            record,
            deployed: deployed(record)?,
            progress: &|line| self.progress(line),
            cancelled: &|| self.cancelled(),
        };
        let (transport, facts) = self.runtime.block_on(preparation.run(recycled))?;
        if self.wanted.snapshot {
            self.progress("remembering its state");
            self.wanted
                .platform
                .snapshot(&record.order, deployed(record)?, FIRST_STATE)?;
        }
        let line = LiveConnection::new(transport);
        line.heard();
        let lines = &self.core.lines;
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.insert(record.id.clone(), Arc::new(line));
        Ok(facts)
    }
}

impl Core {
    /// The live way to an instance; made on first use.
    pub(super) fn line(&self, record: &Record) -> Result<Arc<LiveConnection>> {
        let deployed = deployed(record)?;
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let connect = || connect::connect(record.name(), &deployed.reach);
        let line = lines
            .entry(record.id.clone())
            .or_insert_with(|| Arc::new(LiveConnection::new(connect())));
        Ok(Arc::clone(line))
    }

    /// Whether an instance of an earlier run can serve.
    async fn check_health(self: &Arc<Self>, record: &Record) -> Result<()> {
        self.check_alive(record).await?;
        self.line(record)?.prove_within(HEALTH).await
    }

    /// Whether the platform sees the instance live.
    pub(super) async fn check_alive(self: &Arc<Self>, record: &Record) -> Result<()> {
        let (core, record) = (Arc::clone(self), record.clone());
        let looked = tokio::task::spawn_blocking(move || {
            let platforms = &core.provisioner.run().platforms;
            let platform = platforms
                .iter()
                .find(|platform| platform.name() == record.platform);
            match (platform, &record.deployed) {
                (Some(platform), Some(deployed)) => platform.check_alive(&record.order, deployed),
                _ => Ok(()),
            }
        });
        looked.await.unwrap_or(Ok(()))
    }

    /// Has the pool never lend this instance again.
    pub(super) async fn spoil(self: &Arc<Self>, record: &Record, cause: &str) {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&record.id);
        let (core, id, cause) = (Arc::clone(self), record.id.clone(), cause.to_owned());
        let spoilt = tokio::task::spawn_blocking(move || core.provisioner.spoil(&id, &cause));
        if let Ok(Err(error)) = spoilt.await {
            self.progress(&error.chain());
        }
    }
}

fn deployed(record: &Record) -> Result<&Deployed> {
    record.deployed.as_ref().ok_or_else(|| {
        let message = format!("`{}` is not deployed", record.name());
        Error::new(ErrorKind::Infra, message)
    })
}

fn could_not(instance: &str, error: &Error) -> Failure {
    let mut failure = infra(error);
    failure.message = format!("{instance} could not be deployed: {}", failure.message);
    let target = instance
        .rsplit_once('-')
        .map_or(instance, |(target, _)| target);
    let alone = || format!("once that is mended, the filter `'[{target}]'` runs its cases alone");
    failure.hint.get_or_insert_with(alone);
    failure
}

fn story(ensured: &Ensured, replaced: Option<&str>, took: Duration) -> String {
    let name = ensured.record.name();
    let took = took.as_secs_f32();
    let what = if ensured.fresh {
        format!("{name}: deployed in {took:.1} s")
    } else {
        format!("{name}: kept from an earlier run, answers")
    };
    match replaced.or(ensured.recycled.as_deref()) {
        Some(reason) => format!("{what} (the one before was recycled: {reason})"),
        None => what,
    }
}
