//! The instances of one target in one run: requested any number of times, deployed once, deleted when no case needs
//! them.
//!
//! Drives [`state`], which decides. The pool is the record of instances; this module only saves questions to the pool.

mod acquire;
mod backlog;
mod context;
mod ensure_ready;
mod restore;
mod state;
mod surplus;
mod usage;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use self::state::{Asked, InstancesState, Shortage, Slot};
pub(super) use self::{
    acquire::{Source, Waits},
    context::{Busy, Context, LeasedRecords},
};
pub use self::{backlog::Need, state::ReadyInstance, surplus::Surplus, usage::Used};
use super::{Want, Wanted};
use crate::{
    case::verdict::Verdict,
    error::{Error, Result},
    plan::Needs,
    playbook::{AroundTests, CountsAs},
    sync,
};

/// The instances of one target.
pub struct InstanceSet {
    /// The instances to request from the pool, by index. Last come spares, and existing machines that may replace an
    /// unavailable one.
    pub wanted: Vec<Wanted>,
    /// The number of instances that serve at once.
    pub at_once: usize,
    /// The name of the only suitable instance, if any.
    pub instance: Option<String>,
    /// The text in the brackets of the target's case names.
    pub label: String,
    /// The target's `cost`.
    pub cost: f64,
    state: Mutex<InstancesState>,
}

impl InstanceSet {
    /// A set without requests. The last `spares` of `wanted` are used only if the others do not suffice.
    pub fn new(wanted: Vec<Wanted>, spares: usize, label: String, cost: f64) -> Self {
        let at_once = wanted.len().saturating_sub(spares);
        let target = wanted.first().map_or("", |wanted| &wanted.target);
        Self {
            state: Mutex::new(InstancesState::new(target, wanted.len(), at_once)),
            at_once,
            instance: None,
            wanted,
            label,
            cost,
        }
    }

    /// True if the instances are environments of several machines.
    pub(super) fn is_environment(&self) -> bool {
        let first = self.wanted.first();
        first.is_some_and(|wanted| !wanted.roles.is_empty())
    }

    /// The target's name.
    pub fn target(&self) -> &str {
        self.wanted.first().map_or("", |wanted| &wanted.target)
    }

    /// True if a crash of an instance under a test counts as infra: `on-crash`.
    pub(crate) fn forgives_crashes(&self) -> bool {
        let first = self.wanted.first();
        first.is_some_and(|wanted| wanted.lifecycle.on_crash == CountsAs::Infra)
    }

    /// The actions around each test on the instances.
    pub(crate) fn around(&self) -> Option<&AroundTests> {
        self.wanted.first().map(|wanted| &wanted.lifecycle.around)
    }

    /// True if the platform creates the instances, which can take long.
    pub fn makes_machines(&self) -> bool {
        let platform = self.wanted.first().map(|wanted| &wanted.platform);
        platform.is_some_and(|platform| platform.ownership().is_created())
    }

    /// The time limit for an instance to answer after a boot.
    pub fn ready_timeout(&self) -> Option<Duration> {
        let first = self.wanted.first();
        first.map(|wanted| wanted.lifecycle.ready_timeout)
    }

    /// A want for `count` of these instances.
    pub fn want(&self, count: u32, needs: &Needs) -> Want {
        Want {
            hash: self.wanted.first().map(|wanted| wanted.hash.clone()),
            count: count as usize,
            needs: needs.clone(),
            instance: self.instance.clone(),
            ..Want::of(self.target())
        }
    }

    /// Notes that a case (its binary's path, its name) will need instances.
    pub fn expect(&self, case: (&str, &str), need: Need) {
        self.state().backlog.expect(case, need);
    }

    /// Notes that a case will not run again.
    pub fn done(&self, case: (&str, &str)) {
        self.state().backlog.done(case);
    }

    /// The number of instances that existed in this run, and the sum of the times they existed.
    pub fn used(&self) -> Used {
        let (time, instances) = self.state().usage.total(Instant::now());
        Used {
            target: self.label.clone(),
            instances,
            time,
            cost: self.cost,
        }
    }

    /// Allows a retry of deploys that failed for an earlier run of the tests, if one set serves several runs.
    pub fn forgive(&self) {
        self.state().forgive(Instant::now());
    }

    /// The name of the first instance whose deploy failed with this message.
    pub fn failed_at_first(&self, message: &str) -> Option<String> {
        let index = self.state().failed_at_first(message)?;
        Some(self.wanted[index].instance())
    }

