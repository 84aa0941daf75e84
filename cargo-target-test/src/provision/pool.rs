//! The pool: the record of every instance that exists or may exist, shared by all processes of a user.
//!
//! Decides who may change the pool and who uses which instance. A lease is decided in three steps: a snapshot (`view`),
//! a pure function of the snapshot (`schedule`), and the locks that it grants (`leasing`). The pool is stored behind a
//! narrow interface (`store`), today in a folder (`store/file`).

// Must not know platforms or playbooks, and never prints.

mod claim;
mod holder;
mod lease;
mod leasing;
mod locked;
mod run;
mod schedule;
mod state;
mod store;
mod ticket;
mod view;

pub use self::{
    claim::{ResourceWant, Want},
    holder::{Holder, Manual, ProcessIdentity, time},
    lease::{LeasedInstance, PoolLease},
    leasing::{LeaseRequest, TryLease},
    run::LivingRun,
    schedule::WaitReason,
    state::{
        Disabled, InstanceFacts, Lifetime, PoolState, Record, RecordEvent, RecordState, Refused,
        VERSION, WhenDirty,
    },
    ticket::Ticket,
};

pub(crate) use self::{
    holder::now,
    lease::{LastHolder, cause_of_death, holder, last_holder, mark_unused, shared_lease},
    leasing::try_lease,
    locked::Locked,
    run::RunFile,
    state::{disabled_key, label_of},
    store::{FileLock, HeldLock, cannot, peek},
};

#[cfg(test)]
pub(crate) use self::state::tests::record as record_for_tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use self::store::{FileStore, PoolStore};
use crate::error::{Error, Result};

/// A pool.
pub struct Pool {
    directory: PathBuf,
    store: Box<dyn PoolStore>,
}

/// A record with its living users.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The record.
    pub record: Record,
    /// The living holder of its lease.
    pub holder: Option<Holder>,
    /// The living runs that use it.
    pub users: Vec<LivingRun>,
    /// The reason that it must not serve for now.
    pub disabled: Option<Disabled>,
}

impl Pool {
    /// Opens the pool in this folder. Makes the folder, private, if it does not exist; removes the files that a crash
    /// left. Records stay as they are.
    ///
    /// # Errors
    /// [`ErrorKind::Pool`](crate::ErrorKind::Pool) if the folder is on a network file system or cannot be written, or
    /// if `pool.json` is damaged or newer than this code. A damaged pool is never replaced by an empty one.
    pub fn open(directory: &Path) -> Result<Self> {
        let store = FileStore::open(directory)?;
        Ok(Self {
            directory: store.directory.clone(),
            store: Box::new(store),
        })
    }

    /// The pool's folder on this host, as an absolute path.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the records as they were last committed.
    ///
    /// # Errors
    /// As [`Pool::open`].
    pub fn state(&self) -> Result<Arc<PoolState>> {
        self.store.state()
    }

    /// Returns all records with their holders and users, by target and index.
    ///
    /// # Errors
    /// As [`Pool::open`].
    pub fn overview(&self) -> Result<Vec<Seen>> {
        let locked = self.lock()?;
        let living = locked.living()?;
        let mut seen = Vec::new();
        for record in locked.state().records.values() {
            let users = living.iter().filter(|run| run.uses.contains(&record.id));
            seen.push(Seen {
                record: record.clone(),
                holder: holder(&locked, record)?,
                users: users.cloned().collect(),
                disabled: locked.state().disabled(record, now()).cloned(),
            });
        }
        seen.sort_by_key(|Seen { record, .. }| {
            let spec = &record.spec;
            (spec.target.clone(), spec.index, record.created)
        });
        Ok(seen)
    }

    /// Begins a transaction, waiting for those of others.
    pub(crate) fn lock(&self) -> Result<Locked<'_>> {
        let transaction = self.store.begin()?;
        Ok(Locked { transaction })
    }

    /// Begins a transaction; `None` if another process has one.
    pub(crate) fn try_lock(&self) -> Result<Option<Locked<'_>>> {
        let transaction = self.store.try_begin()?;
        Ok(transaction.map(|transaction| Locked { transaction }))
    }

    /// The folder of the instances' private folders, on this host.
    pub(crate) fn instances(&self) -> PathBuf {
        self.directory.join("instances")
    }

    /// The private folder of an instance, on this host.
    pub(crate) fn scratch(&self, id: &str) -> PathBuf {
        self.instances().join(id)
    }
}

/// The default pool folder: `$XDG_STATE_HOME/cargo-target-test`, or below `~/.local/state`. It is state and not cache,
/// and outside every `target/`, where `cargo clean` would leak machines.
///
/// # Errors
/// [`ErrorKind::Pool`](crate::ErrorKind::Pool) if neither variable is an absolute path.
pub fn default_directory(state_home: Option<PathBuf>, home: Option<PathBuf>) -> Result<PathBuf> {
    // The specification has relative paths ignored.
    let absolute = |path: &PathBuf| path.is_absolute();
    let state_home = state_home.filter(absolute);
    let home = || Some(home.filter(absolute)?.join(".local/state"));
    let state = state_home.or_else(home).ok_or_else(|| {
        Error::pool("no folder for the pool: `HOME` is not set")
            .with_hint("set one with `--pool DIR` or `TARGET_TEST_POOL`")
    })?;
    Ok(state.join("cargo-target-test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_state() {
        let at = |state: Option<&str>, home: Option<&str>| {
            default_directory(state.map(Into::into), home.map(Into::into)).ok()
        };
        assert_eq!(
            at(Some("/s"), Some("/h")),
            Some("/s/cargo-target-test".into())
        );
        assert_eq!(
            at(Some("s"), Some("/h")),
            Some("/h/.local/state/cargo-target-test".into())
        );
        assert_eq!(at(None, None), None);
    }
}
