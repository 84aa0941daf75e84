//! A lease of a running test: its machines, its clients and the test's reports, until the lease ends.
//!
//! Must not know how machines are provided.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use target_fixtures::wire::{EarlyEnd, Failure, FaultKind, Instance, OrchestrationPlan};
use tokio::{sync::watch, task::JoinSet};

use super::{
    connection::request_failure,
    tear_down::{Maker, Up},
};
use crate::{
    case::reason::DirtyReason,
    error::{Error, Result},
    execute::{on_target::PlacedBinary, programs::CasePrograms},
    provision::{Ended, InstanceSet, Lease, LeaseEnd, Lost, Machine},
    run_event::Attempt,
    sync::lock,
};

/// A lease of a running test.
pub(in crate::execute) struct ActiveLease {
    /// The mark on everything that the lease starts anywhere.
    pub(in crate::execute) id: String,
    /// Descriptions of the instances, for clients.
    pub(in crate::execute) instances: Vec<Instance>,
    machines: BTreeMap<String, Machine>,
    /// The set of the instances.
    pub(in crate::execute) set: Arc<InstanceSet>,
    /// True if the end of the lease resets or deletes the instances.
    changes: bool,
    /// The process that tears down the test's fixtures.
    pub(super) maker: Maker,
    /// The test binary on the machine of the test; unset if the test runs on this host.
    placed: OnceLock<Arc<PlacedBinary>>,
    /// The attempt that has the lease, and the time of the grant; unset without a runner.
    pub(super) attempt: OnceLock<(Attempt, Instant)>,
    programs: OnceLock<CasePrograms>,
    /// The orchestration that the test runs, if it runs one.
    orchestration: OnceLock<Arc<OrchestrationPlan>>,
    /// The reason that the test's orchestration must end early, if it must.
    stop: watch::Sender<Option<EarlyEnd>>,
    /// True once the fixtures of the test's orchestration are set up.
    set_up: watch::Sender<bool>,
    /// The folder for the artifacts of the attempt; unset without a runner.
    artifacts: OnceLock<PathBuf>,
    said: Mutex<TestReports>,
    pub(super) lease: Lease,
    /// True once the lease has ended; locked while it ends.
    has_ended: tokio::sync::Mutex<bool>,
    /// The number of requests that are running or were cut off.
    unfinished: AtomicUsize,
    /// True if the last command of a client is known to have left no process.
    left_nothing: AtomicBool,
    /// True if the test set up a shared fixture on an instance.
    shares: AtomicBool,
    end: watch::Sender<bool>,
    lost: Lost,
}

/// The reports of a test about itself.
#[derive(Default)]
pub(in crate::execute) struct TestReports {
    /// The reason the test skipped itself.
    pub(in crate::execute) skipped: Option<String>,
    /// The reason the test failed as expected.
    pub(in crate::execute) expected: Option<String>,
    /// The message of the test's failure, and the loss of an instance or connection that the message reports.
    pub(in crate::execute) failed: Option<(String, Option<String>)>,
    /// The name of the orchestration that has begun and not ended.
    pub(in crate::execute) orchestration: Option<String>,
    /// Fixtures of this test alone that are not yet torn down.
    pub(super) fixtures: Vec<Up>,
    pub(in crate::execute) fixtures_took: FixtureTimes,
    /// The files with captured frames, each with its network.
    pub(in crate::execute) captures: Vec<(String, PathBuf)>,
    /// The reason the instances must not be reused.
    dirty: Option<String>,
}

/// The part of a test's time that its fixtures took.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::execute) struct FixtureTimes {
    pub(in crate::execute) all: Duration,
    /// The part of `all` that tear-downs took.
    pub(in crate::execute) tear_down: Duration,
}

/// Describes a machine of a set, with the faults that its platform or its target allows.
fn described(machine: &Machine, set: &InstanceSet) -> Instance {
    let of_target = set.around().map_or(&[][..], |around| &around.faults);
    let mut faults = [machine.own_faults(), of_target].concat();
    faults.sort_unstable();
    faults.dedup();
    Instance {
        faults,
        ..machine.describe()
    }
}

impl ActiveLease {
    pub(super) fn new(lease: Lease, set: Arc<InstanceSet>, changes: bool, maker: Maker) -> Self {
        let machines = lease.machines();
        let named = |machine: &Machine| (machine.name().to_owned(), machine.clone());
        Self {
            id: lease.id().to_owned(),
            instances: machines
                .iter()
                .map(|machine| described(machine, &set))
                .collect(),
            machines: machines.iter().map(named).collect(),
            set,
            changes,
            maker,
            placed: OnceLock::new(),
            attempt: OnceLock::new(),
            programs: OnceLock::new(),
            orchestration: OnceLock::new(),
            stop: watch::Sender::new(None),
            set_up: watch::Sender::new(false),
            artifacts: OnceLock::new(),
            said: Mutex::default(),
            unfinished: AtomicUsize::new(0),
            left_nothing: AtomicBool::new(false),
            shares: AtomicBool::new(false),
            end: watch::Sender::new(false),
            lost: lease.lost(),
            has_ended: tokio::sync::Mutex::new(false),
            lease,
        }
    }

