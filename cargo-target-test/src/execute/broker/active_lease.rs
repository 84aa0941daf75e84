//! A lease that a test works under: the machines, who works with them, and what the test says of itself.
//!
//! Owns the life of one lease inside the broker. Must not know why it was given, nor how machines are provided.

use std::{
    collections::BTreeMap,
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
    provision::{
        After, Ended, InstanceSet, Lease, LeaseEnd, Lost, Machine, Provisioner, Request,
        pool::Record,
    },
};

/// A lease that a test works under.
pub(super) struct ActiveLease {
    /// The mark on everything that the lease starts anywhere.
    pub(super) id: String,
    /// The description of its instances that clients get.
    pub(super) instances: Vec<Instance>,
    machines: BTreeMap<String, Machine>,
    set: Arc<InstanceSet>,
    /// True if its instances will not be as they are when it has ended.
    changes: bool,
    /// The process that tears down what its test sets up.
    pub(super) maker: Maker,
    said: Mutex<Said>,
    /// Whoever ends it has this until it has ended.
    lease: tokio::sync::Mutex<Option<Lease>>,
    /// Requests under way, and those that were cut off.
    unfinished: AtomicUsize,
    /// True if its test set up a fixture that others share on an instance.
    shares: AtomicBool,
    end: watch::Sender<bool>,
    lost: Lost,
}

/// The statements of a test about itself.
#[derive(Default)]
struct Said {
    /// The reason it skipped itself.
    skipped: Option<String>,
    /// The reason it failed as expected.
    expected: Option<String>,
    /// Fixtures that it has set up for itself alone and not torn down.
    fixtures: Vec<Up>,
    /// The part of its time that fixtures took.
    fixtures_took: Duration,
    /// The reason its instances must not serve others.
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
            lease: tokio::sync::Mutex::new(Some(lease)),
        }
    }

    /// Its machines.
    pub(super) fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.machines.values()
    }

    /// One of its machines, by name.
    pub(super) fn at(&self, instance: &str) -> Option<&Machine> {
        self.machines.get(instance)
    }

    /// The set that its instances are from.
    pub(super) fn set(&self) -> &Arc<InstanceSet> {
        &self.set
    }

    pub(super) fn skip(&self, reason: String) {
        lock(&self.said).skipped = Some(reason);
    }

    pub(super) fn skipped(&self) -> Option<String> {
        lock(&self.said).skipped.clone()
    }

    pub(super) fn expect_fail(&self, reason: String) {
        lock(&self.said).expected = Some(reason);
    }

    /// The reason its test failed as expected, and the part of its time that fixtures took.
    pub(super) fn said(&self) -> (Option<String>, Duration) {
        let said = lock(&self.said);
        (said.expected.clone(), said.fixtures_took)
    }

    pub(super) fn fixture_up(&self, up: Up) {
        lock(&self.said).fixtures.push(up);
    }

    pub(super) fn fixture_down(&self, name: &str, error: Option<String>) {
        let mut said = lock(&self.said);
        said.fixtures.retain(|up| up.name != name);
        said.dirty = said.dirty.take().or(error);
    }

    pub(super) fn fixtures_took(&self, millis: u64) {
        lock(&self.said).fixtures_took = Duration::from_millis(millis);
    }

    /// Its instances must not serve others, for this cause.
    pub(super) fn mark_dirty(&self, cause: String) {
        lock(&self.said).dirty.get_or_insert(cause);
    }

    /// Notes that its test set up a fixture that others share on an instance.
    pub(super) fn shares(&self) {
        self.shares.store(true, Ordering::Relaxed);
    }

    /// True if the end of the lease kills what was left running.
    fn sweeps(&self, end: LeaseEnd) -> bool {
        end == LeaseEnd::Abandoned || self.unfinished.load(Ordering::Relaxed) > 0
    }

    /// A request is under way; one that never comes to [`ActiveLease::finish`] may have left something running.
    pub(super) fn begin(&self) {
        self.unfinished.fetch_add(1, Ordering::Relaxed);
    }

    /// A request came to its end.
    pub(super) fn finish(&self) {
        self.unfinished.fetch_sub(1, Ordering::Relaxed);
    }

    /// Done when the lease has ended.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let mut end = self.end.subscribe();
        async move {
            let _ = end.wait_for(|ended| *ended).await;
        }
    }

    /// Done, with the cause, when an instance is lost; never otherwise.
    pub(super) fn lost(&self) -> impl Future<Output = Error> + use<> {
        self.lost.wait()
    }

    /// Waits for `what`, unless an instance is lost before.
    pub(super) async fn unless_lost<T>(&self, what: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            lost = self.lost() => Err(lost),
            done = what => done,
        }
    }

    /// Stops its clients and ends the lease; `None` if that has been done.
    async fn end(&self, end: LeaseEnd) -> Option<Ended> {
        self.end.send_replace(true);
        let mut lease = self.lease.lock().await;
        let mut taken = lease.take()?;
        if self.unfinished.load(Ordering::Relaxed) > 0 {
            taken.leave_unfinished();
        }
        if let Some(cause) = lock(&self.said).dirty.clone() {
            taken.mark_dirty(DirtyReason::Fixture(cause));
        }
        let ended = taken.end(end).await;
        drop(lease);
        Some(ended)
    }
}

impl Core {
    /// Leases what is asked for from one set, for a test of which `maker` can tear down what it sets up.
    pub(super) async fn lease(
        self: &Arc<Self>,
        set: &Arc<InstanceSet>,
        request: Request,
        maker: Maker,
    ) -> Result<Arc<ActiveLease>> {
        let changes = request.after != After::Reuse;
        let lease = self.provisioner.acquire(request).await?;
        let active = ActiveLease::new(lease, Arc::clone(set), changes, maker);
        let active = Arc::new(active);
        lock(&self.leases).insert(active.id.clone(), Arc::clone(&active));
        Ok(active)
    }

    /// Ends a test's lease, and before that what it set up and did not tear down.
    ///
    /// Returns why an instance was lost meanwhile.
    pub(super) async fn end_lease(
        self: &Arc<Self>,
        active: &Arc<ActiveLease>,
        end: LeaseEnd,
    ) -> Option<String> {
        self.tear_down_for(active, end).await;
        self.free(active, end).await
    }

    /// Ends a lease under which nothing is left to be torn down.
    pub(super) async fn free(
        self: &Arc<Self>,
        active: &Arc<ActiveLease>,
        end: LeaseEnd,
    ) -> Option<String> {
        let ended = active.end(end).await?;
        for record in &ended.dirty {
            self.forget_fixtures_on(record);
        }
        lock(&self.leases).remove(&active.id);
        self.changed.notify_waiters();
        self.let_go(&active.set);
        ended.lost
    }

    /// Tears down what a test did not, then, on all its instances at once, what others share where it will not be as it
    /// is; while the lease still serves.
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

    /// Deletes instances that no remaining case needs, beside whatever runs, and before that what tests share on them.
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
