//! Gets, shares and deletes instances of a pool, for one run.
//!
//! Makes each step durable in order: first the intent, then the platform's call, then the result. Must not know how a
//! machine is created (platforms do) nor who waits for it (the provisioner does). Every call blocks and can be made
//! from any thread.

mod consoles;
mod deploy;
mod ensure;
mod remove;
mod report;

pub use self::{
    deploy::Preparer,
    ensure::{Ensured, Wanted},
    remove::{DeleteScope, delete_all, forget},
};

pub(super) use self::remove::{delete_unused, unused};

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::{SystemTime, UNIX_EPOCH},
};

use self::consoles::Consoles;
use super::{
    platform::{Deployed, Platforms},
    pool::{self, LeaseRequest, Pool, Record, RecordEvent, RecordState, RunFile, Ticket, TryLease},
};
use crate::{
    error::Result,
    failpoint,
    run_event::{RunEventKind, Sink},
    sync,
};

/// The run that a [`PoolRun`] works for.
#[derive(Clone)]
pub struct RunInfo {
    /// Differs from the ids of all other living runs; becomes a file name.
    pub id: String,
    /// The workspace's root.
    pub workspace: PathBuf,
    /// The playbook; `None` for the embedded one.
    pub playbook: Option<PathBuf>,
    /// The path of the playbook on the command line, if it is there: another run needs it too.
    pub typed_playbook: Option<PathBuf>,
    /// True if this process is a broker, which serves tests that were started without `cargo target-test`.
    pub is_broker: bool,
    /// The tool's platforms: an instance to delete may be of a platform that the playbook does not name.
    pub platforms: Platforms,
}

impl RunInfo {
    /// A run with a new id.
    pub fn new(workspace: &Path, playbook: Option<&Path>, platforms: &Platforms) -> Self {
        Self {
            id: Self::new_id(),
            workspace: workspace.to_owned(),
            playbook: playbook.map(Path::to_owned),
            typed_playbook: None,
            is_broker: false,
            platforms: platforms.clone(),
        }
    }

    /// Returns an id that no other run has: short, since it is part of every lease's mark.
    pub fn new_id() -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_micros();
        format!("{now:x}-{:x}", std::process::id())
    }
}

/// Gets, leases and returns instances for one run. The run claims its instances until [`PoolRun::finish`] or the end of
/// the process.
pub struct PoolRun {
    pool: Pool,
    run: RunInfo,
    file: Mutex<RunFile>,
    /// Every record that this run ever used.
    used: Mutex<BTreeSet<String>>,
    /// The records that stay at the end of the run, even if it keeps no others.
    pinned: Mutex<BTreeSet<String>>,
    /// Receives the run's events, once it is known.
    sink: OnceLock<Sink>,
    /// Copies of consoles.
    consoles: Consoles,
}

impl PoolRun {
    /// Starts a run.
    ///
    /// # Errors
    /// Fails if the pool cannot be used, or if a living run has this id.
    pub fn new(pool: Pool, run: RunInfo) -> Result<Self> {
        let file = Mutex::new(pool.lock()?.start_run(&run.id, run.is_broker)?);
        Ok(Self {
            pool,
            run,
            file,
            used: Mutex::default(),
            pinned: Mutex::default(),
            sink: OnceLock::new(),
            consoles: Consoles::default(),
        })
    }

    /// Sends all further events to a sink, unless they go to one already.
    pub fn emit_to(&self, sink: Sink) {
        let _ = self.sink.set(sink);
    }

    /// Emits an event, if anything receives events.
    pub(super) fn emit(&self, kind: RunEventKind) {
        if let Some(sink) = self.sink.get() {
            sink.emit(kind);
        }
    }

    /// The pool.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The run.
    pub fn run(&self) -> &RunInfo {
        &self.run
    }

    /// Leases instances that this run has ensured, all or none, unless an earlier waiter needs them; fast, and never
    /// waits. A caller that waits keeps `ticket` between calls; it is the place in the queue until dropped.
    ///
    /// # Errors
    /// Fails if the pool cannot be used.
    pub fn try_lease(
        &self,
        request: &LeaseRequest,
        ticket: &mut Option<Ticket>,
    ) -> Result<TryLease> {
        let mut locked = self.pool.lock()?;
        pool::try_lease(&mut locked, &self.file(), request, ticket)
    }

    /// As [`PoolRun::try_lease`], without waiting for the pool; `None` if another process has its lock.
    ///
    /// # Errors
    /// As [`PoolRun::try_lease`].
    pub fn try_lease_at_once(
        &self,
        request: &LeaseRequest,
        ticket: &mut Option<Ticket>,
    ) -> Result<Option<TryLease>> {
        let Some(mut locked) = self.pool.try_lock()? else {
            return Ok(None);
        };
        pool::try_lease(&mut locked, &self.file(), request, ticket).map(Some)
    }

    /// Marks a ready instance dirty, for this cause: it does not serve again, and [`PoolRun::ensure`] recycles it.
    ///
    /// # Errors
    /// Fails if the pool cannot be used. A record that is gone or not ready is not an error.
    pub fn mark_dirty(&self, id: &str, cause: &str) -> Result<()> {
        let mut locked = self.pool.lock()?;
        if locked.state().records.get(id).map(|record| &record.state) == Some(&RecordState::Ready) {
            locked.commit([(id.to_owned(), RecordEvent::MarkDirty(cause.to_owned()))])?;
            failpoint::point("record-dirty");
        }
        Ok(())
    }

