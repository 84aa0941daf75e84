//! The pool in a folder: the file store.
//!
//! ```text
//! pool.json              records: identities, states, all that is needed to delete
//! pool.lock              held during a transaction, for milliseconds
//! instances/<id>/        a private folder for the platform
//! instances/<id>.json    a second note of the record, see `pool_json`
//! instances/<id>.lock    held by the process that deploys or deletes the instance
//! leases/<lease>.lock    held by the process that uses the instance
//! runs/<run>.lock        held by a living run; lists the records that the run uses
//! tickets/<n>.lock       held by a process that waits for leases
//! ```

use std::{
    collections::BTreeSet,
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    Lock, LockKind, PoolStore, Taken, Transaction,
    lock::{self, FileLock, cannot},
    pool_json::{self, JsonFile},
};
use crate::{
    error::{Error, Result},
    failpoint,
    provision::pool::state::{PoolState, RecordEvent},
};

/// The time limit for `pool.lock`. Other processes hold it for milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A pool's folder.
pub(crate) struct FileStore {
    /// The folder, as an absolute path.
    pub(crate) directory: PathBuf,
    records: JsonFile,
}

/// The folder while `pool.lock` is held.
struct FileTransaction<'a> {
    store: &'a FileStore,
    state: Arc<PoolState>,
    /// Released when dropped.
    _lock: FileLock,
}

impl FileStore {
    /// Opens the pool in this folder. Creates the folder, private, if it does not exist; removes the files that a crash
    /// left. Records stay unchanged.
    ///
    /// # Errors
    /// [`ErrorKind::Pool`](crate::ErrorKind::Pool) if the folder is on a network file system or cannot be written, or
    /// if `pool.json` is damaged or newer than this code.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        private_folder(directory)?;
        lock::refuse_network(directory)?;
        let directory =
            fs::canonicalize(directory).map_err(|error| cannot("open", directory, error))?;
        let store = Self {
            records: JsonFile::new(directory.join("pool.json")),
            directory,
        };
        for kind in [
            LockKind::Work,
            LockKind::Lease,
            LockKind::Run,
            LockKind::Ticket,
        ] {
            private_folder(&store.folder(kind))?;
        }
        let lock = store.lock()?;
        pool_json::remove_temporary(&store.directory)?;
        let state = match store.records.load()? {
            Some(state) => state,
            None => store
                .records
                .save(pool_json::recover(&store.instances(), random_label())?)?,
        };
        store.remove_unrecorded(&state)?;
        failpoint::point("pool-opened");
        drop(lock);
        Ok(store)
    }

    fn instances(&self) -> PathBuf {
        self.folder(LockKind::Work)
    }

    fn lock(&self) -> Result<FileLock> {
        FileLock::take(&self.lock_file(), PATIENCE)
    }

    fn lock_file(&self) -> PathBuf {
        self.directory.join("pool.lock")
    }

    fn transaction(&self, lock: FileLock) -> Result<Box<dyn Transaction + '_>> {
        Ok(Box::new(FileTransaction {
            _lock: lock,
            state: self.state()?,
            store: self,
        }))
    }

    /// The folder of the locks of this kind.
    fn folder(&self, kind: LockKind) -> PathBuf {
        self.directory.join(match kind {
            LockKind::Lease => "leases",
            LockKind::Work => "instances",
            LockKind::Ticket => "tickets",
            LockKind::Run => "runs",
        })
    }

    fn path(&self, kind: LockKind, name: &str) -> PathBuf {
        self.folder(kind).join(format!("{name}.lock"))
    }

    fn note(&self, id: &str) -> PathBuf {
        self.instances().join(format!("{id}.json"))
    }

    /// Removes the files of instances without a record.
    fn remove_unrecorded(&self, state: &PoolState) -> Result<()> {
        for path in pool_json::list(&self.instances())? {
            // `tt-1f3a9c-12`, `tt-1f3a9c-12.json`, `tt-1f3a9c-12.lock`
            let id = stem(&path);
            if !state.records.contains_key(&id) && !state.lost.contains(&id) {
                remove(&path)?;
            }
        }
        let leases: BTreeSet<&String> =
            state.records.values().map(|record| &record.lease).collect();
        for path in pool_json::list(&self.folder(LockKind::Lease))? {
            let lease = stem(&path);
            // Leases of existing hosts stay: the next holder must find the text of a dead holder.
            if lease.starts_with(&format!("{}-", state.label)) && !leases.contains(&lease) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

impl PoolStore for FileStore {
    fn state(&self) -> Result<Arc<PoolState>> {
        self.records.load()?.ok_or_else(|| {
            let directory = self.directory.display();
            Error::pool(format!("the pool `{directory}` was removed"))
        })
    }

    fn begin(&self) -> Result<Box<dyn Transaction + '_>> {
        self.transaction(self.lock()?)
    }

    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>> {
        let lock = FileLock::try_take(&self.lock_file())?;
        lock.map(|lock| self.transaction(lock)).transpose()
    }
}

impl Transaction for FileTransaction<'_> {
    fn state(&self) -> &Arc<PoolState> {
        &self.state
    }

    fn commit(&mut self, events: Vec<(String, RecordEvent)>) -> Result<()> {
        let before = Arc::clone(&self.state);
        let mut state = PoolState::clone(&before);
        let (mut gone, mut found) = (Vec::new(), Vec::new());
        for (id, event) in events {
            match &event {
                RecordEvent::Plan(record) => {
                    pool_json::note(&self.store.note(&id), record)?;
                    failpoint::point("record-noted");
                }
                RecordEvent::Gone => match before.records.get(&id) {
                    Some(record) => gone.push(record),
                    None => found.push(id.clone()),
                },
                _ => {}
            }
            state
                .step(&id, event)
                .map_err(|refused| Error::pool(format!("`{}`: {}", refused.id, refused.reason)))?;
        }
        self.state = self.store.records.save(state)?;
        for id in found {
            let _ = fs::remove_file(self.store.note(&id));
        }
        for record in gone {
            failpoint::point("record-gone");
            // A file that cannot be removed now is removed when the pool is opened next.
            let _ = fs::remove_file(self.store.note(&record.id));
            if record.lease == record.id {
                let _ = fs::remove_file(self.store.path(LockKind::Lease, &record.lease));
            }
        }
        Ok(())
    }

    fn locks(&self, kind: LockKind) -> Result<Vec<String>> {
        let paths = pool_json::list(&self.store.folder(kind))?;
        let locks = paths.iter().filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "lock")
        });
        Ok(locks.map(|path| stem(path)).collect())
    }

    fn take(&self, kind: LockKind, name: &str, has_ended: &dyn Fn(&str) -> bool) -> Result<Taken> {
        let lock = match FileLock::take_or_text(&self.store.path(kind, name), has_ended)? {
            Ok(lock) => lock,
            Err(text) => return Ok(Taken::Theirs(text)),
        };
        if kind == LockKind::Lease && lock.is_new {
            // Reading a lease does not count as use.
            lock.untouch()?;
        }
        Ok(Taken::Ours(Box::new(lock)))
    }

    fn text(&self, kind: LockKind, name: &str) -> Result<Option<String>> {
        lock::text(&self.store.path(kind, name))
    }
}

