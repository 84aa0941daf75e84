//! The instances of one target in one run: requested, ready, failed or deleted.
//!
//! Decides which instances to deploy and delete. Pure: no disk, clock, processes or pool; times and the pool's answers
//! are arguments.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{backlog::Backlog, usage::Usage};
use crate::{
    error::{Error, ErrorKind},
    plan::{self, Needs},
    provision::pool::Record,
};

/// The time for which all requests get the same failure, if one set serves several runs of the tests.
const MEMORY: Duration = Duration::from_secs(2);

/// The number of infra verdicts in a row after which an instance is set aside, while another one serves.
const INFRA_IN_A_ROW: u32 = 3;

/// An instance that is ready to serve.
#[derive(Clone, Debug)]
pub struct ReadyInstance {
    /// Its record.
    pub record: Record,
    /// Its history, for people: `alpha-0: deployed in 1.2 s`.
    pub story: String,
    /// True if the instance existed before the run.
    pub reused: bool,
}

/// One of the instances that a target may have.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    /// Not requested.
    Idle,
    /// Being deployed.
    Working,
    /// Ready to serve.
    Ready(Arc<ReadyInstance>),
    /// The deploy failed at this time.
    Failed(Error, Instant),
    /// Being deleted, since no case needs it.
    Leaving(Arc<ReadyInstance>),
    /// Deleted, since no case needed it.
    Gone(Arc<ReadyInstance>),
}

impl Slot {
    fn ready(&self) -> Option<&Arc<ReadyInstance>> {
        match self {
            Self::Ready(ready) => Some(ready),
            _ => None,
        }
    }
}

/// A request for instances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) count: usize,
    pub(super) needs: &'a Needs,
    /// The only suitable slot, if any.
    pub(super) only: Option<usize>,
}

/// The reaction to a request for which too few instances are ready.
#[derive(Debug)]
pub(super) enum Shortage {
    /// Deploy the instance of this slot.
    Begin(usize),
    /// Wait: enough instances are being deployed.
    Coming,
    /// Fail: there will never be enough instances.
    Never(Error),
}

/// The instances of one target.
#[derive(Debug)]
pub(super) struct InstancesState {
    target: String,
    slots: Vec<Slot>,
    /// The number of slots that serve at once; the others are spares.
    at_once: usize,
    /// The number of infra verdicts since each slot's last other verdict; `None` without a verdict.
    infra: Vec<Option<u32>>,
    pub(super) backlog: Backlog,
    pub(super) usage: Usage,
}

impl InstancesState {
    /// A state without requests.
    pub(super) fn new(target: &str, slots: usize, at_once: usize) -> Self {
        Self {
            target: target.to_owned(),
            slots: vec![Slot::Idle; slots],
            at_once,
            infra: vec![None; slots],
            backlog: Backlog::default(),
            usage: Usage::new(slots),
        }
    }

    /// Starts the slots that the backlog needs and that were not requested yet; returns them.
    pub(super) fn begin_missing(&mut self, now: Instant) -> Vec<usize> {
        let (mut idle, mut live, aside) = (Vec::new(), 0, self.aside());
        for (index, slot) in self.slots.iter().enumerate() {
            match slot {
                _ if aside.contains(&index) => {}
                Slot::Idle | Slot::Gone(_) => idle.push(index),
                Slot::Working | Slot::Ready(_) => live += 1,
                Slot::Failed(..) | Slot::Leaving(_) => {}
            }
        }
        idle.truncate(self.needed().saturating_sub(live));
        idle.retain(|index| self.begin(*index, now));
        idle
    }

    /// Starts a slot; false if it was started already.
    pub(super) fn begin(&mut self, index: usize, now: Instant) -> bool {
        let idle = matches!(self.slots[index], Slot::Idle | Slot::Gone(_));
        if idle {
            self.slots[index] = Slot::Working;
            self.usage.began(index, now);
        }
        idle
    }

    /// Notes the result of a deploy.
    pub(super) fn ended(&mut self, index: usize, made: Result<ReadyInstance, Error>, now: Instant) {
        self.slots[index] = match made {
            Ok(ready) => {
                self.usage.ready(index, &ready.record.id);
                Slot::Ready(Arc::new(ready))
            }
            Err(failed) => {
                self.usage.ended(index, now);
                Slot::Failed(failed, now)
            }
        };
    }

