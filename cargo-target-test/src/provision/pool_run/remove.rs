//! Deletes instances: decides which, and keeps each record until the platform has confirmed.
//!
//! Ends runs, deletes what dead runs left, and implements `--delete-targets`.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use target_fixtures::env;

use super::PoolRun;
use crate::{
    connect::Reach,
    error::{Error, ErrorKind, Result},
    failpoint,
    process::Remains,
    provision::{
        platform::{Ownership, Platforms, end_remains},
        pool::{
            self, HeldLock, LastHolder, Locked, Pool, Record, RecordEvent, RecordState, cannot,
        },
        prepare, unit,
    },
    run_event::{CleanUp, InstanceNote, RunEventKind},
    secret::redacted,
    sync, ui,
};

/// The pauses before the second and the third try of a delete.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];
/// A delete that took longer, or its own time limit, is not tried again at once: what it waited for will not have
/// changed.
const RETRIED: Duration = Duration::from_secs(5);
/// The time limit for another process to stop its deploy or delete of an instance that is to be deleted.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(25);
/// The maximum number of deletes at once.
const AT_ONCE: usize = 16;

/// The instances to delete, by the workspace that deployed them.
#[derive(Clone, Debug, PartialEq)]
pub enum DeleteScope {
    /// Instances of this workspace.
    Workspace(PathBuf),
    /// Instances of all workspaces.
    All,
    /// The instances of these records.
    Instances(BTreeSet<String>),
}

impl PoolRun {
    /// Ends the run's claims and deletes its instances. With `keep`, ready instances stay, otherwise only those that were
    /// pinned; dirty ones never serve again. Instances that another living run uses or a living process leases are left to
    /// that process: the last one decides. The run's own leases should have ended. Deletes run in parallel, are tried
    /// three times, and take as long as the platforms need.
    ///
    /// # Errors
    /// Fails if the pool cannot be used.
    pub fn finish(&self, keep: bool) -> Result<CleanUp> {
        let pinned = self.pinned();
        let mut report =
            self.end_claims(&|record| keep || pinned.contains(&record.id), |_| true)?;
        self.save_consoles_that_stay();
        let unused = self.unused_kept()?;
        report.unused = unused
            .iter()
            .map(|record| record.name().to_owned())
            .collect();
        Ok(report)
    }

    /// Ends a run that was not interrupted: also deletes what dead runs left.
    ///
    /// # Errors
    /// Fails if the pool cannot be used.
    pub fn finish_and_reconcile(&self, keep: bool) -> Result<CleanUp> {
        let mut left = self.reconcile()?;
        let mut report = self.finish(keep)?;
        report.left = [left.deleted, left.released].concat();
        report.left.sort();
        report.failed.append(&mut left.failed);
        report.unknown.append(&mut left.unknown);
        Ok(report)
    }

    /// Deletes one record that no remaining case of this run needs; `None` if it is in use, also by this run.
    ///
    /// # Errors
    /// Fails if the pool cannot be used.
    pub fn release(&self, id: &str) -> Result<Option<CleanUp>> {
        let used = {
            let locked = self.pool.lock()?;
            let record = locked.state().records.get(id);
            record.map_or(Ok(None), |record| self.remover().in_use(&locked, record))?
        };
        match used {
            Some(_) => Ok(None),
            None => self
                .end_claims(&|_| false, |claimed| claimed == id)
                .map(Some),
        }
    }

    /// Ends the claims of a run that only borrowed instances: kept ones stay, unused others are deleted.
    ///
    /// # Errors
    /// Fails if the pool cannot be used.
    pub(crate) fn leave(&self) -> Result<CleanUp> {
        self.end_claims(&|record| record.kept, |_| true)
    }

    /// Ends the claims on all instances but one, as [`PoolRun::leave`] does.
    pub(crate) fn leave_others(&self, record: &str) -> Result<CleanUp> {
        self.end_claims(&|record| record.kept, |claimed| claimed != record)
    }

