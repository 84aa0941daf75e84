//! The instances of one target in one run: which are asked for, ready, failed or let go.
//!
//! Owns that decision. Pure: must not know disk, clock, processes or the pool; times and the pool's word come in.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    backlog::{Backlog, Need},
    usage::Usage,
};
use crate::{
    error::{Error, ErrorKind},
    plan::{self, Needs},
    provision::pool::Record,
};

/// The time for which a failure is the answer to everybody, where it is not for the whole run.
const MEMORY: Duration = Duration::from_secs(2);

/// An instance that serves.
#[derive(Clone, Debug)]
pub struct ReadyInstance {
    /// Its record.
    pub record: Record,
    /// Its history, for people: `alpha-0: deployed in 1.2 s`.
    pub story: String,
    /// True if it was there before the run.
    pub reused: bool,
}

/// The reason that an instance cannot be had, told to everybody who asks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FailedDeploy {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl From<&Error> for FailedDeploy {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind(),
            message: error.chain(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl From<FailedDeploy> for Error {
    fn from(failed: FailedDeploy) -> Self {
        let error = Self::new(failed.kind, failed.message);
        match failed.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

/// One of the instances that a target may have.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    /// Not asked for.
    Idle,
    /// On its way.
    Working,
    /// It serves.
    Ready(Arc<ReadyInstance>),
    /// Since when.
    Failed(FailedDeploy, Instant),
    /// No case needs it: it is being deleted.
    Leaving(Arc<ReadyInstance>),
    /// It was deleted, since no case needed it any more.
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

/// Instances that are asked for together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) count: usize,
    pub(super) needs: &'a Needs,
    /// The only slot that will do, if any.
    pub(super) only: Option<usize>,
}

/// The way out for a request that fewer instances can serve than it asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shortage {
    /// The instance of this slot is to be deployed too.
    Begin(usize),
    /// Enough are on their way.
    Coming,
    /// There will never be enough.
    Never(FailedDeploy),
}

/// The instances of one target.
#[derive(Debug)]
pub(super) struct InstancesState {
    target: String,
    slots: Vec<Slot>,
    /// The number of slots that serve at once; the others are spares.
    at_once: usize,
    backlog: Backlog,
    usage: Usage,
}

impl InstancesState {
    /// Nothing is asked for yet.
    pub(super) fn new(target: &str, slots: usize, at_once: usize) -> Self {
        Self {
            target: target.to_owned(),
            slots: vec![Slot::Idle; slots],
            at_once,
            backlog: Backlog::default(),
            usage: Usage::new(slots),
        }
    }

    /// A case (its binary, its name) is still to be run.
    pub(super) fn expect(&mut self, case: (&str, &str), need: Need) {
        self.backlog.expect(case, need);
    }

    /// A case need not be run again.
    pub(super) fn done(&mut self, case: (&str, &str)) {
        self.backlog.done(case);
    }

    /// Begins what the backlog needs and nobody asked for yet; the slots.
    pub(super) fn begin_missing(&mut self, now: Instant) -> Vec<usize> {
        let (mut idle, mut live) = (Vec::new(), 0);
        for (index, slot) in self.slots.iter().enumerate() {
            match slot {
                Slot::Idle | Slot::Gone(_) => idle.push(index),
                Slot::Working | Slot::Ready(_) => live += 1,
                Slot::Failed(..) | Slot::Leaving(_) => {}
            }
        }
        idle.truncate(self.needed().saturating_sub(live));
        idle.retain(|index| self.begin(*index, now));
        idle
    }

    /// Begins one; false if that has been done already.
    pub(super) fn begin(&mut self, index: usize, now: Instant) -> bool {
        let idle = matches!(self.slots[index], Slot::Idle | Slot::Gone(_));
        if idle {
            self.slots[index] = Slot::Working;
            self.usage.began(index, now);
        }
        idle
    }

    /// A deploy that was begun came to its end.
    pub(super) fn ended(
        &mut self,
        index: usize,
        made: Result<ReadyInstance, FailedDeploy>,
        now: Instant,
    ) {
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

    /// The instance must not serve again: the next request has it replaced.
    pub(super) fn lost(&mut self, record: &str, now: Instant) {
        self.keep(|ready| ready.record.id != record, now);
    }

    /// Decides about a request for instances of which too few are ready. `serving` are the records that the pool could
    /// lease to this run: one that was ready may be dirty since, by the death of a holder elsewhere.
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
                // Several instances may be one machine, which is leased once.
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

    /// The slots that may serve a request.
    fn eligible<'a>(&'a self, asked: Asked<'a>) -> impl Iterator<Item = (usize, &'a Slot)> {
        let slots = self.slots.iter().enumerate();
        slots.filter(move |(index, _)| asked.only.is_none_or(|only| only == *index))
    }

    /// The reason that enough instances that meet the needs can never be had together, if any: they failed, or are
    /// something else.
    fn hopeless(&self, asked: Asked<'_>) -> Option<FailedDeploy> {
        let (mut possible, mut why) = (0, None);
        for (_, slot) in self.eligible(asked) {
            match slot {
                // What is deployed again is the same again.
                Slot::Ready(ready) | Slot::Gone(ready) => match asked.is_met_by(&ready.record) {
                    Ok(()) => possible += 1,
                    Err(reason) => drop(why.get_or_insert_with(|| unfit(reason))),
                },
                Slot::Failed(failed, _) => why = Some(failed.clone()),
                Slot::Idle | Slot::Working | Slot::Leaving(_) => possible += 1,
            }
        }
        why.filter(|_| possible < asked.count)
    }

    fn too_few(&self, count: usize) -> FailedDeploy {
        let target = &self.target;
        FailedDeploy {
            kind: ErrorKind::Infra,
            message: format!("`{target}` never had {count} instances ready at once"),
            hint: Some(format!(
                "are several instances of `{target}` the same machine?"
            )),
        }
    }

    /// Takes out ready instances that no remaining case needs and nobody has leased, the last ones first.
    pub(super) fn take_surplus(
        &mut self,
        leased: &BTreeSet<String>,
    ) -> Vec<(usize, Arc<ReadyInstance>)> {
        let ready = self.slots.iter().filter_map(Slot::ready).count();
        let working = |slot: &&Slot| matches!(slot, Slot::Working);
        let working = self.slots.iter().filter(working).count();
        let surplus = (ready + working).saturating_sub(self.needed()).min(ready);
        let mut taken = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate().rev() {
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

    /// An instance that was taken out is gone, or stays since somebody uses it after all.
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

    /// Failures that are too old to be the answer are tried again, where one set serves several runs of the tests.
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
            |slot: &Slot| matches!(slot, Slot::Failed(failed, _) if failed.message == message);
        let failed = self.slots.iter().position(same);
        failed.filter(|index| !self.usage.was_ready(*index))
    }

    /// The time for which instances existed, added up, and their number.
    pub(super) fn used(&self, now: Instant) -> (Duration, usize) {
        self.usage.total(now)
    }

    /// The number of instances that the backlog can use.
    fn needed(&self) -> usize {
        self.backlog.instances(self.at_once, self.slots.len())
    }

    /// Forgets the ready instances that are not to be kept.
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

/// No failure: no instance of the target is what is needed.
fn unfit(reason: String) -> FailedDeploy {
    FailedDeploy {
        kind: ErrorKind::Unfit,
        message: reason,
        hint: None,
    }
}

#[cfg(test)]
mod tests;
