//! The pool while `pool.lock` is held: the only way to change it.
//!
//! Owns that records and the files beside them come and go together. Must not know why.

use std::{fs, sync::Arc};

use super::{
    Pool, Process, file,
    lock::{FileLock, peek},
    private_folder,
    run::{self, LivingRun},
    state::{Event, Record, State},
};
use crate::{
    error::{Error, ErrorKind, Result},
    failpoint,
    secret::redact,
};

/// The pool while this process alone may change it.
pub(crate) struct Locked<'a> {
    pub(super) pool: &'a Pool,
    pub(super) state: Arc<State>,
    /// Let go when dropped.
    pub(super) _lock: FileLock,
}

impl Locked<'_> {
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Has all these events happen, durably and at once, or none.
    pub(crate) fn commit(
        &mut self,
        events: impl IntoIterator<Item = (String, Event)>,
    ) -> Result<()> {
        let mut state = State::clone(&self.state);
        for (id, mut event) in events {
            // Causes quote what programs printed, and the file is plain text.
            if let Event::Spoil(cause) | Event::DeleteFailed(cause) = &mut event {
                redact(cause);
            }
            state.step(&id, event).map_err(|refused| {
                Error::new(
                    ErrorKind::Pool,
                    format!("`{}`: {}", refused.id, refused.reason),
                )
            })?;
        }
        self.state = self.pool.store.save(state)?;
        Ok(())
    }

    /// Plans an instance: note, folder and record are durable after, and the work on it is this process's.
    pub(crate) fn plan(&mut self, record: Record) -> Result<FileLock> {
        let id = record.id.clone();
        let work = self.work(&id)?.ok_or_else(|| {
            Error::new(
                ErrorKind::Pool,
                format!("somebody works on `{id}`, which is new"),
            )
        })?;
        private_folder(&record.order.scratch)?;
        file::note(&self.pool.note(&id), &record)?;
        failpoint::point("record-noted");
        self.commit([(id, Event::Plan(Box::new(record)))])?;
        Ok(work)
    }

    /// Ends a record that is being deleted, and all its files.
    pub(crate) fn forget(&mut self, record: &Record, work: FileLock) -> Result<()> {
        self.commit([(record.id.clone(), Event::Gone)])?;
        failpoint::point("record-gone");
        // What cannot be removed now is removed when the pool is opened next.
        let _ = fs::remove_file(self.pool.note(&record.id));
        if record.lease == record.id {
            let _ = fs::remove_file(self.pool.lease(&record.lease));
        }
        work.remove();
        Ok(())
    }

    /// Takes the right to deploy or delete an instance; `None`: a living process has it.
    pub(crate) fn work(&self, id: &str) -> Result<Option<FileLock>> {
        let ended = |pid: &str| pid.parse().is_ok_and(Process::is_gone);
        let work = FileLock::try_take_from(&self.pool.work(id), ended)?;
        if let Some(lock) = &work {
            lock.write(&std::process::id().to_string())?;
        }
        Ok(work)
    }

    /// Which process deploys or deletes it: `pid 4711`.
    pub(crate) fn worker(&self, id: &str) -> Result<String> {
        Ok(format!("pid {}", peek(&self.pool.work(id))?))
    }

    pub(crate) fn living(&self) -> Result<Vec<LivingRun>> {
        run::living(&self.pool.runs())
    }
}
