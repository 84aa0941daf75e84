//! Deletes instances that no remaining case needs while other cases run.
//!
//! Must not decide when an instance is surplus.

use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

use super::{Busy, Context, InstanceSet, ReadyInstance};
use crate::provision::pool::Record;

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
    /// Takes out the instances that no remaining case needs and no lease holds.
    pub(in crate::provision) fn take_surplus(
        self: &Arc<Self>,
        context: &Arc<Context>,
    ) -> Vec<Surplus> {
        let taken = self.state().take_surplus(&context.leased_records());
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
        let released = tokio::task::spawn_blocking(move || context.run.release(&id));
        if let Ok(Ok(Some(report))) = released.await {
            self.context.disconnect(&self.record().id);
            let released = self.context.released.lock();
            released.unwrap_or_else(PoisonError::into_inner).add(report);
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
