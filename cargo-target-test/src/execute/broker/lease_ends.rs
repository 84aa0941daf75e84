//! The end of leases and of fixtures: tear-downs come first, then the lease ends, then instances that no case needs go.
//!
//! A tear-down needs a lease on the fixture's instance: the lease of the test or a separate one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{
    Server,
    active_lease::ActiveLease,
    place::BrokerPlace,
    tear_down::{Maker, Up},
};
use crate::{
    plan::Needs,
    provision::{
        IfMissing, InstanceSet, LeaseEnd, Machine, Request, Requester, Want, pool::Record,
    },
    run_event::RunEventKind,
    secret::redacted,
    ui,
};

/// The time limit of the wait for a fixture's instance at the end of a run.
const PATIENCE: Duration = Duration::from_secs(30);

impl Server {
    /// Tears down a test's remaining fixtures and ends its lease.
    pub(super) async fn end(self: &Arc<Self>, held: &Arc<ActiveLease>, end: LeaseEnd) {
        self.tear_down_for(held, end).await;
        self.free(held, end).await;
    }

    /// Ends all leases of tests, then tears down the shared fixtures of all instances; in parallel, because tear-downs
    /// may be slow.
    pub(super) async fn end_on_instances(self: &Arc<Self>) {
        let mut ends = JoinSet::new();
        for held in self.setup.leases.of_tests() {
            let ours = Arc::clone(self);
            ends.spawn(async move { ours.end(&held, LeaseEnd::Abandoned).await });
        }
        ends.join_all().await;
        let mut ends = JoinSet::new();
        for (record, set) in self.fixtures.instances() {
            let ours = Arc::clone(self);
            ends.spawn(async move { ours.tear_down_beside(&set, &record).await });
        }
        ends.join_all().await;
    }

    /// Tears down the fixtures of the run.
    pub(super) async fn end_of_run(&self) {
        for up in self.fixtures.take_of_run() {
            self.tear_down(&up, None).await;
        }
    }

    /// Deletes instances that no remaining case needs in the background, after tearing down their shared fixtures.
    pub(super) fn let_go(self: &Arc<Self>, set: &Arc<InstanceSet>) {
        if !self.setup.table.releases {
            return;
        }
        for surplus in self.setup.pool.take_surplus(set) {
            let ours = Arc::clone(self);
            tokio::spawn(async move {
                let record: &Record = surplus.record();
                if ours.fixtures.is_any_on(record) {
                    ours.tear_down_beside(surplus.set(), record).await;
                }
                surplus.release().await;
            });
        }
    }

    /// Ends a lease without remaining fixtures.
    async fn free(self: &Arc<Self>, held: &ActiveLease, end: LeaseEnd) {
        let Some(dirty) = self.end_lease(held, end).await else {
            return;
        };
        dirty.iter().for_each(|record| self.forget_on(record));
        if let Some((_, granted)) = held.attempt.get() {
            self.setup.sink.emit(RunEventKind::LeaseEnded {
                lease: held.id.clone(),
                instances: held.names(),
                held: granted.elapsed(),
            });
        }
        self.let_go(&held.set);
    }

    /// Tears down the test's remaining fixtures, then the shared fixtures on instances that will be reset or deleted,
    /// in parallel. The lease is still active.
    async fn tear_down_for(self: &Arc<Self>, held: &Arc<ActiveLease>, end: LeaseEnd) {
        let is_lost = held.is_lost();
        loop {
            // Its own statement: the reports are not locked during a tear-down.
            let last = held.said().fixtures.pop();
            let Some(up) = last else { break };
            if is_lost {
                continue;
            }
            if let Some(cause) = self.tear_down(&up, Some(held)).await {
                held.mark_dirty(cause);
            }
        }
        let changes = held.changes_instances(end);
        let mut ends = JoinSet::new();
        for record in held.machines().filter_map(Machine::record) {
            if is_lost {
                self.forget_on(record);
            } else if changes {
                let (ours, held, record) = (Arc::clone(self), Arc::clone(held), record.clone());
                ends.spawn(async move { ours.tear_down_on(&held, &record).await });
            }
        }
        ends.join_all().await;
    }

    /// Tears down the shared fixtures on an instance under a lease on the instance. Returns the first error, if any.
    async fn tear_down_on(&self, held: &ActiveLease, record: &Record) -> Option<String> {
        let mut wrong = None;
        for up in self.fixtures.take_on(record) {
            wrong = wrong.or(self.tear_down(&up, Some(held)).await);
        }
        wrong
    }

    /// Leases an unused instance and tears down its shared fixtures.
    async fn tear_down_beside(self: &Arc<Self>, set: &Arc<InstanceSet>, record: &Record) {
        let name = record.unit_name();
        let want = Want {
            instance: Some(name.to_owned()),
            ..set.want(1, &Needs::default())
        };
        let request = Request {
            wants: vec![want],
            requester: Requester::this_process(&format!("tear-down on {name}")),
            // Works after the end of a run, and deploys nothing.
            if_missing: IfMissing::Refuse,
            ..Request::default()
        };
        let leased = self.acquire(set, request, Maker::default());
        match tokio::time::timeout(PATIENCE, leased).await {
            Ok(Ok(held)) => {
                if let Some(cause) = self.tear_down_on(&held, record).await {
                    held.mark_dirty(cause);
                }
                self.free(&held, LeaseEnd::Done).await;
            }
            Ok(Err(error)) => {
                let why = error.chain();
                self.warn(format!("failed to tear down fixtures on {name}: {why}"));
                self.fixtures.take_on(record);
            }
            Err(_) => self.warn(format!(
                "failed to tear down fixtures on {name}: the instance is leased"
            )),
        }
    }

    /// Forgets the fixtures of an instance that is gone, with a warning.
    fn forget_on(&self, record: &Record) {
        for up in self.fixtures.take_on(record) {
            self.warn(format!(
                "fixture `{}` was lost with {}",
                up.name,
                record.name()
            ));
        }
    }

    /// Tears a fixture down. Returns the first line of the error, if any.
    async fn tear_down(&self, up: &Up, held: Option<&ActiveLease>) -> Option<String> {
        let (binary, full_name) = (&up.maker.binary, &up.maker.full_name);
        let variables = match held {
            Some(held) if up.maker.placed.is_none() => {
                self.setup.place.variables(binary, full_name, held)
            }
            _ => BrokerPlace::variables_of_test(binary, full_name),
        };
        let started = Instant::now();
        let why = up.tear_down(variables, held).await.err();
        let cause = why.map(|why| format!("failed to tear down fixture `{}`: {why}", up.name));
        let (fixture, took) = ((&*up.name, up.instance.as_deref()), started.elapsed());
        self.fixtures.emit(true, fixture, took, cause.as_deref());
        let cause = cause?;
        let first = cause.lines().next().unwrap_or_default().to_owned();
        self.warn(cause);
        Some(first)
    }

    fn warn(&self, message: String) {
        ui::warn(&message);
        let message = redacted(&message).into_owned();
        self.setup.sink.emit(RunEventKind::Warning { message });
    }
}