    /// Records the attempt that has the lease from now on.
    pub(super) fn granted_to(&self, attempt: Attempt) {
        let _ = self.attempt.set((attempt, Instant::now()));
    }

    /// Records that the test runs on a machine of the lease.
    pub(in crate::execute) fn runs_by(&self, placed: PlacedBinary) {
        let _ = self.placed.set(Arc::new(placed));
    }

    /// Returns the process that tears down the test's fixtures, on the machine of the test.
    pub(super) fn maker(&self) -> Maker {
        Maker {
            placed: self.placed.get().cloned(),
            ..self.maker.clone()
        }
    }

    /// Sets the programs that the test can start, and builds them for the instances.
    pub(super) async fn build(&self, programs: &CasePrograms) {
        let _ = self.programs.set(programs.clone());
        programs.build_for(self.machines()).await;
    }

    /// Sets the orchestration that the test runs.
    pub(super) fn orchestrates(&self, plan: &Arc<OrchestrationPlan>) {
        let _ = self.orchestration.set(Arc::clone(plan));
    }

    /// Returns the orchestration that the test runs, if it runs one.
    pub(super) fn orchestration(&self) -> Option<&OrchestrationPlan> {
        self.orchestration.get().map(Arc::as_ref)
    }

    /// Tells the test to end its orchestration.
    pub(super) fn stop(&self, reason: EarlyEnd) {
        self.stop.send_replace(Some(reason));
    }

    /// Completes when the test's orchestration must end, with the reason.
    pub(super) fn stopped(&self) -> impl Future<Output = Option<EarlyEnd>> + use<> {
        let mut stop = self.stop.subscribe();
        async move {
            let told = stop.wait_for(Option::is_some).await;
            told.ok().and_then(|reason| *reason)
        }
    }

    /// Records that the fixtures of the test's orchestration are set up.
    pub(super) fn clock_starts(&self) {
        self.set_up.send_replace(true);
    }

    /// True if the fixtures of the test's orchestration are set up.
    pub(in crate::execute) fn has_set_up(&self) -> bool {
        *self.set_up.borrow()
    }

    /// Completes when the fixtures of the test's orchestration are set up.
    pub(super) fn is_set_up(&self) -> impl Future<Output = ()> + use<> {
        let mut set_up = self.set_up.subscribe();
        async move {
            let _ = set_up.wait_for(|is_set_up| *is_set_up).await;
        }
    }

    /// Returns the programs that the test can start.
    pub(super) fn programs(&self) -> CasePrograms {
        self.programs.get().cloned().unwrap_or_default()
    }

    /// Sets the folder for the artifacts of the attempt.
    pub(in crate::execute) fn collects_in(&self, folder: PathBuf) {
        let _ = self.artifacts.set(folder);
    }

    /// Returns the folder for the artifacts of the attempt; a temporary one without a runner. It may not exist.
    pub(super) fn artifacts(&self) -> PathBuf {
        let temporary = || std::env::temp_dir().join(format!("target-test-{}", self.id));
        self.artifacts.get().cloned().unwrap_or_else(temporary)
    }

    /// Returns the path at which a machine has a path of the test.
    pub(super) fn path_on(&self, machine: &str, path: &str) -> String {
        let placed = self.placed.get();
        placed.map_or_else(|| path.to_owned(), |placed| placed.path_on(machine, path))
    }

    /// Records a file with the frames of a network.
    pub(super) fn captured(&self, network: String, file: PathBuf) {
        self.said().captures.push((network, file));
    }

    /// Returns the names of the instances.
    pub(super) fn names(&self) -> Vec<String> {
        let instances = self.instances.iter();
        instances.map(|instance| instance.name.clone()).collect()
    }

