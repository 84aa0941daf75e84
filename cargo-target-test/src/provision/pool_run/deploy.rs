//! Deploys one instance: waits for room, calls the platform, prepares, in an order that survives a crash.
//!
//! Makes the steps of a deploy durable. Must not know how an instance is prepared (the [`Preparer`] does) nor whether
//! one is needed (`ensure` does).

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{PoolRun, Wanted};
use crate::{
    error::{Error, Result},
    failpoint,
    playbook::CountsAs,
    provision::{
        WaitNotice,
        capacity::{self, Host, Room},
        platform::{Deployed, Footprint},
        pool::{self, HeldLock, InstanceFacts, Locked, Record, RecordEvent, RecordState},
    },
};

/// The pause between two checks for room.
const POLL: Duration = Duration::from_millis(100);
/// The time limit for room that no instance of this pool takes: other programs may use the host.
const PATIENCE: Duration = Duration::from_secs(30);

/// Prepares the instances that a [`PoolRun`] deploys. Called on the thread that requests the instance.
pub trait Preparer {
    /// Receives a line about a long step.
    fn progress(&self, line: &str);

    /// True if the instance is not needed any more.
    fn cancelled(&self) -> bool;

    /// Prepares an instance that its platform has just deployed: waits until it answers, runs its recipe, collects its
    /// facts. `recycled` is the reason that the previous instance ended, if any; an existing machine still has its
    /// traces.
    ///
    /// # Errors
    /// Fails if the instance cannot serve; it is then dirty, for this cause.
    fn prepare(&self, record: &Record, recycled: Option<&str>) -> Result<InstanceFacts>;
}

pub(super) fn cancelled() -> Error {
    Error::infra("cancelled")
}

impl PoolRun {
    /// Waits until neither this run nor another prepares the same existing machine for another record: a preparation
    /// kills what an earlier one left there. `None` if the machine was created for the record.
    fn alone_on_machine(
        &self,
        record: &Record,
        preparer: &dyn Preparer,
    ) -> Result<Option<HeldLock>> {
        if record.lease == record.id {
            return Ok(None);
        }
        let mut notice = WaitNotice::on_change();
        loop {
            let pid = match self.pool.lock()?.preparing(&record.lease)? {
                Ok(alone) => return Ok(Some(alone)),
                Err(pid) => pid,
            };
            let text = format!("waiting for pid {pid}, which prepares the same machine");
            if pid != std::process::id().to_string() && notice.is_due(&text) {
                preparer.progress(&text);
            }
            if preparer.cancelled() {
                return Err(cancelled());
            }
            thread::sleep(POLL);
        }
    }

    /// Deploys a planned record. If the platform fails, the record is deleted; if the preparation fails, it becomes
    /// dirty.
    pub(super) fn deploy(
        &self,
        wanted: &Wanted,
        record: Record,
        work: HeldLock,
        (preparer, recycled): (&dyn Preparer, Option<&str>),
    ) -> Result<Record> {
        let id = record.id.clone();
        let deployed = self.begin(wanted, &record, preparer).and_then(|()| {
            wanted
                .platform
                .deploy(&record.spec, &|line| preparer.progress(line))
        });
        let deployed = match deployed {
            Ok(deployed) => deployed,
            Err(error) => {
                self.save_console(&record);
                // A failed delete is noted in the record, and retried when the run ends. The error of the deploy is
                // more useful.
                if let Err(left) = self.remover().start_and_remove(&record, work) {
                    let left = left.chain();
                    preparer.progress(&format!("not deleted, tried again at the end: {left}"));
                }
                let fails = wanted.lifecycle.on_boot_failure == CountsAs::Fail;
                let crashed = error.is_crash() && fails && !preparer.cancelled();
                return Err(error.with_crash(crashed));
            }
        };
        failpoint::point("platform-deployed");
        let (record, from) = self.note_deployed(record, deployed)?;
        failpoint::point("prepare-started");
        let prepared = self
            .alone_on_machine(&record, preparer)
            .and_then(|_alone| preparer.prepare(&record, recycled));
        failpoint::point("prepare-done");
        if prepared.is_err() {
            self.save_console(&record);
        }
        let deployed = record.deployed.filter(|_| from == RecordState::Creating);
        let deployed = deployed.map(|deployed| RecordEvent::Deployed(Box::new(deployed)));
        let mut events = Vec::from_iter(deployed);
        events.push(match &prepared {
            Ok(facts) => RecordEvent::Ready(pool::now(), facts.clone()),
            Err(error) => RecordEvent::MarkDirty(error.chain()),
        });
        let record = self.note_prepared(&id, &from, events)?;
        failpoint::point(match &prepared {
            Ok(_) => "record-ready",
            Err(_) => "record-dirty",
        });
        drop(work);
        prepared.map(|_| record)
    }

