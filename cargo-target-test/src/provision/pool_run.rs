//! Gets, shares and deletes instances of a pool, for one run.
//!
//! Owns what a run may ask of the pool and in which order that becomes durable: first the intent, then the
//! platform's call, then the result. Must not know how a machine is made (platforms do) nor who waits for it (the
//! provisioner does). Every call blocks and can be made from any thread.

mod deploy;
mod ensure;
mod remove;
mod report;

pub use self::{
    deploy::Preparer,
    ensure::{Ensured, Wanted},
    remove::{DeleteScope, delete_all},
    report::{Held, InstanceFailure, Report},
};

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    platform::{Deployed, Platforms},
    pool::{self, LeaseRequest, Pool, Record, RecordEvent, RecordState, RunFile, Ticket, TryLease},
};
use crate::{
    error::Result,
    failpoint,
    run_event::{RunEventKind, Sink},
};

/// The run that a [`PoolRun`] works for.
#[derive(Clone)]
pub struct RunInfo {
    /// Unlike that of any other living run; becomes a file name.
    pub id: String,
    /// The workspace's root.
    pub workspace: PathBuf,
    /// The playbook; `None`: the embedded one.
    pub playbook: Option<PathBuf>,
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
            platforms: platforms.clone(),
        }
    }

    /// An id that no other run has: short, since it is part of every lease's mark.
    pub fn new_id() -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_micros();
        format!("{now:x}-{:x}", std::process::id())
    }
}

/// Gets, leases and returns instances for one run. What it uses stays its own until [`PoolRun::finish`], or until
/// the process ends in any way.
pub struct PoolRun {
    pool: Pool,
    run: RunInfo,
    file: Mutex<RunFile>,
    /// Every record that this run ever used.
    used: Mutex<BTreeSet<String>>,
    /// Receives the run's events, once it is known.
    sink: OnceLock<Sink>,
}

impl PoolRun {
    /// Starts a run.
    ///
    /// # Errors
    /// When the pool cannot be used, or a living run has this id.
    pub fn new(pool: Pool, run: RunInfo) -> Result<Self> {
        let file = Mutex::new(pool.lock()?.start_run(&run.id)?);
        Ok(Self {
            pool,
            run,
            file,
            used: Mutex::default(),
            sink: OnceLock::new(),
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

    /// Leases instances that this run has ensured, all or none, if nobody asked before; fast and never waits.
    /// A caller that waits keeps `ticket` between calls; it is its place in the queue, until dropped.
    ///
    /// # Errors
    /// When the pool cannot be used.
    pub fn try_lease(
        &self,
        request: &LeaseRequest,
        ticket: &mut Option<Ticket>,
    ) -> Result<TryLease> {
        let mut locked = self.pool.lock()?;
        pool::try_lease(&mut locked, &self.file(), request, ticket)
    }

    /// As [`PoolRun::try_lease`], without waiting for the pool; `None`: another has its lock.
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

    /// Marks a ready instance dirty, for this cause: it serves nobody again, and [`PoolRun::ensure`] recycles it.
    ///
    /// # Errors
    /// When the pool cannot be used. A record that is gone, or not ready, is no error.
    pub fn mark_dirty(&self, id: &str, cause: &str) -> Result<()> {
        let mut locked = self.pool.lock()?;
        if locked.state().records.get(id).map(|record| &record.state) == Some(&RecordState::Ready) {
            locked.commit([(id.to_owned(), RecordEvent::MarkDirty(cause.to_owned()))])?;
            failpoint::point("record-dirty");
        }
        Ok(())
    }

    /// Notes how a ready instance is reached now.
    ///
    /// # Errors
    /// When the pool cannot be used, or the instance is not ready.
    pub fn note_reach(&self, id: &str, deployed: Deployed) -> Result<()> {
        let event = RecordEvent::Moved(Box::new(deployed));
        self.pool.lock()?.commit([(id.to_owned(), event)])
    }

    /// Kept instances of this workspace that this run never used: a renamed target's, for instance.
    ///
    /// # Errors
    /// When the pool cannot be used.
    pub fn unused_kept(&self) -> Result<Vec<Record>> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
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
    /// When the pool cannot be read.
    pub(super) fn serving(&self) -> Result<BTreeSet<String>> {
        let state = self.pool.state()?;
        let file = self.file();
        let ready = |id: &&String| {
            let record = state.records.get(*id);
            record.is_some_and(|record| record.state == RecordState::Ready)
        };
        Ok(file.uses().iter().filter(ready).cloned().collect())
    }

    /// Claims records that exist, as they are: nobody deletes them as long as this run lives, and it may lease them.
    ///
    /// # Errors
    /// When the pool cannot be used.
    pub(super) fn claim_existing<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let _locked = self.pool.lock()?;
        ids.into_iter().try_for_each(|id| self.claim(id))
    }

    /// Claims a record for this run. `pool.lock` is held.
    fn claim(&self, id: &str) -> Result<()> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(id.to_owned());
        self.file().add(id)
    }

    fn file(&self) -> MutexGuard<'_, RunFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
