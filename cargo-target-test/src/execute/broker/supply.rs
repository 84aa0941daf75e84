//! The instances of one target, as this broker supplies them: asked for any number of times, deployed
//! once, and let go when no case needs them.
//!
//! Owns which instance is being deployed, ready or failed in this run. Must not know cases, only how much of the target
//! they need (`Demand`). The pool knows what exists; this only spares asking it twice.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use target_fixtures::wire::{Failure, FailureKind};

use super::{
    Core,
    demand::Demand,
    usage::{Usage, Used},
};
use crate::{
    error::one_line,
    plan::{self, Needs},
    provision::{Wanted, pool::Record},
};

/// For how long a failure is the answer to all who ask, where it is not for the whole run.
const MEMORY: Duration = Duration::from_secs(2);

/// The instances of one target.
pub struct Supply {
    /// What the pool is asked for, by index; last come spares, and machines that stay and may serve in another's place.
    pub wanted: Vec<Wanted>,
    /// How many of them serve at once.
    pub at_once: usize,
    /// One certain instance, where only that will do.
    pub instance: Option<String>,
    /// What stands in the brackets of its cases.
    pub label: String,
    /// What the target costs.
    pub cost: f64,
    /// What remains to be run on it.
    pub(super) demand: Demand,
    slots: Mutex<Vec<Slot>>,
    usage: Mutex<Usage>,
}

#[derive(Clone)]
enum Slot {
    Idle,
    Working,
    Ready(Arc<Supplied>),
    /// Since when.
    Failed(Failure, Instant),
    /// No case needs it: it is being deleted.
    Leaving,
    /// It was, and no case needed it any more.
    Gone(Arc<Supplied>),
}

impl Slot {
    fn ready(&self) -> Option<&Arc<Supplied>> {
        match self {
            Self::Ready(supplied) => Some(supplied),
            _ => None,
        }
    }
}

/// A ready instance.
pub(super) struct Supplied {
    pub(super) record: Record,
    /// How it came about, for people.
    pub(super) story: String,
    /// Whether it was deployed just now, and what no test has had since.
    pub(super) unused: Mutex<bool>,
}

impl Supply {
    /// Nothing is asked for yet. The last `spares` of `wanted` serve only where others do not.
    pub fn new(wanted: Vec<Wanted>, spares: usize, label: String, cost: f64) -> Self {
        Self {
            slots: Mutex::new(vec![Slot::Idle; wanted.len()]),
            usage: Mutex::new(Usage::new(wanted.len())),
            at_once: wanted.len().saturating_sub(spares),
            demand: Demand::default(),
            instance: None,
            wanted,
            label,
            cost,
        }
    }

    /// A case (its binary's path, its name) that will need so many instances, and whether it spends them.
    pub fn expect(&self, case: (&str, &str), count: u32, spends: bool) {
        self.demand.expect(case, count, spends);
    }

    /// The target's name.
    pub fn target(&self) -> &str {
        self.wanted.first().map_or("", |wanted| &wanted.target)
    }

    /// Whether its instances are made, which can take long.
    pub fn makes_machines(&self) -> bool {
        let platform = self.wanted.first().map(|wanted| &wanted.platform);
        platform.is_some_and(|platform| platform.ownership().is_created())
    }

    /// For how long instances existed in this run, added up, and how many there were.
    pub fn used(&self) -> Used {
        let (time, instances) = self.usage().total();
        Used {
            target: self.label.clone(),
            instances,
            time,
            cost: self.cost,
        }
    }

    /// Starts deploying what cases need and nobody asked for yet.
    pub(super) fn ask_for_all(self: &Arc<Self>, core: &Arc<Core>) {
        let (mut idle, mut live) = (Vec::new(), 0);
        for (index, slot) in self.slots().iter().enumerate() {
            match slot {
                Slot::Idle | Slot::Gone(_) => idle.push(index),
                Slot::Working | Slot::Ready(_) => live += 1,
                Slot::Failed(..) | Slot::Leaving => {}
            }
        }
        let missing = self.needed().saturating_sub(live);
        for index in idle.into_iter().take(missing) {
            self.ask_for(core, index);
        }
    }

