//! The instances of one target, as this broker supplies them: asked for any number of times, deployed
//! once.
//!
//! Owns which instance is being deployed, ready or failed in this run. Must not know cases. The pool
//! knows what exists; this only spares asking it twice.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use target_fixtures::wire::Failure;

use super::Core;
use crate::provision::{Wanted, pool::Record};

/// For how long a failure is the answer to all who ask, where it is not for the whole run.
const MEMORY: Duration = Duration::from_secs(2);

/// The instances of one target.
pub struct Supply {
    /// What the pool is asked for, by index.
    pub wanted: Vec<Wanted>,
    /// One certain instance, where only that will do.
    pub instance: Option<String>,
    slots: Mutex<Vec<Slot>>,
}

#[derive(Clone)]
enum Slot {
    Idle,
    Working,
    Ready(Arc<Supplied>),
    /// Since when.
    Failed(Failure, Instant),
}

/// A ready instance.
pub(super) struct Supplied {
    pub(super) record: Record,
    /// How it came about, for people.
    pub(super) story: String,
}

impl Supply {
    /// Nothing is asked for yet.
    pub fn new(wanted: Vec<Wanted>) -> Self {
        let slots = Mutex::new(vec![Slot::Idle; wanted.len()]);
        Self {
            wanted,
            instance: None,
            slots,
        }
    }

    /// The target's name.
    pub fn target(&self) -> &str {
        self.wanted.first().map_or("", |wanted| &wanted.target)
    }

    /// Whether its instances are made, which can take long.
    pub fn makes_machines(&self) -> bool {
        let platform = self.wanted.first().map(|wanted| &wanted.platform);
        platform.is_some_and(|platform| platform.makes_machines())
    }

    /// Starts deploying what nobody asked for yet.
    pub(super) fn ask_for_all(self: &Arc<Self>, core: &Arc<Core>) {
        for index in 0..self.wanted.len() {
            self.ask_for(core, index);
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
            // In every round: what was ready a moment ago may have been forgotten.
            self.ask_for(core, index);
            match self.slots()[index].clone() {
                Slot::Ready(supplied) => return Ok(supplied),
                Slot::Failed(failure, _) => return Err(failure),
                Slot::Idle | Slot::Working => {}
            }
            changed.await;
        }
    }

    /// Why `count` instances can never be had together, if so.
    pub(super) fn hopeless(&self, count: usize) -> Option<Failure> {
        let slots = self.slots();
        let mut failed = slots.iter().filter_map(|slot| match slot {
            Slot::Failed(failure, _) => Some(failure),
            _ => None,
        });
        let possible = slots.len() - failed.clone().count();
        if possible >= count {
            None
        } else {
            failed.next().cloned()
        }
    }

    /// The instance must not serve again: the next who asks has it replaced.
    pub(super) fn forget(&self, record: &str) {
        for slot in self.slots().iter_mut() {
            if matches!(slot, Slot::Ready(supplied) if supplied.record.id == record) {
                *slot = Slot::Idle;
            }
        }
    }

    /// Has the pool asked again for every instance, unless one is on its way; says whether it is.
    pub(super) fn look_again(&self) -> bool {
        let mut slots = self.slots();
        if slots.iter().any(|slot| matches!(slot, Slot::Working)) {
            return false;
        }
        for slot in slots.iter_mut() {
            if matches!(slot, Slot::Ready(_)) {
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
        if !matches!(slots[index], Slot::Idle) {
            return;
        }
        slots[index] = Slot::Working;
        let (supply, core) = (Arc::clone(self), Arc::clone(core));
        tokio::spawn(async move {
            let made = supply.make(&core, index).await;
            supply.slots()[index] = match made {
                Ok(supplied) => Slot::Ready(Arc::new(supplied)),
                Err(failure) => Slot::Failed(failure, Instant::now()),
            };
            core.changed.notify_waiters();
        });
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