    fn end_claims(
        &self,
        keep: &dyn Fn(&Record) -> bool,
        chosen: impl Fn(&str) -> bool,
    ) -> Result<CleanUp> {
        let mut report = CleanUp::default();
        let remover = self.remover();
        let mut locked = self.pool.lock()?;
        let mut file = self.file();
        let (ended, claims): (BTreeSet<_>, _) =
            file.uses().iter().cloned().partition(|id| chosen(id));
        let (mut events, mut chosen, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for record in ended.iter().filter_map(|id| locked.state().records.get(id)) {
            let (id, name) = (record.id.clone(), record.name().to_owned());
            let keep = record.up || keep(record);
            if let Some(by) = remover.in_use(&locked, record)? {
                report.held.push(InstanceNote::new(record.name(), by));
                // Another user of the instance may not know that it is kept.
                if keep && record.state == RecordState::Ready && !record.kept {
                    events.push((id, RecordEvent::Keep));
                }
            } else if record.stays_dirty() {
                let cause = record.state.cause().unwrap_or_default();
                report.dirty.push(InstanceNote::new(&name, cause));
            } else if keep && record.state == RecordState::Ready {
                report.kept.push(name);
                kept.push(id.clone());
                if !record.kept {
                    events.push((id, RecordEvent::Keep));
                }
            } else if let Some(unknown) = remover.of_another_tool(record) {
                report.unknown.push(unknown);
            } else {
                if record.kept && record.state == RecordState::Ready {
                    report.unkept.push(name);
                }
                chosen.push(record.clone());
                events.push((id, RecordEvent::Delete));
            }
        }
        if !events.is_empty() {
            locked.commit(events)?;
            failpoint::point("record-deleting");
        }
        file.set_uses(claims)?;
        drop((file, locked));
        if let Err(error) = self.renew(&kept) {
            ui::live(&format!(
                "failed to renew a kept instance: {}",
                error.chain()
            ));
        }
        report.kept.sort();
        remover.remove_all(&chosen, &mut report);
        Ok(report)
    }

    /// Deletes what dead runs of this workspace left: interrupted deploys and deletes, and instances that are not kept
    /// and that no living run uses. Call it when this run has its instances: these are taken over and not deleted.
    ///
    /// # Errors
    /// Fails if the pool cannot be used.
    pub fn reconcile(&self) -> Result<CleanUp> {
        let scope = DeleteScope::Workspace(self.run.workspace.clone());
        self.remover().sweep(&scope, false, |record| {
            !record.stays_dirty() && (!record.kept || record.state != RecordState::Ready)
        })
    }
}

/// Deletes every instance of the scope; needs no playbook. Instances in use by a living process are left untouched and
/// reported as held, unless `force`. Nothing remains if `failed` and `held` are both empty; a second call is harmless.
///
/// # Errors
/// Fails if the pool cannot be used.
pub fn delete_all(
    pool: &Pool,
    platforms: &Platforms,
    scope: &DeleteScope,
    force: bool,
) -> Result<CleanUp> {
    let remover = remover(pool, platforms);
    let before = pool.state()?;
    let mut report = remover.sweep(scope, force, |_| true)?;
    if *scope == DeleteScope::All {
        clean_up(pool, platforms, before.records.values(), &mut report)?;
    }
    if let DeleteScope::Instances(_) = scope {
        return Ok(report);
    }
    let lost = pool.state()?.lost.clone();
    report.failed.extend(lost.iter().map(|id| {
        let cause = format!(
            "its record is damaged; `cargo target-test gc` finds it on most platforms, else remove by hand what is \
             named `{id}`, then run `cargo target-test pool forget {id}`"
        );
        InstanceNote::new(id, cause)
    }));
    Ok(report)
}

/// Deletes what platforms keep on this host for later instances, unless the pool still has an instance. `before` are
/// the records of deleted instances.
fn clean_up<'a>(
    pool: &Pool,
    platforms: &Platforms,
    before: impl Iterator<Item = &'a Record>,
    report: &mut CleanUp,
) -> Result<()> {
    let state = pool.state()?;
    if !state.records.is_empty() {
        return Ok(());
    }
    let all = platforms.all().iter().map(|platform| (platform, None));
    let known =
        before.filter_map(|record| Some((platforms.get(&record.platform)?, Some(&record.spec))));
    for (platform, like) in all.chain(known) {
        if let Err(error) = platform.clean_up(&state.label, like) {
            let failure = InstanceNote::new(platform.name(), with_hint(&error));
            report.failed.push(failure);
        }
    }
    Ok(())
}

