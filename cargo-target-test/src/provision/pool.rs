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
mod run;
mod state;
mod ticket;

pub use self::{
    holder::{Holder, Process},
    lease::{Lease, LeaseRequest, LeasedInstance, TryLease},
    run::LivingRun,
    state::{Event, Record, RecordState, Refused, State, VERSION},
    ticket::Ticket,
};

pub(crate) use self::{
    holder::now,
    lease::{Tenant, cause_of_death, holder, shared_lease, tenant, try_lease},
    lock::{FileLock, cannot, peek},
    run::RunFile,
};

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, Hasher, RandomState},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fs_err as fs;

use self::file::Store;
use crate::{
    error::{Error, ErrorKind, Result},
    fault,
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
        let _lock = pool.take()?;
        file::remove_temporary(&pool.directory)?;
        let state = match pool.store.load()? {
            Some(state) => state,
            None => pool
                .store
                .save(file::recover(&pool.instances(), label())?)?,
        };
        pool.remove_unrecorded(&state)?;
        fault::point("pool-opened");
        drop(_lock);
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
        Ok(Locked {
            lock: self.take()?,
            state: self.state()?,
            pool: self,
        })
    }

    fn take(&self) -> Result<FileLock> {
        FileLock::take(&self.directory.join("pool.lock"), PATIENCE)
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

/// The pool while this process alone may change it.
pub(crate) struct Locked<'a> {
    pub(crate) pool: &'a Pool,
    state: Arc<State>,
    #[expect(dead_code, reason = "let go when dropped")]
    lock: FileLock,
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
        for (id, event) in events {
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
        fault::point("record-noted");
        self.commit([(id, Event::Plan(Box::new(record)))])?;
        Ok(work)
    }

    /// Ends a record that is being deleted, and all its files.
    pub(crate) fn forget(&mut self, record: &Record, work: FileLock) -> Result<()> {
        self.commit([(record.id.clone(), Event::Gone)])?;
        fault::point("record-gone");
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
        let work = FileLock::try_take(&self.pool.work(id))?;
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

fn private_folder(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
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

/// `tt-1f3a9c`, random.
fn label() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!("tt-{:06x}", random & 0xff_ffff)
}
