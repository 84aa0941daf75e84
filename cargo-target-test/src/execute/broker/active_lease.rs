//! A lease of a running test: its machines, its clients and the test's reports, until the lease ends.
//!
//! Must not know how machines are provided.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use target_fixtures::wire::Instance;
use tokio::{sync::watch, task::JoinSet};

use super::{
    Core,
    fixtures::{Maker, Up},
    lock,
};
use crate::{
    case::reason::DirtyReason,
    error::{Error, Result},
    provision::{After, Ended, InstanceSet, Lease, LeaseEnd, Lost, Machine, Request, pool::Record},
};

/// A lease of a running test.
pub(in crate::execute) struct ActiveLease {
    /// The mark on everything that the lease starts anywhere.
    pub(in crate::execute) id: String,
    /// Descriptions of the instances, for clients.
    pub(in crate::execute) instances: Vec<Instance>,
    machines: BTreeMap<String, Machine>,
    set: Arc<InstanceSet>,
    /// True if the end of the lease resets or deletes the instances.
    changes: bool,
    /// The process that tears down the test's fixtures.
    pub(super) maker: Maker,
    said: Mutex<Said>,
    lease: Lease,
    /// True once the lease has ended; locked while it ends.
    has_ended: tokio::sync::Mutex<bool>,
    /// The number of requests that are running or were cut off.
    unfinished: AtomicUsize,
    /// True if the test set up a shared fixture on an instance.
    shares: AtomicBool,
    end: watch::Sender<bool>,
    lost: Lost,
}

/// The reports of a test about itself.
#[derive(Default)]
struct Said {
    /// The reason the test skipped itself.
    skipped: Option<String>,
    /// The reason the test failed as expected.
    expected: Option<String>,
    /// Fixtures of this test alone that are not yet torn down.
    fixtures: Vec<Up>,
    /// The part of the test's time that fixtures took.
    fixtures_took: Duration,
    /// The reason the instances must not be reused.
    dirty: Option<String>,
}

impl ActiveLease {
    fn new(lease: Lease, set: Arc<InstanceSet>, changes: bool, maker: Maker) -> Self {
        let machines = lease.machines();
        let named = |machine: &Machine| (machine.name().to_owned(), machine.clone());
        Self {
            id: lease.id().to_owned(),
            instances: machines.iter().map(Machine::describe).collect(),
            machines: machines.iter().map(named).collect(),
            set,
            changes,
            maker,
            said: Mutex::default(),
            unfinished: AtomicUsize::new(0),
            shares: AtomicBool::new(false),
            end: watch::Sender::new(false),
            lost: lease.lost(),
            has_ended: tokio::sync::Mutex::new(false),
            lease,
        }
    }

    /// Returns the lease.
    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Returns the machines of the lease.
    pub(in crate::execute) fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.machines.values()
    }

    /// Returns a machine of the lease by name.
    pub(super) fn at(&self, instance: &str) -> Option<&Machine> {
        self.machines.get(instance)
    }

    /// Returns the set of the instances.
    pub(super) fn set(&self) -> &Arc<InstanceSet> {
        &self.set
    }

    pub(super) fn skip(&self, reason: String) {
        lock(&self.said).skipped = Some(reason);
    }

    pub(in crate::execute) fn skipped(&self) -> Option<String> {
        lock(&self.said).skipped.clone()
    }

    pub(super) fn expect_fail(&self, reason: String) {
        lock(&self.said).expected = Some(reason);
    }

    /// Returns the reason the test failed as expected, and the part of its time that fixtures took.
    pub(in crate::execute) fn said(&self) -> (Option<String>, Duration) {
        let said = lock(&self.said);
        (said.expected.clone(), said.fixtures_took)
    }

    pub(super) fn fixture_up(&self, up: Up) {
        lock(&self.said).fixtures.push(up);
    }

    /// Forgets a fixture of this test, and returns the fixture's instance.
    pub(super) fn fixture_down(&self, name: &str, error: Option<String>) -> Option<String> {
        let mut said = lock(&self.said);
        said.dirty = said.dirty.take().or(error);
        let found = said.fixtures.iter().position(|up| up.name == name)?;
        said.fixtures.remove(found).instance
    }

    pub(super) fn fixtures_took(&self, millis: u64) {
        lock(&self.said).fixtures_took = Duration::from_millis(millis);
    }

    /// Marks the instances as dirty: they must not be reused.
    pub(super) fn mark_dirty(&self, cause: String) {
        lock(&self.said).dirty.get_or_insert(cause);
    }

    /// Records that the test set up a shared fixture on an instance.
    pub(super) fn shares(&self) {
        self.shares.store(true, Ordering::Relaxed);
    }

    /// Returns true if the end of the lease kills remaining processes.
    fn sweeps(&self, end: LeaseEnd) -> bool {
        end == LeaseEnd::Abandoned || self.unfinished.load(Ordering::Relaxed) > 0
    }

    /// Counts a request. A request that never reaches [`ActiveLease::finish`] may have left processes running.
    pub(super) fn begin(&self) {
        self.unfinished.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the end of a request.
    pub(super) fn finish(&self) {
        self.unfinished.fetch_sub(1, Ordering::Relaxed);
    }

    /// Completes when the lease has ended.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let mut end = self.end.subscribe();
        async move {
            let _ = end.wait_for(|ended| *ended).await;
        }
    }

    /// Completes with the cause when an instance is lost; otherwise never.
    pub(in crate::execute) fn lost(&self) -> impl Future<Output = Error> + use<> {
        self.lost.wait()
    }

    /// Waits for `what`, or until an instance is lost.
    pub(super) async fn unless_lost<T>(&self, what: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            lost = self.lost() => Err(lost),
            done = what => done,
        }
    }

    /// Returns the reason an instance is lost, if any: the known one, or the one of an instance that does not answer
    /// within `limit`.
    pub(in crate::execute) async fn find_loss(&self, limit: Duration) -> Option<String> {
        if let Some(cause) = self.lost.cause() {
            return Some(cause);
        }
        let mut answers = JoinSet::new();
        for machine in self.machines() {
            let machine = machine.clone();
            answers.spawn(async move { machine.confirm(limit).await });
        }
        let answers = answers.join_all().await;
        let lost = answers.into_iter().find_map(Result::err);
        lost.map(|error| error.chain())
    }

    /// Stops the clients and ends the lease; `None` if the lease has already ended.
    async fn end(&self, end: LeaseEnd) -> Option<Ended> {
        self.end.send_replace(true);
        let mut has_ended = self.has_ended.lock().await;
        if std::mem::replace(&mut *has_ended, true) {
            return None;
        }
        if self.unfinished.load(Ordering::Relaxed) > 0 {
            self.lease.leave_unfinished();
        }
        if let Some(cause) = lock(&self.said).dirty.clone() {
            self.lease.mark_dirty(DirtyReason::Fixture(cause));
        }
        Some(self.lease.share().end(end).await)
    }
}

