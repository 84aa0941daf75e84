//! Deletes instances that no remaining case needs while other cases run.
//!
//! Must not decide when an instance is surplus.

use std::{sync::Arc, time::Instant};

use super::{Busy, Context, InstanceSet, ReadyInstance};
use crate::{provision::pool::Record, sync};

/// An instance that no remaining case needs, taken out of its set. Put back if dropped.
pub struct Surplus {
    set: Arc<InstanceSet>,
    context: Arc<Context>,
    index: usize,
    ready: Arc<ReadyInstance>,
    gone: bool,
    /// Dropped last.
    _busy: Busy,
}

impl InstanceSet {
    /// Takes out the instances that no remaining case needs, no lease holds and the run does not keep.
    pub(crate) fn take_surplus(self: &Arc<Self>, context: &Arc<Context>) -> Vec<Surplus> {
        let mut staying = context.leased_records();
        staying.extend(context.run.pinned());
        let taken = self.state().take_surplus(&staying);
        let surplus = |(index, ready)| Surplus {
            set: Arc::clone(self),
            context: Arc::clone(context),
            index,
            ready,
            gone: false,
            _busy: context.busy(),
        };
        taken.into_iter().map(surplus).collect()
    }
}

impl Surplus {
    /// The instance's record.
    pub fn record(&self) -> &Record {
        &self.ready.record
    }

    /// The set that the instance was taken from.
    pub fn set(&self) -> &Arc<InstanceSet> {
        &self.set
    }

    /// Deletes the instance. If it is in use or the delete fails, it stays until the run ends.
    pub async fn release(mut self) {
        let (context, id) = (Arc::clone(&self.context), self.record().id.clone());
        if let Ok(Some(report)) = sync::blocking(move || context.run.release(&id)).await {
            self.context.disconnect(&self.record().id);
            sync::lock(&self.context.released).add(report);
            self.gone = true;
        }
    }
}

impl Drop for Surplus {
    fn drop(&mut self) {
        self.set.state().left(self.index, self.gone, Instant::now());
        self.context.changed.notify_waiters();
    }
}
