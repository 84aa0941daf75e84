//! The instances of one target, as this broker supplies them: asked for any number of times, deployed
//! once.
//!
//! Owns which instance is being deployed, ready or failed in this run. Must not know cases. The pool
//! knows what exists; this only spares asking it twice.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use target_fixtures::wire::Failure;

use super::{Core, infra, line::Line};
use crate::{
    error::{Error, ErrorKind},
    execute::transport,
    provision::{Ensured, Wanted, pool::Record},
};

/// For how long a failure is the answer to all who ask, where it is not for the whole run.
const MEMORY: Duration = Duration::from_secs(2);

/// The instances of one target.
pub struct Supply {
    /// What the pool is asked for, by index.
    pub wanted: Vec<Wanted>,
    /// One certain instance, where only that will do.
    pub instance: Option<String>,
    slots: Mutex<Vec<Slot>>,
}

#[derive(Clone)]
enum Slot {
    Idle,
    Working,
    Ready(Arc<Supplied>),
    /// Since when.
    Failed(Failure, Instant),
}

/// A ready instance.
pub(super) struct Supplied {
    pub(super) record: Record,
    /// How it came about, for people.
    pub(super) story: String,
}

impl Supply {
    /// Nothing is asked for yet.
    pub fn new(wanted: Vec<Wanted>) -> Self {
        let slots = Mutex::new(vec![Slot::Idle; wanted.len()]);
        Self {
            wanted,
            instance: None,
            slots,
        }
    }

    /// The target's name.
    pub fn target(&self) -> &str {
        self.wanted.first().map_or("", |wanted| &wanted.target)
    }

    /// Starts deploying what nobody asked for yet.
    pub(super) fn ask_for_all(self: &Arc<Self>, core: &Arc<Core>) {
        for index in 0..self.wanted.len() {
            self.ask_for(core, index);
        }
    }

    /// Waits for an instance; asks for it where nobody did.
    pub(super) async fn ready(
        self: &Arc<Self>,
        core: &Arc<Core>,
        index: usize,
    ) -> Result<Arc<Supplied>, Failure> {
        loop {
            let changed = core.changed.notified();
            // In every round: what was ready a moment ago may have been forgotten.
            self.ask_for(core, index);
            match self.slots()[index].clone() {
                Slot::Ready(supplied) => return Ok(supplied),
                Slot::Failed(failure, _) => return Err(failure),
                Slot::Idle | Slot::Working => {}
            }
            changed.await;
        }
    }

    /// Why `count` instances can never be had together, if so.
    pub(super) fn hopeless(&self, count: usize) -> Option<Failure> {
        let slots = self.slots();
        let mut failed = slots.iter().filter_map(|slot| match slot {
            Slot::Failed(failure, _) => Some(failure),
            _ => None,
        });
        let possible = slots.len() - failed.clone().count();
        if possible >= count {
            None
        } else {
            failed.next().cloned()
        }
    }

    /// The instance must not serve again: the next who asks has it replaced.
    pub(super) fn forget(&self, record: &str) {
        for slot in self.slots().iter_mut() {
            if matches!(slot, Slot::Ready(supplied) if supplied.record.id == record) {
                *slot = Slot::Idle;
            }
        }
    }

    /// Has the pool asked again for every instance, unless one is on its way; says whether it is.
    pub(super) fn look_again(&self) -> bool {
        let mut slots = self.slots();
        if slots.iter().any(|slot| matches!(slot, Slot::Working)) {
            return false;
        }
        for slot in slots.iter_mut() {
            if matches!(slot, Slot::Ready(_)) {
                *slot = Slot::Idle;
            }
        }
        true
    }

    /// What failed in an earlier run of the tests is tried again, where one supply serves several runs.
    pub(crate) fn forgive(&self) {
        for slot in self.slots().iter_mut() {
            if matches!(slot, Slot::Failed(_, at) if at.elapsed() > MEMORY) {
                *slot = Slot::Idle;
            }
        }
    }

    fn ask_for(self: &Arc<Self>, core: &Arc<Core>, index: usize) {
        let mut slots = self.slots();
        if !matches!(slots[index], Slot::Idle) {
            return;
        }
        slots[index] = Slot::Working;
        let (supply, core) = (Arc::clone(self), Arc::clone(core));
        tokio::spawn(async move {
            let made = supply.make(&core, index).await;
            supply.slots()[index] = match made {
                Ok(supplied) => Slot::Ready(Arc::new(supplied)),
                Err(failure) => Slot::Failed(failure, Instant::now()),
            };
            core.changed.notify_waiters();
        });
    }

    /// Has the pool make the instance and proves that it answers. A kept one that does not is replaced,
    /// once.
    async fn make(&self, core: &Arc<Core>, index: usize) -> Result<Supplied, Failure> {
        let mut replaced = None;
        loop {
            let started = Instant::now();
            let ensured = self.ensure(core, index).await;
            let instance = self.wanted[index].instance();
            let ensured = ensured.map_err(|error| could_not(&instance, &error))?;
            if let Some(reason) = &ensured.recycled {
                core.progress(&format!("{instance}: recycled: {reason}"));
            }
            let line = core
                .line(&ensured.record)
                .map_err(|error| could_not(&instance, &error))?;
            match line.prove().await {
                Ok(()) => {
                    let story = story(&ensured, replaced.as_deref(), started.elapsed());
                    return Ok(Supplied {
                        record: ensured.record,
                        story,
                    });
                }
                Err(error) => {
                    core.spoil(&ensured.record, &error.chain()).await;
                    if ensured.fresh || replaced.is_some() {
                        return Err(could_not(&instance, &error));
                    }
                    replaced = Some(error.chain());
                }
            }
        }
    }

    async fn ensure(&self, core: &Arc<Core>, index: usize) -> Result<Ensured, Error> {
        let (wanted, core) = (self.wanted[index].clone(), Arc::clone(core));
        let instance = wanted.instance();
        let ensured = tokio::task::spawn_blocking(move || {
            let progress = |line: &str| core.progress(&format!("{instance}: {line}"));
            let ensured = core
                .provisioner
                .ensure(&wanted, &progress, &|| core.is_cancelled())?;
            core.ssh_hosts.add(&core.ssh_config(), &ensured.record)?;
            Ok(ensured)
        });
        ensured
            .await
            .map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// The live way to an instance; made on first use.
    pub(super) fn line(&self, record: &Record) -> Result<Arc<Line>, Error> {
        let deployed = record.deployed.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::Infra,
                format!("`{}` is not deployed", record.name()),
            )
        })?;
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(record.id.clone()).or_insert_with(|| {
            Arc::new(Line::new(transport::connect(
                record.name(),
                &deployed.reach,
            )))
        });
        Ok(Arc::clone(line))
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

fn could_not(instance: &str, error: &Error) -> Failure {
    let mut failure = infra(error);
    failure.message = format!("{instance} could not be deployed: {}", failure.message);
    let target = instance
        .rsplit_once('-')
        .map_or(instance, |(target, _)| target);
    let alone =
        || format!("once that is mended, `cargo target-test '[{target}]'` runs its cases alone");
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