    /// Notes that an instance must not serve again; the next request deploys a replacement.
    pub(super) fn lost(&mut self, record: &str, now: Instant) {
        self.keep(|ready| ready.record.id != record, now);
    }

    /// Notes the verdict of a case on a slot's instance; returns the slots that are set aside from now on.
    pub(super) fn judged(&mut self, index: usize, is_infra: bool) -> Vec<usize> {
        let before = self.aside();
        let infra = &mut self.infra[index];
        *infra = Some(if is_infra { infra.unwrap_or(0) + 1 } else { 0 });
        self.aside().difference(&before).copied().collect()
    }

    /// The slots that are set aside: after too many infra verdicts in a row, and only while another slot serves.
    fn aside(&self) -> BTreeSet<usize> {
        let slots = || 0..self.slots.len();
        let serves = |index: usize| {
            self.infra[index] == Some(0) && !matches!(self.slots[index], Slot::Failed(..))
        };
        match slots().any(serves) {
            true => slots()
                .filter(|index| self.infra[*index] >= Some(INFRA_IN_A_ROW))
                .collect(),
            false => BTreeSet::new(),
        }
    }

    /// The ready records that must not serve a request, since they are set aside.
    pub(super) fn set_aside(&self, asked: Asked<'_>) -> BTreeSet<String> {
        let mut aside = self.aside();
        if aside.is_empty() {
            return BTreeSet::new();
        }
        for (index, _) in self.eligible(asked) {
            aside.remove(&index);
        }
        let ready = |index: usize| Some(self.slots.get(index)?.ready()?.record.id.clone());
        aside.into_iter().filter_map(ready).collect()
    }

    /// Decides about a request for which too few instances are ready. `serving` are the records that the pool could
    /// lease to this run: a ready instance may be dirty now, if its holder in another run died.
    pub(super) fn shortage(
        &mut self,
        asked: Asked<'_>,
        serving: &BTreeSet<String>,
        now: Instant,
    ) -> Shortage {
        self.keep(|ready| serving.contains(&ready.record.id), now);
        if let Some(why) = self.hopeless(asked) {
            return Shortage::Never(why);
        }
        let (mut leases, mut moving, mut idle) = (BTreeSet::new(), 0, None);
        for (index, slot) in self.eligible(asked) {
            match slot {
                // Several instances may be one machine, which can be leased only once.
                Slot::Ready(ready) if asked.is_met_by(&ready.record).is_ok() => {
                    leases.insert(&ready.record.lease);
                }
                Slot::Working | Slot::Leaving(_) => moving += 1,
                Slot::Idle | Slot::Gone(_) => idle = idle.or(Some(index)),
                Slot::Ready(_) | Slot::Failed(..) => {}
            }
        }
        let (ready, count) = (leases.len(), asked.count);
        match idle {
            Some(index) if ready + moving < count => {
                self.begin(index, now);
                Shortage::Begin(index)
            }
            None if moving == 0 && ready < count => Shortage::Never(self.too_few(count)),
            _ => Shortage::Coming,
        }
    }

    /// The slots that may serve a request. Those that are set aside may only if the others do not suffice.
    fn eligible(&self, asked: Asked<'_>) -> Vec<(usize, &Slot)> {
        let aside = self.aside();
        let mut slots: Vec<_> = self.slots.iter().enumerate().collect();
        slots.retain(|(index, _)| asked.only.is_none_or(|only| only == *index));
        let can_serve = |(index, slot): &&(usize, &Slot)| match slot {
            _ if aside.contains(index) => false,
            Slot::Ready(ready) | Slot::Gone(ready) => asked.is_met_by(&ready.record).is_ok(),
            Slot::Failed(..) => false,
            Slot::Idle | Slot::Working | Slot::Leaving(_) => true,
        };
        if slots.iter().filter(can_serve).count() >= asked.count {
            slots.retain(|(index, _)| !aside.contains(index));
        }
        slots
    }