/// Drops a record without deleting its instance. Returns the record; `None` if the id is that of a lost record.
///
/// # Errors
/// Fails if a living process uses the instance or works on it, or if the pool cannot be used.
pub fn forget(pool: &Pool, id: &str) -> Result<Option<Record>> {
    let mut locked = pool.lock()?;
    let Some(record) = locked.state().records.get(id).cloned() else {
        locked.commit([(id.to_owned(), RecordEvent::Gone)])?;
        return Ok(None);
    };
    let platforms = Platforms::none();
    let remover = remover(pool, &platforms);
    let work = remover.take_unused(&locked, &record)?;
    locked.commit([(id.to_owned(), RecordEvent::Delete)])?;
    locked.forget(&record, work)?;
    drop(locked);
    // Only files of ours: what the platform keeps there is of no use without the record.
    let _ = fs::remove_dir_all(&record.spec.scratch);
    Ok(Some(record))
}

/// Returns a record that no living process uses or works on.
///
/// # Errors
/// Fails if a living process does, or if the pool cannot be used.
pub(crate) fn unused(pool: &Pool, id: &str) -> Result<Option<Record>> {
    let (locked, platforms) = (pool.lock()?, Platforms::none());
    let record = locked.state().records.get(id).cloned();
    if let Some(record) = &record {
        remover(pool, &platforms).take_unused(&locked, record)?;
    }
    Ok(record)
}

/// Deletes a record's instance, as [`delete_all`] does, if no living process uses it.
///
/// # Errors
/// As [`unused`], or with the platform's error.
pub(crate) fn delete_unused(pool: &Pool, platforms: &Platforms, record: &Record) -> Result<()> {
    let remover = remover(pool, platforms);
    let work = remover.take_unused(&pool.lock()?, record)?;
    remover.start_and_remove(record, work)
}

/// Deletes records, on behalf of a run or of no run.
pub(super) struct Remover<'a> {
    pub(super) pool: &'a Pool,
    pub(super) platforms: &'a Platforms,
    /// The run that deletes: its own use does not count, and it is told of every delete.
    pub(super) run: Option<&'a PoolRun>,
}

/// A remover on behalf of no run.
fn remover<'a>(pool: &'a Pool, platforms: &'a Platforms) -> Remover<'a> {
    Remover {
        pool,
        platforms,
        run: None,
    }
}

