//! The pool: the record on disk of every instance that exists or may exist, shared by all processes of a user.
//!
//! Owns the pool's folder and who may change it when. Must not know platforms or playbooks, and never prints.
//!
//! ```text
//! pool.json              identities, states, what is needed to delete: what must survive a power cut
//! pool.lock              held while anything here is changed or a lock is taken; never for long
//! instances/<id>/        a private folder for the platform
//! instances/<id>.json    a second note of the record, see `file`
//! instances/<id>.lock    held by the process that deploys or deletes the instance
//! leases/<lease>.lock    held by the process that uses the instance
//! runs/<run>.lock        held by a living run; says which records it uses
//! tickets/<n>.lock       held by who waits for leases
//! ```

mod file;
mod holder;
mod lease;
mod lock;
mod locked;
mod queue;
mod run;
mod state;
mod ticket;

pub use self::{
    holder::{Holder, Manual, Process, time},
    lease::{Lease, LeasedInstance},
    queue::{LeaseRequest, TryLease},
    run::LivingRun,
    state::{Event, Facts, Record, RecordState, Refused, State, VERSION, WhenDirty},
    ticket::Ticket,
};

pub(crate) use self::{
    holder::now,
    lease::{Tenant, cause_of_death, holder, mark_unused, shared_lease, tenant},
    lock::{FileLock, cannot, peek},
    locked::Locked,
    queue::try_lease,
    run::RunFile,
};

#[cfg(test)]
pub(crate) use self::state::tests::record as record_for_tests;

use std::{
    collections::BTreeSet,
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use self::file::Store;
use crate::{
    error::{Error, ErrorKind, Result},
    failpoint,
};

/// How long `pool.lock` may be held by others: they hold it for milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A pool's folder.
pub struct Pool {
    directory: PathBuf,
    store: Store,
}

/// A record with what only the living know of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The record.
    pub record: Record,
    /// Who holds its lease.
    pub holder: Option<Holder>,
    /// The living runs that use it.
    pub users: Vec<LivingRun>,
}

impl Pool {
    /// Opens the pool in this folder, made (private) where it does not exist, and puts away what a crash left
    /// there. Records stay as they are.
    ///
    /// # Errors
    /// [`ErrorKind::Pool`] when the folder is on a network file system or cannot be written, and when `pool.json`
    /// is damaged or newer than this code: never a silent fresh start.
    pub fn open(directory: &Path) -> Result<Self> {
        private_folder(directory)?;
        lock::refuse_network(directory)?;
        let directory =
            fs::canonicalize(directory).map_err(|error| cannot("open", directory, error))?;
        let pool = Self {
            store: Store::new(directory.join("pool.json")),
            directory,
        };
        for folder in [pool.instances(), pool.leases(), pool.runs(), pool.tickets()] {
            private_folder(&folder)?;
        }
        let lock = pool.take()?;
        file::remove_temporary(&pool.directory)?;
        let state = match pool.store.load()? {
            Some(state) => state,
            None => pool
                .store
                .save(file::recover(&pool.instances(), label())?)?,
        };
        pool.remove_unrecorded(&state)?;
        failpoint::point("pool-opened");
        drop(lock);
        Ok(pool)
    }

    /// The folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The pool as it is now.
    ///
    /// # Errors
    /// As [`Pool::open`].
    pub fn state(&self) -> Result<Arc<State>> {
        self.store.load()?.ok_or_else(|| {
            Error::new(
                ErrorKind::Pool,
                format!("the pool `{}` was removed", self.directory.display()),
            )
        })
    }