    /// The reason that enough suitable instances can never be ready at once, if any: their deploys failed, or they do
    /// not meet the needs.
    fn hopeless(&self, asked: Asked<'_>) -> Option<Error> {
        let (mut possible, mut why) = (0, None);
        for (_, slot) in self.eligible(asked) {
            match slot {
                // A new deploy would give the same instance.
                Slot::Ready(ready) | Slot::Gone(ready) => match asked.is_met_by(&ready.record) {
                    Ok(()) => possible += 1,
                    Err(reason) => why = why.or(Some(Error::new(ErrorKind::Unfit, reason))),
                },
                Slot::Failed(failed, _) => why = Some(failed.clone()),
                Slot::Idle | Slot::Working | Slot::Leaving(_) => possible += 1,
            }
        }
        why.filter(|_| possible < asked.count)
    }

    fn too_few(&self, count: usize) -> Error {
        let target = &self.target;
        let message = format!("`{target}` never had {count} instances ready at once");
        let hint = format!("are several instances of `{target}` the same machine?");
        Error::infra(message).with_hint(hint)
    }

    /// Takes ready instances that no remaining case needs and no lease holds: those that are set aside first, then by
    /// index, highest first.
    pub(super) fn take_surplus(
        &mut self,
        leased: &BTreeSet<String>,
    ) -> Vec<(usize, Arc<ReadyInstance>)> {
        let ready = self.slots.iter().filter_map(Slot::ready).count();
        let working = |slot: &&Slot| matches!(slot, Slot::Working);
        let working = self.slots.iter().filter(working).count();
        let surplus = (ready + working).saturating_sub(self.needed()).min(ready);
        let (mut taken, aside) = (Vec::new(), self.aside());
        let (first, others): (Vec<_>, Vec<_>) = (0..self.slots.len())
            .rev()
            .partition(|index| aside.contains(index));
        for index in first.into_iter().chain(others) {
            let slot = &mut self.slots[index];
            let free = slot
                .ready()
                .filter(|one| !leased.contains(&one.record.id))
                .cloned();
            if let Some(ready) = free.filter(|_| taken.len() < surplus) {
                *slot = Slot::Leaving(Arc::clone(&ready));
                taken.push((index, ready));
            }
        }
        taken
    }

    /// Notes that a taken instance was deleted, or that it stays because it is in use.
    pub(super) fn left(&mut self, index: usize, gone: bool, now: Instant) {
        let Slot::Leaving(ready) = &self.slots[index] else {
            return;
        };
        let ready = Arc::clone(ready);
        self.slots[index] = match gone {
            true => {
                self.usage.ended(index, now);
                Slot::Gone(ready)
            }
            false => Slot::Ready(ready),
        };
    }

    /// Allows a retry of deploys whose failure is too old, if one set serves several runs of the tests.
    pub(super) fn forgive(&mut self, now: Instant) {
        for slot in &mut self.slots {
            if matches!(slot, Slot::Failed(_, at) if now.duration_since(*at) > MEMORY) {
                *slot = Slot::Idle;
            }
        }
    }

    pub(super) fn slot(&self, index: usize) -> &Slot {
        &self.slots[index]
    }

    /// The slot whose first deploy failed with this message.
    pub(super) fn failed_at_first(&self, message: &str) -> Option<usize> {
        let same =
            |slot: &Slot| matches!(slot, Slot::Failed(failed, _) if failed.chain() == message);
        let failed = self.slots.iter().position(same);
        failed.filter(|index| !self.usage.was_ready(*index))
    }

    /// The number of instances that the backlog can use.
    fn needed(&self) -> usize {
        self.backlog.instances(self.at_once, self.slots.len())
    }

    /// Drops the ready instances for which `keeps` is false.
    fn keep(&mut self, keeps: impl Fn(&ReadyInstance) -> bool, now: Instant) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.ready().is_some_and(|ready| !keeps(ready)) {
                *slot = Slot::Idle;
                self.usage.ended(index, now);
            }
        }
    }
}

impl Asked<'_> {
    fn is_met_by(&self, record: &Record) -> Result<(), String> {
        plan::met(self.needs, record.name(), &record.facts)
    }
}

#[cfg(test)]
mod tests;