impl Remover<'_> {
    /// Takes the right to delete a record.
    ///
    /// # Errors
    /// Fails if a living process uses the instance or works on it.
    fn take_unused(&self, locked: &Locked<'_>, record: &Record) -> Result<HeldLock> {
        let busy = |by: String| {
            let message = format!("`{}` is in use ({by})", record.name());
            Error::infra(message).with_hint("wait until that process ends, or end it")
        };
        if let Some(by) = self.in_use(locked, record)? {
            return Err(busy(by));
        }
        match locked.work(&record.id)? {
            Some(work) => Ok(work),
            None => Err(busy(locked.worker(&record.id)?)),
        }
    }

    /// The living process that leases the record, or the other run that uses it.
    pub(super) fn in_use(&self, locked: &Locked<'_>, record: &Record) -> Result<Option<String>> {
        if let Some(holder) = pool::holder(locked, record)? {
            return Ok(Some(holder.describe()));
        }
        let users = locked.living()?;
        let other = users
            .iter()
            .find(|run| run.uses.contains(&record.id) && Some(&*run.id) != self.own_id());
        Ok(other.map(|run| {
            let (pid, id) = (run.process.pid, &run.id);
            match run.is_broker {
                true => format!(
                    "the broker of tests outside a run, pid {pid}, which ends 10 s after the last of them"
                ),
                false => format!("pid {pid} run {id}"),
            }
        }))
    }

    fn sweep(
        &self,
        scope: &DeleteScope,
        force: bool,
        unwanted: impl Fn(&Record) -> bool,
    ) -> Result<CleanUp> {
        let mut report = CleanUp::default();
        let mut locked = self.pool.lock()?;
        let mut chosen = Vec::new();
        let living = locked.living()?;
        for record in locked.state().records.values() {
            let ours = match scope {
                DeleteScope::Workspace(workspace) => record.workspace == *workspace,
                DeleteScope::All => true,
                DeleteScope::Instances(ids) => ids.contains(&record.id),
            };
            let own = living
                .iter()
                .any(|run| Some(&*run.id) == self.own_id() && run.uses.contains(&record.id));
            if !ours || own || !unwanted(record) {
                continue;
            }
            let held = match self.in_use(&locked, record)? {
                None if matches!(record.state, RecordState::Deleting { .. }) => None,
                None if locked.work(&record.id)?.is_none() => Some(locked.worker(&record.id)?),
                held => held,
            };
            match held {
                Some(by) if !force => report.held.push(InstanceNote::new(record.name(), by)),
                _ => match self.of_another_tool(record) {
                    Some(unknown) => report.unknown.push(unknown),
                    None => chosen.push(record.clone()),
                },
            }
        }
        if !chosen.is_empty() {
            let ids = chosen.iter().map(|record| record.id.clone());
            locked.commit(ids.map(|id| (id, RecordEvent::Delete)).collect::<Vec<_>>())?;
            failpoint::point("record-deleting");
        }
        drop(locked);
        self.remove_all(&chosen, &mut report);
        Ok(report)
    }

    /// Deletes these records, which are marked as being deleted, several at once.
    fn remove_all(&self, records: &[Record], report: &mut CleanUp) {
        let (next, report) = (AtomicUsize::new(0), Mutex::new(report));
        thread::scope(|scope| {
            for _ in 0..records.len().min(AT_ONCE) {
                scope.spawn(|| {
                    while let Some(record) = records.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let outcome = self.remove_when_free(record);
                        let mut report = sync::lock(&report);
                        let instance = record.name().to_owned();
                        match outcome {
                            Ok(()) if self.stays(record) => report.released.push(instance),
                            Ok(()) => report.deleted.push(instance),
                            Err(error) => {
                                let failure = InstanceNote::new(&instance, with_hint(&error));
                                report.failed.push(failure);
                            }
                        }
                    }
                });
            }
        });
        let report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.deleted.sort();
        report.released.sort();
        report.failed.sort_by(|a, b| a.instance.cmp(&b.instance));
    }

    /// Deletes a record that is marked as being deleted, once no other process works on it.
    fn remove_when_free(&self, record: &Record) -> Result<()> {
        let started = Instant::now();
        loop {
            let worker = {
                let locked = self.pool.lock()?;
                // Its deployer may have added data that helps to delete it.
                let Some(record) = locked.state().records.get(&record.id).cloned() else {
                    return Ok(());
                };
                match locked.work(&record.id)? {
                    Some(work) => {
                        drop(locked);
                        return self.remove(&record, work);
                    }
                    None => locked.worker(&record.id)?,
                }
            };
            if started.elapsed() > PATIENCE {
                let error = Error::infra(format!(
                    "{worker} is still working on it after {} s",
                    PATIENCE.as_secs()
                ));
                self.tell(record, started, Some(&error));
                return Err(error);
            }
            thread::sleep(POLL);
        }
    }

    /// Marks a record as being deleted, and deletes it.
    pub(super) fn start_and_remove(&self, record: &Record, work: HeldLock) -> Result<()> {
        self.pool
            .lock()?
            .commit([(record.id.clone(), RecordEvent::Delete)])?;
        failpoint::point("record-deleting");
        self.remove(record, work)
    }

    /// Deletes a record that is marked as being deleted. The record goes only when the platform has confirmed.
    pub(super) fn remove(&self, record: &Record, work: HeldLock) -> Result<()> {
        let started = Instant::now();
        let removed = self.remove_now(record, work);
        self.tell(record, started, removed.as_ref().err());
        removed
    }

    fn remove_now(&self, record: &Record, work: HeldLock) -> Result<()> {
        if let Some(run) = self.run {
            run.save_last_console(record);
        }
        let deleted = self.kill_left(record).and_then(|()| self.delete(record));
        failpoint::point("platform-deleted");
        let mut locked = self.pool.lock()?;
        match deleted {
            Ok(()) => locked.forget(record, work),
            Err(error) => {
                locked.commit([(record.id.clone(), RecordEvent::DeleteFailed(error.chain()))])?;
                Err(error)
            }
        }
    }

    /// Emits the event of a delete.
    fn tell(&self, record: &Record, started: Instant, error: Option<&Error>) {
        if let Some(run) = self.run {
            run.emit(RunEventKind::Deleted {
                instance: record.name().to_owned(),
                took: started.elapsed(),
                error: error.map(|error| redacted(&with_hint(error)).into_owned()),
            });
        }
    }

    /// The id of the run that deletes.
    fn own_id(&self) -> Option<&str> {
        self.run.map(|run| run.run.id.as_str())
    }

    /// Kills commands on this host that a dead holder or an interrupted preparation left, and waits for those that
    /// cannot be killed. A created machine is deleted with its processes.
    fn kill_left(&self, unit: &Record) -> Result<()> {
        let machines = unit::machines(unit)?;
        machines
            .iter()
            .try_for_each(|machine| self.kill_left_on(machine))
    }

    fn kill_left_on(&self, record: &Record) -> Result<()> {
        let reach = record.deployed.as_ref().map(|deployed| &deployed.reach);
        if !matches!(reach, Some(Reach::Local(_))) {
            return Ok(());
        }
        let log = record.spec.sessions();
        let mut marks = Vec::new();
        if let LastHolder::Dead(holder) = pool::last_holder(&self.pool.lock()?, record)? {
            marks.extend(holder.marks().map(str::to_owned));
        }
        let preparation = prepare::mark(record);
        if log.as_ref().is_some_and(|log| log.has(&preparation)) {
            marks.push(preparation);
        }
        for mark in marks {
            let remains = Remains::of((env::LEASE, &mark), log.as_ref());
            end_remains(remains, "an interrupted command", record.name(), &ui::live)?;
        }
        Ok(())
    }

    /// True if the record is on an existing machine.
    fn stays(&self, record: &Record) -> bool {
        let platform = self.platforms.get(&record.platform);
        platform.is_some_and(|platform| platform.ownership() == Ownership::Existing)
    }

    /// The reason that only another tool can delete the record; `None` if this tool can.
    fn of_another_tool(&self, record: &Record) -> Option<InstanceNote> {
        let known = self
            .platforms
            .known(&record.platform, record.tool.as_deref());
        Some(InstanceNote::new(record.name(), with_hint(&known.err()?)))
    }

    fn delete(&self, record: &Record) -> Result<()> {
        let platform = self
            .platforms
            .known(&record.platform, record.tool.as_deref())?;
        if let Err(error) = platform.check_delete(&record.spec) {
            let name = record.name();
            let forget = format!(
                "if that is gone for good, `cargo target-test pool forget {name}` drops the record"
            );
            let hint = match error.hint() {
                Some(hint) => format!("{hint}; {forget}"),
                None => forget,
            };
            return Err(error.with_hint(hint));
        }
        let (started, mut pauses) = (Instant::now(), PAUSES.iter());
        loop {
            let error = match platform.delete(&record.spec, record.deployed.as_ref()) {
                Ok(()) => break,
                Err(error) => error,
            };
            let is_late = error.kind() == ErrorKind::Timeout || started.elapsed() > RETRIED;
            match pauses.next().filter(|_| !is_late) {
                Some(pause) => thread::sleep(*pause),
                None => return Err(error),
            }
        }
        record.spec.forget_sessions();
        let scratch = &record.spec.scratch;
        match fs::remove_dir_all(scratch) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(cannot("remove", scratch, error))
            }
            _ => Ok(()),
        }
    }
}

fn with_hint(error: &Error) -> String {
    match error.hint() {
        Some(hint) => format!("{} (hint: {hint})", error.chain()),
        None => error.chain(),
    }
}
