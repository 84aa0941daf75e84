//! Living runs, and the records that each run uses.
//!
//! A run's lock shows that the run lives, its text lists the records that it uses. So the claims of a run end with its
//! process, and a warm start needs no durable write.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    holder::ProcessIdentity,
    store::{HeldLock, LockKind, Taken, Transaction},
};
use crate::error::{Error, Result};

/// The run of this process. Holds its lock until dropped.
#[derive(Debug)]
pub(crate) struct RunFile {
    lock: Option<HeldLock>,
    id: String,
    is_broker: bool,
    uses: Arc<BTreeSet<String>>,
}

/// A living run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LivingRun {
    /// The run's id.
    pub id: String,
    /// The process of the run.
    pub process: ProcessIdentity,
    /// True for a broker, which serves tests that were started without `cargo target-test`.
    #[serde(default)]
    pub is_broker: bool,
    /// Ids of the records that the run uses.
    pub uses: BTreeSet<String>,
}

impl RunFile {
    pub(super) fn start(lock: HeldLock, id: &str, is_broker: bool) -> Result<Self> {
        let mut file = Self {
            lock: Some(lock),
            id: id.to_owned(),
            is_broker,
            uses: Arc::default(),
        };
        file.set_uses(BTreeSet::new())?;
        Ok(file)
    }

    /// The run's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Ids of the records that the run uses.
    pub(crate) fn uses(&self) -> &Arc<BTreeSet<String>> {
        &self.uses
    }

    /// Claims a record. Must be called during a transaction.
    pub(crate) fn add(&mut self, record: &str) -> Result<()> {
        let mut uses = BTreeSet::clone(&self.uses);
        if uses.insert(record.to_owned()) {
            self.set_uses(uses)?;
        }
        Ok(())
    }

    /// Replaces all claims. Must be called during a transaction.
    pub(crate) fn set_uses(&mut self, uses: BTreeSet<String>) -> Result<()> {
        self.uses = Arc::new(uses.clone());
        let run = LivingRun {
            id: self.id.clone(),
            process: ProcessIdentity::current(),
            is_broker: self.is_broker,
            uses,
        };
        let text = serde_json::to_string(&run)
            .map_err(|error| Error::pool("cannot note the run").with_source(error))?;
        self.lock.as_ref().map_or(Ok(()), |lock| lock.write(&text))
    }
}

impl Drop for RunFile {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            lock.remove();
        }
    }
}

/// Returns all living runs, and removes the locks of dead ones.
pub(super) fn living(transaction: &dyn Transaction) -> Result<Vec<LivingRun>> {
    let ids = transaction.locks(LockKind::Run)?;
    let runs = ids.iter().map(|id| read(transaction, id));
    runs.filter_map(Result::transpose).collect()
}

/// Returns the run of this id if it lives, and removes its lock if it is dead.
pub(super) fn find(transaction: &dyn Transaction, id: &str) -> Result<Option<LivingRun>> {
    match transaction.text(LockKind::Run, id)? {
        Some(_) => read(transaction, id),
        None => Ok(None),
    }
}

fn read(transaction: &dyn Transaction, id: &str) -> Result<Option<LivingRun>> {
    let has_ended = |text: &str| {
        let run = serde_json::from_str::<LivingRun>(text);
        run.is_ok_and(|run| run.process.has_ended())
    };
    match transaction.take(LockKind::Run, id, &has_ended)? {
        Taken::Ours(dead) => {
            dead.remove();
            Ok(None)
        }
        Taken::Theirs(text) => Ok(serde_json::from_str(&text).ok()),
    }
}

#[cfg(test)]
mod tests {
    use crate::provision::pool::Pool;

    #[test]
    fn a_run_claims_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::open(dir.path()).unwrap();
        let locked = pool.lock().unwrap();
        let mut run = locked.start_run("one", false).unwrap();
        assert!(locked.start_run("one", false).is_err());
        run.add("tt-1").unwrap();
        let seen = locked.living().unwrap();
        assert_eq!((seen.len(), seen[0].uses.contains("tt-1")), (1, true));
        drop(run);
        assert!(locked.living().unwrap().is_empty());
        let dead = dir.path().join("runs/dead.lock");
        std::fs::write(&dead, "{}").unwrap();
        assert!(locked.living().unwrap().is_empty());
        assert!(!dead.exists());
    }
}