    /// Has one more made where those that are there, or on their way, are not what is needed.
    pub(super) fn ask_for_another(self: &Arc<Self>, core: &Arc<Core>, count: usize, needs: &Needs) {
        let (mut fit, mut idle) = (0, None);
        for (index, slot) in self.slots().iter().enumerate() {
            match slot {
                Slot::Ready(one) => {
                    let met = plan::met(needs, one.record.name(), &one.record.facts);
                    fit += usize::from(met.is_ok());
                }
                Slot::Working | Slot::Leaving => fit += 1,
                Slot::Idle => idle = idle.or(Some(index)),
                Slot::Failed(..) | Slot::Gone(_) => {}
            }
        }
        if let Some(index) = idle.filter(|_| fit < count) {
            self.ask_for(core, index);
        }
    }

    /// How many instances what remains can use.
    fn needed(&self) -> usize {
        self.demand.instances(self.at_once, self.wanted.len())
    }

    /// Has the pool delete ready instances that no remaining case needs. What somebody uses meanwhile stays.
    pub(super) fn let_go(self: &Arc<Self>, core: &Arc<Core>) {
        let mut slots = self.slots();
        let ready = slots.iter().filter(|slot| slot.ready().is_some()).count();
        let working = slots
            .iter()
            .filter(|slot| matches!(slot, Slot::Working))
            .count();
        let mut surplus = (ready + working).saturating_sub(self.needed()).min(ready);
        for (index, slot) in slots.iter_mut().enumerate().rev() {
            let Some(supplied) = slot
                .ready()
                .filter(|one| surplus > 0 && !core.is_leased(&one.record.id))
            else {
                continue;
            };
            let supplied = Arc::clone(supplied);
            *slot = Slot::Leaving;
            surplus -= 1;
            let (supply, core, serving) = (Arc::clone(self), Arc::clone(core), core.serving());
            tokio::spawn(async move {
                if core.has_fixtures_on(&supplied.record) {
                    core.end_fixtures_of(&supply, &supplied.record).await;
                }
                let gone = core.release(&supplied.record).await;
                supply.set(
                    index,
                    if gone {
                        Slot::Gone(supplied)
                    } else {
                        Slot::Ready(supplied)
                    },
                );
                core.changed.notify_waiters();
                drop(serving);
            });
        }
    }

    /// Waits for an instance; asks for it where nobody did.
    pub(super) async fn ready(
        self: &Arc<Self>,
        core: &Arc<Core>,
        index: usize,
    ) -> Result<Arc<Supplied>, Failure> {
        loop {
            let changed = core.changed.notified();
            // A deploy entry that comes late shows what was, and has nothing made that nobody needs.
            if let Slot::Gone(supplied) = &self.slots()[index] {
                return Ok(Arc::clone(supplied));
            }
            // In every round: what was ready a moment ago may have been forgotten.
            self.ask_for(core, index);
            match self.slots()[index].clone() {
                Slot::Ready(supplied) => return Ok(supplied),
                Slot::Failed(failure, _) => return Err(failure),
                Slot::Idle | Slot::Working | Slot::Leaving | Slot::Gone(_) => {}
            }
            changed.await;
        }
    }

    /// Why `count` instances that are what is needed can never be had together, if so: they failed, or they are
    /// something else.
    pub(super) fn hopeless(&self, count: usize, needs: &Needs) -> Option<Failure> {
        let (mut possible, mut why) = (0, None);
        for slot in self.slots().iter() {
            match slot {
                // What is made again is the same again.
                Slot::Ready(supplied) | Slot::Gone(supplied) => {
                    let record = &supplied.record;
                    match plan::met(needs, record.name(), &record.facts) {
                        Ok(()) => possible += 1,
                        Err(reason) => drop(why.get_or_insert_with(|| unfit(reason))),
                    }
                }
                Slot::Failed(failure, _) => why = Some(failure.clone()),
                Slot::Idle | Slot::Working | Slot::Leaving => possible += 1,
            }
        }
        why.filter(|_| possible < count)
    }

