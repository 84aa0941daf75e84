//! Marks an instance dirty: in the pool, in the run's events, and by closing its connection.

use std::sync::Arc;

use super::Context;
use crate::{case::reason::DirtyReason, provision::pool::Record, run_event::RunEventKind};

impl Context {
    /// Marks the instance dirty: it must not serve again before it is recycled.
    pub(in crate::provision) async fn mark_dirty(
        self: &Arc<Self>,
        record: &Record,
        reason: DirtyReason,
    ) {
        self.disconnect(&record.id);
        let (context, id, cause) = (Arc::clone(self), record.id.clone(), reason.to_string());
        self.emit(RunEventKind::Dirty {
            instance: record.name().to_owned(),
            reason,
        });
        let marked = tokio::task::spawn_blocking(move || context.run.mark_dirty(&id, &cause));
        if let Ok(Err(error)) = marked.await {
            self.progress(&error.chain());
        }
    }
}
