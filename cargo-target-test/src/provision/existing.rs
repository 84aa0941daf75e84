//! A provisioner of existing instances, which are leased as they are and given back at the end.
//!
//! Must not deploy, and never prints.

use std::{path::Path, sync::Arc, time::Duration};

use super::{
    BoxFuture, Lease, PoolRun, Provisioner, Request, RunInfo, WaitNotice,
    instances::{Context, Source, Waits},
    pool::{Pool, Record, RecordState},
};
use crate::{
    error::{Error, Result},
    run_event::CleanUp,
    sync,
};

/// The pause between two checks of a deploy by another process.
const POLL: Duration = Duration::from_millis(100);
/// The time until the first notice about a wait, and the time between further notices.
const QUIET: Duration = Duration::from_millis(300);
const APART: Duration = Duration::from_secs(5);

/// Instances of one target and one definition that are in the pool. A request can get any of these, whatever target it
/// names, but no other instance of the target.
pub struct Existing {
    context: Arc<Context>,
    source: Source,
}

impl Existing {
    /// Claims these records: no process deletes them while this value exists.
    ///
    /// # Errors
    /// When the pool cannot be used.
    pub fn new(pool: Pool, run: RunInfo, records: Vec<Record>) -> Result<Self> {
        let run = PoolRun::new(pool, run)?;
        run.claim_existing(records.iter().map(|record| record.id.as_str()))?;
        let context = Context::new(run, Path::new(""), Box::new(|_| {}));
        Ok(Self {
            context: Arc::new(context),
            source: Source::Existing(records),
        })
    }

    /// Ends the claims on all records but one, so that other processes can delete them.
    ///
    /// # Errors
    /// When the pool cannot be used.
    pub async fn leave_others(&self, record: &str) -> Result<CleanUp> {
        let (context, record) = (Arc::clone(&self.context), record.to_owned());
        sync::blocking(move || context.run.leave_others(&record)).await
    }
}

impl Provisioner for Existing {
    fn acquire(&self, request: Request) -> BoxFuture<'_, Result<Lease>> {
        Box::pin(async move { self.context.acquire(&self.source, &request).await })
    }

    /// Ignores `keep`: instances that a run keeps stay; others are deleted if no process uses them.
    fn finish(&self, _keep: bool) -> BoxFuture<'_, Result<CleanUp>> {
        Box::pin(leave(&self.context))
    }
}

/// Ends all claims of the run.
pub(super) async fn leave(context: &Arc<Context>) -> Result<CleanUp> {
    let context = Arc::clone(context);
    sync::blocking(move || context.run.leave()).await
}

/// The times of the notices about a wait for an existing instance.
pub(super) fn notice() -> WaitNotice {
    WaitNotice::even(QUIET, APART)
}

/// The name to show for a wait: the instance, or the target of several instances.
pub(super) fn name(records: &[Record]) -> String {
    match records {
        [one] => one.name().to_owned(),
        [first, ..] => first.spec.target.clone(),
        [] => String::new(),
    }
}

/// Describes the holder of an instance: once with text that stays the same for one holder, and once for people. With
/// several instances, returns the pool's own text.
pub(super) fn words(run: &PoolRun, records: &[Record], text: &str) -> Result<(String, String)> {
    let seen = match records {
        [one] => {
            let mut seen = run.pool().overview()?.into_iter();
            seen.find(|seen| seen.record.id == one.id)
        }
        _ => None,
    };
    Ok(match seen.and_then(|seen| seen.holder) {
        Some(holder) => (
            format!("{} {}", holder.process.pid, holder.case),
            format!("held by {}", holder.describe()),
        ),
        None => (text.to_owned(), text.to_owned()),
    })
}

/// Describes the process that deploys one of the records.
///
/// # Errors
/// Fails if none of the records can serve any more.
pub(super) fn coming(run: &PoolRun, records: &[Record]) -> Result<Waits> {
    let locked = run.pool().lock()?;
    let mut why = None;
    for wanted in records {
        let name = wanted.name();
        let Some(record) = locked.state().records.get(&wanted.id) else {
            why.get_or_insert(format!("`{name}` was removed from the pool meanwhile"));
            continue;
        };
        let state = &record.state;
        let coming = !matches!(
            state,
            RecordState::Dirty { .. } | RecordState::Deleting { .. }
        );
        if coming && locked.work(&record.id)?.is_none() {
            let worker = locked.worker(&record.id)?;
            return Ok(Waits {
                text: format!("`{name}` is {state} ({worker})"),
                again: POLL,
            });
        }
        why.get_or_insert(format!("`{name}` is {state}"));
    }
    Err(Error::infra(why.unwrap_or_default()))
}
