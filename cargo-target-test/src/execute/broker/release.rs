//! Instances that no remaining case needs go while others still run.
//!
//! Owns when that may be. Must not know how many are needed: the supply does.

use std::sync::Arc;

use super::{Core, Supply, lock};
use crate::provision::pool::Record;

impl Core {
    /// Has instances that nobody needs any more deleted, beside whatever runs.
    pub(super) fn let_go(self: &Arc<Self>, supply: &Arc<Supply>) {
        if self.releases && !self.is_cancelled() {
            supply.let_go(self);
        }
    }

    /// Whether a lease of ours has this instance.
    pub(super) fn is_leased(&self, record: &str) -> bool {
        lock(&self.leases).values().any(|held| held.has(record))
    }

    /// Deletes an instance, unless somebody uses it after all: then it stays, and this is false.
    pub(super) async fn release(self: &Arc<Self>, record: &Record) -> bool {
        let (core, id) = (Arc::clone(self), record.id.clone());
        let released = tokio::task::spawn_blocking(move || core.provisioner.release(&id)).await;
        match released {
            Ok(Ok(Some(report))) => {
                lock(&self.lines).remove(&record.id);
                lock(&self.released).add(report);
                true
            }
            Ok(Ok(None)) | Err(_) => false,
            // What cannot be deleted now is tried again when the run ends.
            Ok(Err(_)) => false,
        }
    }
}
