//! `pool.json`: read whole, replaced whole.
//!
//! A crash of this tool cannot tear the file: it is replaced by rename, after fsync. Other causes of damage (a full or
//! failing disk, an editor, `rm`) must not lose machines, so each record is also noted in a separate file,
//! `instances/<id>.json`, from before it enters `pool.json` until after it left. A damaged `pool.json` is an error that
//! says to move it away; a missing one is rebuilt from the notes. Then all its records are dirty: a delete needs only
//! their names.

use std::{
    fs::{self, File, Metadata},
    io::{self, ErrorKind as Io, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tempfile::NamedTempFile;

use super::lock::cannot;
use crate::{
    bounded,
    error::{Error, Result},
    failpoint,
    provision::pool::state::{PoolState, Record, RecordState, VERSION},
    sync,
};

/// The prefix of temporary files.
const TEMPORARY: &str = ".pool.";

/// The file, with a cache of its last content.
pub(crate) struct JsonFile {
    path: PathBuf,
    cache: Mutex<Option<Cached>>,
}

/// A state that was read from the file with this stamp. The file stays open, so that no later file can have its inode
/// number; the stamp's times show changes in place.
struct Cached {
    _file: File,
    stamp: [u64; 5],
    state: Arc<PoolState>,
}

impl Cached {
    fn new(_file: File, stamp: [u64; 5], state: PoolState) -> Self {
        let state = Arc::new(state);
        Self {
            _file,
            stamp,
            state,
        }
    }
}

impl JsonFile {
    /// The file at this path. Does not read it.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            cache: Mutex::new(None),
        }
    }

    /// The state in the file; `None` if the file does not exist.
    pub(crate) fn load(&self) -> Result<Option<Arc<PoolState>>> {
        let cannot = |error| cannot("read", &self.path, error);
        let mut cache = sync::lock(&self.cache);
        let now = match fs::metadata(&self.path) {
            Ok(now) => now,
            Err(error) if error.kind() == Io::NotFound => return Ok(None),
            Err(error) => return Err(cannot(error)),
        };
        if let Some(cached) = &*cache
            && cached.stamp == stamp(&now)
        {
            return Ok(Some(cached.state.clone()));
        }
        let file = File::open(&self.path).map_err(cannot)?;
        let stamp = stamp(&file.metadata().map_err(cannot)?);
        let text = bounded::read_all(&file).map_err(cannot)?;
        let state = parse(&self.path, &text)?;
        Ok(Some(
            cache.insert(Cached::new(file, stamp, state)).state.clone(),
        ))
    }

    /// Replaces the file. On return, the state survives a power cut.
    pub(crate) fn save(&self, state: PoolState) -> Result<Arc<PoolState>> {
        let cannot = |error| cannot("write", &self.path, error);
        let mut text = serde_json::to_vec_pretty(&state)
            .map_err(|error| Error::pool("cannot write the pool").with_source(error))?;
        text.push(b'\n');
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let file = temporary(folder, &text).map_err(cannot)?;
        failpoint::point("pool-written-not-renamed");
        let file = file
            .persist(&self.path)
            .map_err(|error| cannot(error.error))?;
        failpoint::point("pool-renamed");
        sync_folder(folder)?;
        let stamp = stamp(&file.metadata().map_err(cannot)?);
        let cached = Cached::new(file, stamp, state);
        Ok(sync::lock(&self.cache).insert(cached).state.clone())
    }
}

/// Writes a temporary file, durably.
fn temporary(folder: &Path, text: &[u8]) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    let mut file = builder.prefix(TEMPORARY).tempfile_in(folder)?;
    file.write_all(text)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Writes the second note of a record, durably.
pub(crate) fn note(path: &Path, record: &Record) -> Result<()> {
    let cannot = |error| cannot("write", path, error);
    let text = serde_json::to_vec_pretty(record)
        .map_err(|error| Error::pool("cannot note a record").with_source(error))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    // Replaced whole: a torn note can only come from a damaged disk.
    let file = temporary(folder, &text).map_err(cannot)?;
    file.persist(path).map_err(|error| cannot(error.error))?;
    sync_folder(folder)
}