/// The leases that tests can use, by id.
#[derive(Default)]
pub struct ActiveLeases(Mutex<HashMap<String, Arc<ActiveLease>>>);

impl ActiveLeases {
    /// Returns a lease by id, unless it has ended.
    pub(in crate::execute) fn get(&self, id: &str) -> Option<Arc<ActiveLease>> {
        lock(&self.0).get(id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<ActiveLease>> {
        lock(&self.0).values().cloned().collect()
    }

    fn insert(&self, active: &Arc<ActiveLease>) {
        lock(&self.0).insert(active.id.clone(), Arc::clone(active));
    }

    fn remove(&self, active: &ActiveLease) {
        lock(&self.0).remove(&active.id);
    }
}

impl Core {
    /// Leases instances of one set for a test; `maker` tears down the test's fixtures.
    pub(super) async fn lease(
        self: &Arc<Self>,
        set: &Arc<InstanceSet>,
        request: Request,
        maker: Maker,
    ) -> Result<Arc<ActiveLease>> {
        let changes = request.after != After::Reuse;
        let lease = self.leases_from.acquire(request).await?;
        let active = ActiveLease::new(lease, Arc::clone(set), changes, maker);
        let active = Arc::new(active);
        self.leases.insert(&active);
        Ok(active)
    }

    /// Tears down a test's remaining fixtures and ends its lease.
    ///
    /// Returns the reason an instance was lost, if any.
    pub(super) async fn end_lease(
        self: &Arc<Self>,
        active: &Arc<ActiveLease>,
        end: LeaseEnd,
    ) -> Option<String> {
        self.tear_down_for(active, end).await;
        self.free(active, end).await
    }

    /// Ends a lease without remaining fixtures.
    pub(super) async fn free(
        self: &Arc<Self>,
        active: &Arc<ActiveLease>,
        end: LeaseEnd,
    ) -> Option<String> {
        let ended = active.end(end).await?;
        for record in &ended.dirty {
            self.forget_fixtures_on(record);
        }
        self.leases.remove(active);
        self.changed.notify_waiters();
        self.let_go(&active.set);
        ended.lost
    }

    /// Tears down the test's remaining fixtures, then the shared fixtures on instances that will be reset or deleted,
    /// in parallel. The lease is still active.
    async fn tear_down_for(self: &Arc<Self>, active: &Arc<ActiveLease>, end: LeaseEnd) {
        let is_lost = active.lost.cause().is_some();
        while let Some(up) = { lock(&active.said).fixtures.pop() } {
            if is_lost {
                continue;
            }
            if let Some(cause) = self.tear_down(&up, Some(active)).await {
                active.mark_dirty(cause);
            }
        }
        let changes = end == LeaseEnd::WantFresh
            || active.changes
            || lock(&active.said).dirty.is_some()
            // The sweep at the end would kill the processes of shared fixtures.
            || active.shares.load(Ordering::Relaxed) && active.sweeps(end);
        let mut ends = JoinSet::new();
        for record in active.machines().filter_map(Machine::record) {
            if is_lost {
                self.forget_fixtures_on(record);
            } else if changes {
                let (core, active, record) = (Arc::clone(self), Arc::clone(active), record.clone());
                ends.spawn(async move { core.end_fixtures_on(&active, &record).await });
            }
        }
        ends.join_all().await;
    }

    /// Deletes instances that no remaining case needs in the background, after tearing down their shared fixtures.
    pub(super) fn let_go(self: &Arc<Self>, set: &Arc<InstanceSet>) {
        if !self.names.releases() {
            return;
        }
        for surplus in self.provisioner.take_surplus(set) {
            let core = Arc::clone(self);
            tokio::spawn(async move {
                let record: &Record = surplus.record();
                if core.has_fixtures_on(record) {
                    core.end_fixtures_of(surplus.set(), record).await;
                }
                surplus.release().await;
            });
        }
    }
}