    /// Returns the machines of the lease.
    pub(in crate::execute) fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.machines.values()
    }

    /// Returns a machine of the lease by name.
    pub(super) fn at(&self, instance: &str) -> Result<&Machine, Failure> {
        self.machines.get(instance).ok_or_else(|| {
            let message = format!("use `{instance}`: it is not an instance of this lease");
            request_failure(message)
        })
    }

    /// True if the test may cause such a fault on the instance.
    pub(super) fn allows(&self, instance: &str, fault: FaultKind) -> bool {
        let mut instances = self.instances.iter();
        instances.any(|one| one.name == instance && one.faults.contains(&fault))
    }

    /// Ends the faults that last. An instance whose faults cannot be ended must not be reused.
    pub(in crate::execute) async fn end_faults(&self) {
        for machine in self.machines() {
            if let Err(error) = machine.end_faults().await {
                self.mark_dirty(error.chain());
            }
        }
    }

    /// Returns the reports of the test.
    pub(in crate::execute) fn said(&self) -> MutexGuard<'_, TestReports> {
        lock(&self.said)
    }

    /// Records a fixture of this test, set up on an instance of the lease.
    pub(super) fn fixture_up(&self, name: String, instance: String, state: Value) {
        let (instance, maker) = (Some(instance), self.maker());
        self.said().fixtures.push(Up {
            name,
            state,
            instance,
            maker,
        });
    }

    /// Forgets a fixture of this test, and returns the fixture's instance.
    pub(super) fn fixture_down(&self, name: &str, error: Option<String>) -> Option<String> {
        let mut said = self.said();
        said.dirty = said.dirty.take().or(error);
        let found = said.fixtures.iter().position(|up| up.name == name)?;
        said.fixtures.remove(found).instance
    }

    /// Marks the instances as dirty: they must not be reused.
    pub(super) fn mark_dirty(&self, cause: String) {
        self.said().dirty.get_or_insert(cause);
    }

    /// Records that the test set up a shared fixture on an instance.
    pub(super) fn shares(&self) {
        self.shares.store(true, Ordering::Relaxed);
    }

    /// Returns true if the test set up a shared fixture on an instance.
    pub(in crate::execute) fn has_shared(&self) -> bool {
        self.shares.load(Ordering::Relaxed)
    }

    /// Returns true if the end of the lease resets or deletes the instances, or kills the processes of shared fixtures.
    pub(super) fn changes_instances(&self, end: LeaseEnd) -> bool {
        end == LeaseEnd::WantFresh
            || self.changes
            || self.said().dirty.is_some()
            || self.has_shared() && self.sweeps(end)
    }

    /// Returns true if the end of the lease kills remaining processes.
    fn sweeps(&self, end: LeaseEnd) -> bool {
        end == LeaseEnd::Abandoned || self.unfinished.load(Ordering::Relaxed) > 0
    }

    /// Counts a request. A request that never reaches [`ActiveLease::finish`] may have left processes running.
    pub(in crate::execute) fn begin(&self) {
        self.unfinished.fetch_add(1, Ordering::Relaxed);
    }

    /// Records if a command is known to have left no process.
    pub(super) fn left_nothing(&self, nothing: bool) {
        self.left_nothing.store(nothing, Ordering::Relaxed);
    }

    /// True if the last command of a client is known to have left no process.
    pub(in crate::execute) fn has_left_nothing(&self) -> bool {
        self.left_nothing.load(Ordering::Relaxed)
    }

    /// Counts the end of a request.
    pub(in crate::execute) fn finish(&self) {
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
        let (lost, forgives) = (self.lost.wait(), self.set.forgives_crashes());
        async move {
            let error = lost.await;
            match forgives {
                true => Error::infra(error.to_string()),
                false => error,
            }
        }
    }

    /// Returns true if an instance is lost.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.loss().is_some()
    }

    /// Waits for `what`, or until an instance is lost.
    pub(super) async fn unless_lost<T>(&self, what: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            lost = self.lost() => Err(lost),
            done = what => done,
        }
    }

    /// Returns the loss of an instance, if any: the known one, or the one of an instance that does not answer within
    /// `limit`.
    pub(in crate::execute) async fn find_loss(&self, limit: Duration) -> Option<Error> {
        if let Some(loss) = self.lost.loss() {
            return Some(self.counted(loss));
        }
        let mut answers = JoinSet::new();
        // A machine that the test crashes is not the test's finding.
        for machine in self.machines().filter(|one| !one.expects_crash()) {
            let machine = machine.clone();
            answers.spawn(async move { machine.confirm(limit).await });
        }
        let answers = answers.join_all().await;
        let lost = answers.into_iter().filter_map(Result::err);
        let lost = lost.max_by_key(Error::is_crash);
        lost.map(|error| self.counted(error))
    }

    /// Returns the crash of an instance under a test that passed, if any: a known one, or that of an instance whose
    /// connection was lost or failed.
    pub(in crate::execute) async fn find_crash(&self, limit: Duration) -> Option<Error> {
        let may_have_rebooted = |machine: &Machine| machine.connection().may_have_rebooted();
        let found = match self.lost.loss() {
            None if self.machines().any(may_have_rebooted) => self.find_loss(limit).await,
            known => known.map(|loss| self.counted(loss)),
        };
        found.filter(Error::is_crash)
    }

    /// Returns a loss as the target counts it.
    fn counted(&self, loss: Error) -> Error {
        let crashed = loss.is_crash() && !self.set.forgives_crashes();
        loss.with_crash(crashed)
    }

    /// Stops the clients and ends the lease; `None` if the lease has already ended.
    pub(super) async fn end(&self, end: LeaseEnd) -> Option<Ended> {
        self.end.send_replace(true);
        self.end_faults().await;
        let mut has_ended = self.has_ended.lock().await;
        if std::mem::replace(&mut *has_ended, true) {
            return None;
        }
        if self.unfinished.load(Ordering::Relaxed) > 0 {
            self.lease.leave_unfinished();
        }
        if let Some(cause) = self.said().dirty.clone() {
            self.lease.mark_dirty(DirtyReason::Fixture(cause));
        }
        Some(self.lease.share().end(end).await)
    }
}