/// Returns a pool with the records that are noted in `instances`, all dirty; of damaged notes, only the ids are known.
/// `label` must be new, so that new names differ from those of the lost pool.
pub(crate) fn recover(instances: &Path, label: String) -> Result<PoolState> {
    let mut state = PoolState::new(label);
    for entry in list(instances)? {
        if entry.extension().is_some_and(|kind| kind == "json") {
            let text = match bounded::read(&entry) {
                // No note of ours.
                Err(error) if error.kind() == Io::FileTooLarge => Vec::new(),
                text => text.map_err(|error| cannot("read", &entry, error))?,
            };
            let Ok(mut record) = serde_json::from_slice::<Record>(&text) else {
                let id = entry.file_stem().unwrap_or_default().to_string_lossy();
                state.lost.insert(id.into_owned());
                continue;
            };
            let cause = "`pool.json` was lost".to_owned();
            record.state = RecordState::Dirty { cause };
            state.records.insert(record.id.clone(), record);
        }
    }
    Ok(state)
}

/// Removes the files of interrupted writes. Must be called while `pool.lock` is held, so that no process writes.
pub(crate) fn remove_temporary(folder: &Path) -> Result<()> {
    for entry in list(folder)? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(TEMPORARY) {
            fs::remove_file(&entry).map_err(|error| cannot("remove", &entry, error))?;
        }
    }
    Ok(())
}

/// The paths in a folder, sorted.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let cannot = |error| cannot("list", folder, error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        paths.push(entry.map_err(cannot)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| cannot("write", folder, error))
}

fn stamp(of: &Metadata) -> [u64; 5] {
    let nanoseconds = of.mtime_nsec() as u64;
    [of.dev(), of.ino(), of.len(), of.mtime() as u64, nanoseconds]
}

fn parse(path: &Path, text: &[u8]) -> Result<PoolState> {
    let value: serde_json::Value =
        serde_json::from_slice(text).map_err(|error| damaged(path, error))?;
    let version = value.get("version").and_then(serde_json::Value::as_u64);
    if let Some(version) = version
        && version > u64::from(VERSION)
    {
        return Err(Error::pool(format!(
            "`{}` has version {version}, and this cargo-target-test knows up to {VERSION}",
            path.display()
        ))
        .with_hint("update cargo-target-test, or use another pool: `--pool DIR`"));
    }
    serde_json::from_value(value).map_err(|error| damaged(path, error))
}

