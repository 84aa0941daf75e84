//! Living runs, and which records each uses.
//!
//! Owns `runs/<run>.lock`: the lock says that the run lives, the lines in the file what it uses. So the end of a
//! run, however it comes, ends its claims, and a warm start writes nothing that must be durable.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    file::list,
    holder::Process,
    lock::{FileLock, peek},
};
use crate::error::{Error, ErrorKind, Result};

/// The own run's file; its lock is held for as long as this lives.
#[derive(Debug)]
pub(crate) struct RunFile {
    lock: Option<FileLock>,
    run: LivingRun,
}

/// A run that lives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LivingRun {
    /// The run's id.
    pub id: String,
    /// Its process.
    pub process: Process,
    /// Ids of the records that it uses.
    pub uses: BTreeSet<String>,
}

impl RunFile {
    /// Starts a run. `pool.lock` is held by the caller, here and below.
    pub(crate) fn create(runs: &Path, id: &str) -> Result<Self> {
        let lock = FileLock::try_take(&file(runs, id))?
            .ok_or_else(|| Error::new(ErrorKind::Pool, format!("there is a living run `{id}`")))?;
        let mut file = Self {
            lock: Some(lock),
            run: LivingRun {
                id: id.to_owned(),
                process: Process::current(),
                uses: BTreeSet::new(),
            },
        };
        file.set_uses(BTreeSet::new())?;
        Ok(file)
    }

    pub(crate) fn id(&self) -> &str {
        &self.run.id
    }

    pub(crate) fn uses(&self) -> &BTreeSet<String> {
        &self.run.uses
    }

    /// Claims a record.
    pub(crate) fn add(&mut self, record: &str) -> Result<()> {
        let mut uses = self.run.uses.clone();
        if uses.insert(record.to_owned()) {
            self.set_uses(uses)?;
        }
        Ok(())
    }

    /// Replaces all claims.
    pub(crate) fn set_uses(&mut self, uses: BTreeSet<String>) -> Result<()> {
        self.run.uses = uses;
        let text = serde_json::to_string(&self.run).map_err(|error| {
            Error::new(ErrorKind::Pool, "cannot note the run").with_source(error)
        })?;
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

/// All living runs; the files of dead ones are removed.
pub(crate) fn living(runs: &Path) -> Result<Vec<LivingRun>> {
    let runs = list(runs)?.into_iter().map(|path| read(&path));
    Ok(runs
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

/// The run of this id, if it lives.
pub(crate) fn find(runs: &Path, id: &str) -> Result<Option<LivingRun>> {
    let path = file(runs, id);
    match path.exists() {
        true => read(&path),
        false => Ok(None),
    }
}

fn file(runs: &Path, id: &str) -> PathBuf {
    runs.join(format!("{id}.lock"))
}

/// The run of this file; that of a dead one is removed.
fn read(path: &Path) -> Result<Option<LivingRun>> {
    let ended = |text: &str| {
        let run = serde_json::from_str::<LivingRun>(text);
        run.is_ok_and(|run| run.process.has_ended())
    };
    if let Some(dead) = FileLock::try_take_from(path, ended)? {
        dead.remove();
        return Ok(None);
    }
    Ok(serde_json::from_str(&peek(path)?).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_claims_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let mut run = RunFile::create(dir.path(), "one").unwrap();
        assert!(RunFile::create(dir.path(), "one").is_err());
        run.add("tt-1").unwrap();
        let seen = living(dir.path()).unwrap();
        assert_eq!((seen.len(), seen[0].uses.contains("tt-1")), (1, true));
        drop(run);
        assert!(living(dir.path()).unwrap().is_empty());
        std::fs::write(dir.path().join("dead.lock"), "{}").unwrap();
        assert!(living(dir.path()).unwrap().is_empty());
        assert!(list(dir.path()).unwrap().is_empty());
    }
}