/// Creates a folder that only its owner can read.
pub(crate) fn private_folder(path: &Path) -> Result<()> {
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

/// The file name without its extension.
fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Returns a label for a new pool: `tt-` and 26 characters, 128 random bits in base32.
fn random_label() -> String {
    let random = || u128::from(RandomState::new().build_hasher().finish());
    let bits = random() << 64 | random();
    let digit =
        |at: u32| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[(bits >> (5 * at)) as usize & 31]);
    (0..26).map(digit).fold("tt-".to_owned(), |label, digit| {
        label + digit.encode_utf8(&mut [0; 4])
    })
}

#[cfg(test)]
mod tests {
    use super::{super::never, *};

    #[test]
    fn opening_removes_what_a_crash_left_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let label = FileStore::open(dir.path())
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
        let store = FileStore::open(dir.path()).unwrap();
        assert_eq!(store.state().unwrap().label, label);
        assert!(!dir.path().join(".pool.torn").exists());
        assert!(pool_json::list(&store.instances()).unwrap().is_empty());
        let leases = pool_json::list(&store.folder(LockKind::Lease)).unwrap();
        assert_eq!(leases, [store.path(LockKind::Lease, "host-00")]);
        use std::os::unix::fs::PermissionsExt;
        let folder = store.folder(LockKind::Run);
        let mode = fs::metadata(folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    /// Processes of other versions use the same folder at the same time.
    #[test]
    fn the_files_are_where_every_version_looks_for_them() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(dir.path()).unwrap();
        let transaction = store.begin().unwrap();
        let files = [
            (LockKind::Lease, "host-00", "leases/host-00.lock"),
            (LockKind::Work, "tt-1-1", "instances/tt-1-1.lock"),
            (
                LockKind::Ticket,
                "0000000000000001",
                "tickets/0000000000000001.lock",
            ),
            (LockKind::Run, "r", "runs/r.lock"),
        ];
        for (kind, name, file) in files {
            assert_eq!(transaction.text(kind, name).unwrap(), None);
            let take = || transaction.take(kind, name, &never).unwrap();
            let Taken::Ours(lock) = take() else {
                panic!("it is held")
            };
            lock.write("held").unwrap();
            assert_eq!(fs::read_to_string(dir.path().join(file)).unwrap(), "held");
            assert_eq!(transaction.locks(kind).unwrap(), [name]);
            assert!(matches!(take(), Taken::Theirs(text) if text == "held"));
            assert!(
                FileLock::try_take(&dir.path().join(file))
                    .unwrap()
                    .is_none()
            );
            lock.remove();
            assert!(transaction.locks(kind).unwrap().is_empty());
        }
        assert!(store.try_begin().unwrap().is_none());
        drop(transaction);
        assert!(store.try_begin().unwrap().is_some());
    }
}