fn damaged(path: &Path, error: serde_json::Error) -> Error {
    let path = path.display();
    Error::pool(format!("`{path}` is damaged"))
        .with_source(error)
        .with_hint(format!(
            "`mv {path} {path}.damaged`, then `cargo target-test --delete-targets --all` deletes what \
             was recorded: the pool has a second note of every instance"
        ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::pool::state::tests::record;

    fn store() -> (tempfile::TempDir, JsonFile) {
        let dir = tempfile::tempdir().unwrap();
        let store = JsonFile::new(dir.path().join("pool.json"));
        (dir, store)
    }

    #[test]
    fn another_process_change_is_seen() {
        let (dir, store) = store();
        assert!(store.load().unwrap().is_none());
        let first = store.save(PoolState::new("tt-000001".to_owned())).unwrap();
        assert!(
            Arc::ptr_eq(&first, &store.load().unwrap().unwrap()),
            "from the cache"
        );
        let other = JsonFile::new(dir.path().join("pool.json"));
        for label in ["tt-000002", "tt-000003"] {
            other.save(PoolState::new(label.to_owned())).unwrap();
            assert_eq!(store.load().unwrap().unwrap().label, label);
        }
    }

    /// As the first version wrote it.
    #[test]
    fn a_pool_of_an_older_version_is_read() {
        let (dir, file) = store();
        let text = r#"{
            "version": 1, "label": "tt-1f3a9c", "counter": 12,
            "records": { "tt-1f3a9c-12": {
                "id": "tt-1f3a9c-12",
                "order": {
                    "instance": "alpha-0", "target": "alpha", "index": 0, "label": "tt-1f3a9c",
                    "unique": "tt-1f3a9c-12", "parameters": { "port": 22 }, "directory": "/book",
                    "scratch": "/pool/instances/tt-1f3a9c-12"
                },
                "platform": "command", "made": true, "keys": { "port": "22" }, "hash": "16",
                "features": ["gpu"], "workspace": "/work", "playbook": "/book/x.toml",
                "lease": "tt-1f3a9c-12", "state": { "dirty": { "cause": "broken" } },
                "deployed": null, "kept": true, "created": 7, "ready": 9
            } }
        }"#;
        fs::write(dir.path().join("pool.json"), text).unwrap();
        let state = file.load().unwrap().unwrap();
        let record = &state.records["tt-1f3a9c-12"];
        assert_eq!(
            (record.name(), record.ownership.is_created(), record.kept),
            ("alpha-0", true, true)
        );
        assert_eq!(record.state.cause(), Some("broken"));
        // An unknown owner is nobody's: the record is never collected.
        assert_eq!(record.spec.provenance.owner, "");
        assert_eq!(record.renewal(u64::MAX / 2), None);
    }

    #[test]
    fn damage_is_never_a_fresh_start() {
        let (dir, store) = store();
        store.save(PoolState::new("tt-000001".to_owned())).unwrap();
        let whole = fs::read(dir.path().join("pool.json")).unwrap();
        for text in [
            &b""[..],
            b"nonsense",
            b"{}",
            b"[]",
            &whole[..whole.len() / 2],
        ] {
            fs::write(dir.path().join("pool.json"), text).unwrap();
            let error = store.load().unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Pool);
            assert!(
                error.chain().contains("pool.json` is damaged"),
                "{}",
                error.chain()
            );
            assert!(error.hint().unwrap().contains("--delete-targets"));
        }
        let newer = String::from_utf8(whole)
            .unwrap()
            .replace("\"version\": 1", "\"version\": 9");
        fs::write(dir.path().join("pool.json"), newer).unwrap();
        let error = store.load().unwrap_err();
        assert!(error.chain().contains("version 9"), "{}", error.chain());
        assert!(error.hint().unwrap().contains("update"));
    }

    #[test]
    fn notes_are_enough_to_delete() {
        let dir = tempfile::tempdir().unwrap();
        let noted = record("tt-000001-1", "alpha", 0, "a");
        note(&dir.path().join("tt-000001-1.json"), &noted).unwrap();
        let state = recover(dir.path(), "tt-000002".to_owned()).unwrap();
        assert_eq!(state.records["tt-000001-1"].spec, noted.spec);
        assert_eq!(state.records["tt-000001-1"].state.word(), "dirty");
        fs::write(dir.path().join("tt-000001-2.json"), "{").unwrap();
        let state = recover(dir.path(), "tt-000002".to_owned()).unwrap();
        assert!(state.records.contains_key("tt-000001-1"));
        assert_eq!(state.lost, ["tt-000001-2".to_owned()].into());
        let labels: Vec<_> = state.labels().into_iter().collect();
        assert_eq!(labels, ["tt-000001", "tt-000002"]);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn a_damaged_file_is_read_or_refused(
            at in 0..2000_usize, length in 0..60_usize, insert in proptest::collection::vec(proptest::num::u8::ANY, 0..20),
        ) {
            let mut state = PoolState::new("tt-000001".to_owned());
            let record = record("tt-000001-1", "alpha", 0, "16");
            state.records.insert(record.id.clone(), record);
            let mut text = serde_json::to_vec_pretty(&state).unwrap();
            let at = at % text.len();
            text.splice(at..(at + length).min(text.len()), insert);
            if let Err(error) = parse(Path::new("pool.json"), &text) {
                let message = error.to_string();
                proptest::prop_assert!(
                    message.contains("damaged") || message.contains("has version"), "{message}"
                );
            }
        }
    }
}