    /// What a case says of a failure that befell it: of a deploy only the gist, where an entry of the run tells all. An
    /// entry tells of the first instance, and nothing of why that could not be replaced.
    pub(super) fn told(&self, core: &Core, failure: &Failure) -> Failure {
        let same = |slot: &Slot| matches!(slot, Slot::Failed(known, _) if known.message == failure.message);
        let failed = self.slots().iter().position(same);
        let first = failed.filter(|index| !self.usage().was_ready(*index));
        let entry = first.and_then(|index| core.names.deploy_of(&self.wanted[index].instance()));
        match entry {
            Some(entry) => Failure {
                message: one_line(&failure.message),
                hint: Some(format!("`{entry}` says more")),
                ..failure.clone()
            },
            None => failure.clone(),
        }
    }

    /// The instance must not serve again: the next who asks has it replaced.
    pub(super) fn forget(&self, record: &str) {
        for (index, slot) in self.slots().iter_mut().enumerate() {
            if slot.ready().is_some_and(|one| one.record.id == record) {
                *slot = Slot::Idle;
                self.usage().ended(index);
            }
        }
    }

    /// A test gets the instance; whether it is the first one since it was deployed in this run.
    pub(super) fn begin_use(&self, record: &str) -> bool {
        let slots = self.slots();
        let mut ready = slots.iter().filter_map(Slot::ready);
        let supplied = ready.find(|one| one.record.id == record);
        supplied.is_some_and(|one| {
            let mut unused = one.unused.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *unused)
        })
    }

    /// Who got the instance gave it back without a test.
    pub(super) fn end_unused(&self, record: &str) {
        let slots = self.slots();
        let mut ready = slots.iter().filter_map(Slot::ready);
        if let Some(one) = ready.find(|one| one.record.id == record) {
            *one.unused.lock().unwrap_or_else(PoisonError::into_inner) = true;
        }
    }

    /// Has the pool asked again for every instance, unless one is on its way; says whether it is.
    pub(super) fn look_again(&self) -> bool {
        let mut slots = self.slots();
        if slots
            .iter()
            .any(|slot| matches!(slot, Slot::Working | Slot::Leaving))
        {
            return false;
        }
        for slot in slots.iter_mut() {
            if slot.ready().is_some() {
                *slot = Slot::Idle;
            }
        }
        true
    }

    /// What failed in an earlier run of the tests is tried again, where one supply serves several runs.
    pub(crate) fn forgive(&self) {
        for slot in self.slots().iter_mut() {
            if matches!(slot, Slot::Failed(_, at) if at.elapsed() > MEMORY) {
                *slot = Slot::Idle;
            }
        }
    }

    fn ask_for(self: &Arc<Self>, core: &Arc<Core>, index: usize) {
        let mut slots = self.slots();
        if !matches!(slots[index], Slot::Idle | Slot::Gone(_)) {
            return;
        }
        slots[index] = Slot::Working;
        self.usage().began(index);
        let (supply, core) = (Arc::clone(self), Arc::clone(core));
        tokio::spawn(async move {
            let made = supply.make(&core, index).await;
            supply.set(
                index,
                match made {
                    Ok(supplied) => Slot::Ready(Arc::new(supplied)),
                    Err(failure) => Slot::Failed(failure, Instant::now()),
                },
            );
            core.changed.notify_waiters();
        });
    }

    fn set(&self, index: usize, slot: Slot) {
        match slot.ready() {
            Some(supplied) => self.usage().ready(index, &supplied.record.id),
            None => self.usage().ended(index),
        }
        self.slots()[index] = slot;
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not a failure: no instance of the target is what the test needs.
fn unfit(reason: String) -> Failure {
    Failure {
        kind: FailureKind::Skip,
        message: reason,
        hint: None,
    }
}