    /// Keeps ready instances at the end of this run and of later ones, until they are deleted by name.
    ///
    /// # Errors
    /// Fails if the pool cannot be used. A record that is gone or not ready is not an error.
    pub fn keep_up<'a>(&self, ids: impl IntoIterator<Item = &'a String>) -> Result<()> {
        let mut locked = self.pool.lock()?;
        let is_ready = |id: &&String| {
            let record = locked.state().records.get(*id);
            record.is_some_and(|record| record.state == RecordState::Ready)
        };
        let ready = ids.into_iter().filter(is_ready);
        let events: Vec<_> = ready.map(|id| (id.clone(), RecordEvent::Up)).collect();
        locked.commit(events)
    }

    /// Keeps an instance at the end of the run, even if the run keeps no others.
    pub(super) fn pin(&self, id: &str) {
        sync::lock(&self.pinned).insert(id.to_owned());
    }

    /// The ids of the instances to keep in any case.
    pub(super) fn pinned(&self) -> BTreeSet<String> {
        sync::lock(&self.pinned).clone()
    }

    /// Records the new connection data of a ready instance.
    ///
    /// # Errors
    /// Fails if the pool cannot be used, or if the instance is not ready.
    pub fn note_reach(&self, id: &str, deployed: Deployed) -> Result<()> {
        let event = RecordEvent::Moved(Box::new(deployed));
        self.pool.lock()?.commit([(id.to_owned(), event)])
    }

    /// As [`PoolRun::renew`], for all instances that the run uses.
    ///
    /// # Errors
    /// As [`PoolRun::renew`].
    pub(super) fn renew_used(&self) -> Result<()> {
        let uses = Arc::clone(self.file().uses());
        self.renew(&*uses)
    }

    /// Moves the expiry of these instances, where it is due: on their platforms, then in their records.
    ///
    /// # Errors
    /// Fails if the pool cannot be used, or with a platform's error; then the next call tries that instance again.
    pub(super) fn renew<'a>(&self, ids: impl IntoIterator<Item = &'a String>) -> Result<()> {
        let (state, now) = (self.pool.state()?, pool::now());
        let is_ready = |record: &Record| record.state == RecordState::Ready;
        let (mut renewed, mut failed) = (Vec::new(), Ok(()));
        for record in ids.into_iter().filter_map(|id| state.records.get(id)) {
            let Some(expires) = record.renewal(now).filter(|_| is_ready(record)) else {
                continue;
            };
            let mut spec = record.spec.clone();
            spec.provenance.expires = expires;
            let platforms = &self.run.platforms;
            let platform = platforms.known(&record.platform, record.tool.as_deref());
            match platform.and_then(|one| one.renew(&spec, record.deployed.as_ref())) {
                Ok(()) => renewed.push((record.id.clone(), RecordEvent::Renew(expires))),
                Err(error) => failed = Err(error),
            }
        }
        if !renewed.is_empty() {
            let mut locked = self.pool.lock()?;
            renewed.retain(|(id, _)| locked.state().records.get(id).is_some_and(is_ready));
            locked.commit(renewed)?;
        }
        failed
    }

    /// Kept instances of this workspace that this run never used, for example instances of a renamed target.
    ///
    /// # Errors
    /// Fails if the pool cannot be used.
    pub fn unused_kept(&self) -> Result<Vec<Record>> {
        let used = sync::lock(&self.used);
        let state = self.pool.state()?;
        let unused = state.records.values().filter(|record| {
            record.kept && record.workspace == self.run.workspace && !used.contains(&record.id)
        });
        let mut unused: Vec<_> = unused.cloned().collect();
        unused.sort_by_key(|record| (record.spec.target.clone(), record.spec.index));
        Ok(unused)
    }

    /// The ids of the records that this run may lease.
    ///
    /// # Errors
    /// Fails if the pool cannot be read.
    pub(super) fn serving(&self) -> Result<BTreeSet<String>> {
        let state = self.pool.state()?;
        let file = self.file();
        let now = pool::now();
        let ready = |id: &&String| {
            let record = state.records.get(*id);
            record.is_some_and(|record| {
                record.state == RecordState::Ready && state.disabled(record, now).is_none()
            })
        };
        Ok(file.uses().iter().filter(ready).cloned().collect())
    }

    /// Claims existing records: no process deletes them while this run lives, and the run may lease them.
    ///
    /// # Errors
    /// Fails if the pool cannot be used.
    pub(super) fn claim_existing<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let _locked = self.pool.lock()?;
        ids.into_iter().try_for_each(|id| self.claim(id))
    }

    /// Claims a record for this run. Requires `pool.lock`.
    fn claim(&self, id: &str) -> Result<()> {
        let mut used = sync::lock(&self.used);
        used.insert(id.to_owned());
        self.file().add(id)
    }

    fn file(&self) -> MutexGuard<'_, RunFile> {
        sync::lock(&self.file)
    }
}