    /// Notes the verdict of a case on an instance; returns the names of the instances that are set aside from now on.
    pub(super) fn judged(&self, instance: &str, verdict: &Verdict) -> Vec<String> {
        let named = |one: &Wanted| one.instance() == instance;
        let aside = self.wanted.iter().position(named).map(|index| {
            let mut state = self.state();
            state.judged(index, verdict.is_infra())
        });
        let aside = aside.into_iter().flatten();
        aside.map(|index| self.wanted[index].instance()).collect()
    }

    /// The records that must not serve a want, since they are set aside.
    fn set_aside(&self, want: &Want) -> BTreeSet<String> {
        self.state().set_aside(self.asked(want))
    }

    /// True if these instances can serve a want.
    pub(super) fn serves(&self, want: &Want) -> bool {
        let Some(first) = self.wanted.first() else {
            return false;
        };
        let same_hash = want.hash.as_ref().is_none_or(|hash| *hash == first.hash);
        let has_instance = want.instance.is_none() || self.only(want).is_some();
        first.target == want.target && same_hash && has_instance
    }

    fn asked<'a>(&self, want: &'a Want) -> Asked<'a> {
        Asked {
            count: want.count,
            needs: &want.needs,
            only: self.only(want),
        }
    }

    /// The index of the only instance that suits a want.
    fn only(&self, want: &Want) -> Option<usize> {
        let name = want.instance.as_ref()?;
        self.wanted.iter().position(|one| one.instance() == *name)
    }

    /// The target's name, and the hash of its definition.
    fn definition(&self) -> Option<(String, String)> {
        let first = self.wanted.first()?;
        Some((first.target.clone(), first.hash.clone()))
    }

    /// Starts to deploy instances that cases need and that were not requested yet.
    pub(super) fn begin_missing(self: &Arc<Self>, context: &Arc<Context>) {
        let begun = self.state().begin_missing(Instant::now());
        for index in begun {
            self.start_ensure_ready(context, index);
        }
    }

    /// Waits for an instance, and deploys it if no other request did.
    pub(super) async fn ready(
        self: &Arc<Self>,
        context: &Arc<Context>,
        index: usize,
    ) -> Result<Arc<ReadyInstance>> {
        loop {
            let changed = context.changed.notified();
            // A late deploy entry shows the earlier result, and does not deploy an instance that no case needs. Checked
            // in every round: an instance may have been lost since it was ready.
            let begun = {
                let mut state = self.state();
                match state.slot(index) {
                    Slot::Ready(ready) | Slot::Gone(ready) => return Ok(Arc::clone(ready)),
                    Slot::Failed(failed, _) => return Err(failed.clone()),
                    Slot::Idle | Slot::Working | Slot::Leaving(_) => {}
                }
                state.begin(index, Instant::now())
            };
            if begun {
                self.start_ensure_ready(context, index);
            }
            changed.await;
        }
    }

    /// Reacts to a request for which too few instances are ready.
    ///
    /// # Errors
    /// Fails if there will never be enough instances.
    fn resolve_shortage(self: &Arc<Self>, context: &Arc<Context>, want: &Want) -> Result<()> {
        let asked = self.asked(want);
        let shortage = {
            // Read while the slots cannot change: instances that are ready here were ready in the pool before.
            let mut state = self.state();
            let serving = context.run.serving()?;
            state.shortage(asked, &serving, Instant::now())
        };
        match shortage {
            Shortage::Begin(index) => self.start_ensure_ready(context, index),
            Shortage::Coming => {}
            Shortage::Never(failed) => return Err(failed),
        }
        Ok(())
    }

    /// Notes that the instance of a record must not serve again.
    pub(super) fn lost(&self, record: &str) {
        self.state().lost(record, Instant::now());
    }

    /// Makes the instance of a slot ready, in the background.
    fn start_ensure_ready(self: &Arc<Self>, context: &Arc<Context>, index: usize) {
        let (set, context) = (Arc::clone(self), Arc::clone(context));
        tokio::spawn(async move {
            let made = context.ensure_ready(&set.wanted[index], &set.label).await;
            set.state().ended(index, made, Instant::now());
            context.changed.notify_waiters();
        });
    }

    fn state(&self) -> MutexGuard<'_, InstancesState> {
        sync::lock(&self.state)
    }
}

/// The error of requests that wait when the run ends.
pub(super) fn interrupted() -> Error {
    Error::infra("the run was interrupted")
}