    /// Records a new machine durably before the preparation. An existing machine is found again without that.
    fn note_deployed(
        &self,
        mut record: Record,
        deployed: Deployed,
    ) -> Result<(Record, RecordState)> {
        if !record.ownership.is_created() {
            record.deployed = Some(deployed);
            return Ok((record, RecordState::Creating));
        }
        let event = RecordEvent::Deployed(Box::new(deployed));
        let mut locked = self.pool.lock()?;
        let record = self.advance(&mut locked, &record.id, &RecordState::Creating, [event])?;
        Ok((record, RecordState::Preparing))
    }

    /// Records the end of a preparation durably. The prepared instance is unused.
    fn note_prepared(
        &self,
        id: &str,
        from: &RecordState,
        events: Vec<RecordEvent>,
    ) -> Result<Record> {
        let mut locked = self.pool.lock()?;
        let record = self.advance(&mut locked, id, from, events)?;
        // The lease of an existing machine may be older than its preparation.
        if !record.ownership.is_created() && record.state == RecordState::Ready {
            pool::mark_unused(&locked, &record)?;
        }
        Ok(record)
    }

    /// Waits until the host has room for the instance, and reserves the room.
    fn begin(&self, wanted: &Wanted, record: &Record, preparer: &dyn Preparer) -> Result<()> {
        let (started, mut notice) = (Instant::now(), WaitNotice::on_change());
        loop {
            let mut locked = self.pool.lock()?;
            let free = record.demand == Footprint::default();
            let room = match free && !record.ownership.is_created() {
                true => Room::Enough,
                false => self.room(wanted, record, &locked)?,
            };
            match room {
                Room::Enough => {
                    self.advance(
                        &mut locked,
                        &record.id,
                        &RecordState::Planned,
                        [RecordEvent::Create],
                    )?;
                    failpoint::point("record-creating");
                    return Ok(());
                }
                Room::Never(error) => return Err(error),
                Room::Short(text) if started.elapsed() > PATIENCE => {
                    return Err(Error::infra(format!("`{}` needs {text}", record.name())));
                }
                Room::Wait(text) | Room::Short(text) => {
                    if notice.is_due(&text) {
                        preparer.progress(&text);
                    }
                }
            }
            drop(locked);
            if preparer.cancelled() {
                return Err(cancelled());
            }
            thread::sleep(POLL);
        }
    }

    /// Checks for room beside all other instances in this pool, also of other runs.
    fn room(&self, wanted: &Wanted, record: &Record, locked: &Locked<'_>) -> Result<Room> {
        let host = Host::now(&self.pool.instances())?;
        let (mut deploying, mut standing) = (Vec::new(), Vec::new());
        for other in locked.state().records.values() {
            let on_its_way = matches!(other.state, RecordState::Creating | RecordState::Preparing);
            // Without a living process, the instance is not being deployed.
            if on_its_way && other.ownership.is_created() && locked.work(&other.id)?.is_none() {
                deploying.push(other.demand);
            } else if other.id != record.id && !matches!(other.state, RecordState::Planned) {
                standing.push(other.demand);
            }
        }
        Ok(capacity::room(
            &host,
            wanted.pool.max_parallel_deploys.get(),
            (record.name(), record.demand),
            (&deploying, &standing),
        ))
    }

    /// Applies the events to a record, if its state has not changed since it was last read.
    fn advance(
        &self,
        locked: &mut Locked<'_>,
        id: &str,
        from: &RecordState,
        events: impl IntoIterator<Item = RecordEvent>,
    ) -> Result<Record> {
        let deleted = || Error::infra("the instance was deleted during its deploy");
        let record = locked.state().records.get(id).ok_or_else(deleted)?;
        if record.state != *from {
            // The process that deletes it waits until this work ends.
            return Err(deleted());
        }
        locked.commit(events.into_iter().map(|event| (id.to_owned(), event)))?;
        locked.state().records.get(id).cloned().ok_or_else(deleted)
    }
}