    /// All records with their holders and users, in the order of their names.
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
            });
        }
        let place = |seen: &Seen| {
            (
                seen.record.order.target.clone(),
                seen.record.order.index,
                seen.record.created,
            )
        };
        seen.sort_by_key(place);
        Ok(seen)
    }

    /// Takes `pool.lock`.
    pub(crate) fn lock(&self) -> Result<Locked<'_>> {
        self.locked(self.take()?)
    }

    /// As [`Pool::lock`]; `None`: another has it.
    pub(crate) fn try_lock(&self) -> Result<Option<Locked<'_>>> {
        let lock = FileLock::try_take(&self.lock_file())?;
        lock.map(|lock| self.locked(lock)).transpose()
    }

    fn locked(&self, lock: FileLock) -> Result<Locked<'_>> {
        Ok(Locked {
            _lock: lock,
            state: self.state()?,
            pool: self,
        })
    }

    fn take(&self) -> Result<FileLock> {
        FileLock::take(&self.lock_file(), PATIENCE)
    }

    fn lock_file(&self) -> PathBuf {
        self.directory.join("pool.lock")
    }

    /// Removes the files of records that are gone, or that never came to be.
    fn remove_unrecorded(&self, state: &State) -> Result<()> {
        for path in file::list(&self.instances())? {
            // `tt-1f3a9c-12`, `tt-1f3a9c-12.json`, `tt-1f3a9c-12.lock`
            let id = path.file_stem().unwrap_or_default().to_string_lossy();
            if !state.records.contains_key(&*id) {
                remove(&path)?;
            }
        }
        let leases: BTreeSet<&String> =
            state.records.values().map(|record| &record.lease).collect();
        for path in file::list(&self.leases())? {
            let lease = path.file_stem().unwrap_or_default().to_string_lossy();
            // Those of hosts that we did not make stay: a dead holder's text must find its next one.
            if lease.starts_with(&format!("{}-", state.label))
                && !leases.contains(&lease.clone().into_owned())
            {
                remove(&path)?;
            }
        }
        Ok(())
    }

    pub(crate) fn instances(&self) -> PathBuf {
        self.directory.join("instances")
    }

    /// The private folder of an instance.
    pub(crate) fn scratch(&self, id: &str) -> PathBuf {
        self.instances().join(id)
    }

    fn leases(&self) -> PathBuf {
        self.directory.join("leases")
    }

    pub(crate) fn lease(&self, name: &str) -> PathBuf {
        self.leases().join(format!("{name}.lock"))
    }

    pub(crate) fn runs(&self) -> PathBuf {
        self.directory.join("runs")
    }

    pub(crate) fn tickets(&self) -> PathBuf {
        self.directory.join("tickets")
    }

    fn work(&self, id: &str) -> PathBuf {
        self.instances().join(format!("{id}.lock"))
    }

    fn note(&self, id: &str) -> PathBuf {
        self.instances().join(format!("{id}.json"))
    }
}

fn private_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| cannot("make the folder", path, error))
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.map_err(|error| cannot("remove", path, error))
}

/// Where the pool is when nobody says otherwise: `$XDG_STATE_HOME/cargo-target-test`, or below `~/.local/state`.
/// State and not cache, and outside every `target/`: `cargo clean` would leak machines.
///
/// # Errors
/// [`ErrorKind::Pool`] when there is neither variable.
pub fn default_directory(state_home: Option<PathBuf>, home: Option<PathBuf>) -> Result<PathBuf> {
    // The specification has relative paths ignored.
    let absolute = |path: &PathBuf| path.is_absolute();
    let state_home = state_home.filter(absolute);
    let home = || Some(home.filter(absolute)?.join(".local/state"));
    let state = state_home.or_else(home).ok_or_else(|| {
        Error::new(
            ErrorKind::Pool,
            "there is no folder for the pool: `HOME` is not set",
        )
        .with_hint("`--pool DIR` or `TARGET_TEST_POOL` names one")
    })?;
    Ok(state.join("cargo-target-test"))
}

/// `tt-1f3a9c`, random.
fn label() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("tt-{:06x}", random & 0xff_ffff)
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

    #[test]
    fn opening_puts_away_what_a_crash_left_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let label = Pool::open(dir.path())
            .unwrap()
            .state()
            .unwrap()
            .label
            .clone();
        fs::write(dir.path().join(".pool.torn"), "{").unwrap();
        fs::create_dir(dir.path().join(format!("instances/{label}-1"))).unwrap();
        fs::write(dir.path().join(format!("instances/{label}-1.json")), "{").unwrap();
        fs::write(dir.path().join(format!("leases/{label}-1.lock")), "").unwrap();
        fs::write(dir.path().join("leases/host-00.lock"), "dead").unwrap();
        let pool = Pool::open(dir.path()).unwrap();
        assert_eq!(pool.state().unwrap().label, label);
        assert!(!dir.path().join(".pool.torn").exists());
        assert!(file::list(&pool.instances()).unwrap().is_empty());
        assert_eq!(file::list(&pool.leases()).unwrap(), [pool.lease("host-00")]);
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(pool.runs()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
