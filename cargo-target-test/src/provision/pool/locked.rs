//! The pool during a transaction, for the rest of `provision`.
//!
//! Keeps records and their locks consistent.

use super::{
    holder::ProcessIdentity,
    run::{self, LivingRun, RunFile},
    state::{PoolState, Record, RecordEvent},
    store::{HeldLock, LockKind, Taken, Transaction, never, private_folder},
};
use crate::{
    error::{Error, Result},
    secret::redact,
};

/// The pool while only this process may change it.
pub(crate) struct Locked<'a> {
    pub(super) transaction: Box<dyn Transaction + 'a>,
}

impl Locked<'_> {
    /// The records.
    pub(crate) fn state(&self) -> &PoolState {
        self.transaction.state()
    }

    /// Applies all events, durably and at once, or none of them.
    pub(crate) fn commit(
        &mut self,
        events: impl IntoIterator<Item = (String, RecordEvent)>,
    ) -> Result<()> {
        let redacted = |(id, mut event)| {
            // Causes quote the output of programs; the store is plain text.
            if let RecordEvent::MarkDirty(cause) | RecordEvent::DeleteFailed(cause) = &mut event {
                redact(cause);
            }
            (id, event)
        };
        self.transaction
            .commit(events.into_iter().map(redacted).collect())
    }

    /// Plans an instance. On return, its record is durable, its private folder exists, and this process has the right
    /// to work on it.
    pub(crate) fn plan(&mut self, record: Record) -> Result<HeldLock> {
        let id = record.id.clone();
        let work = self.work(&id)?.ok_or_else(|| {
            Error::pool(format!("the new record `{id}` is already being worked on"))
        })?;
        private_folder(&record.spec.scratch)?;
        self.commit([(id, RecordEvent::Plan(Box::new(record)))])?;
        Ok(work)
    }

    /// Removes the record and all files of a deleted instance.
    pub(crate) fn forget(&mut self, record: &Record, work: HeldLock) -> Result<()> {
        self.commit([(record.id.clone(), RecordEvent::Gone)])?;
        work.remove();
        Ok(())
    }

    /// Takes the right to deploy or delete an instance; `None` if a living process has it.
    pub(crate) fn work(&self, id: &str) -> Result<Option<HeldLock>> {
        Ok(self.take(LockKind::Work, id)?.ok())
    }

    /// Takes the right to prepare the machine of this lease. If a living process has it, returns the process's number
    /// as `Err`. The lock's file stays, as that of an existing machine's lease does.
    pub(crate) fn preparing(&self, lease: &str) -> Result<std::result::Result<HeldLock, String>> {
        self.take(LockKind::Lease, &format!("{lease}-preparing"))
    }

    /// Takes a lock for this process. If a living process has it, returns the process's number as `Err`.
    fn take(&self, kind: LockKind, name: &str) -> Result<std::result::Result<HeldLock, String>> {
        let has_ended = |pid: &str| pid.parse().is_ok_and(ProcessIdentity::is_gone);
        match self.transaction.take(kind, name, &has_ended)? {
            Taken::Ours(lock) => {
                lock.write(&std::process::id().to_string())?;
                Ok(Ok(lock))
            }
            Taken::Theirs(pid) => Ok(Err(pid)),
        }
    }

    /// The process that deploys or deletes an instance: `pid 4711`.
    pub(crate) fn worker(&self, id: &str) -> Result<String> {
        let pid = self.transaction.text(LockKind::Work, id)?;
        Ok(format!("pid {}", pid.unwrap_or_default()))
    }

    /// Starts a run.
    ///
    /// # Errors
    /// [`ErrorKind::Pool`](crate::ErrorKind::Pool) if a living run has this id.
    pub(crate) fn start_run(&self, id: &str, is_broker: bool) -> Result<RunFile> {
        let lock = self.transaction.take(LockKind::Run, id, &never)?;
        let lock = lock
            .ours()
            .ok_or_else(|| Error::pool(format!("run `{id}` is already active")))?;
        RunFile::start(lock, id, is_broker)
    }

    /// All living runs.
    pub(crate) fn living(&self) -> Result<Vec<LivingRun>> {
        run::living(&*self.transaction)
    }
}
