//! The database file: opening, schema, and the removal of a damaged file from its place.
//!
//! Must not know what is stored.

use std::{
    fs::{File, TryLockError},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use rusqlite::{
    Connection, Error, ErrorCode, OpenFlags, Result, TransactionBehavior, config::DbConfig,
};

/// The schema: each text leads from one version to the next.
const MIGRATIONS: &[&str] = &[
    include_str!("schema-1.sql"),
    include_str!("schema-2.sql"),
    include_str!("schema-3.sql"),
    include_str!("schema-4.sql"),
];
/// The time limit for other processes that create the file or set it aside.
const PATIENCE: Duration = Duration::from_secs(2);
/// The interval between two attempts to lock.
const POLL: Duration = Duration::from_millis(5);

/// Opens the file, which must exist, for reading. Waits at most `patience` for a writer.
pub(super) fn open_to_read(path: &Path, patience: Duration) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(patience)?;
    Ok(connection)
}

/// Opens the file, creates it and its folder if they do not exist, and brings its schema up to date.
pub(super) fn open_to_write(path: &Path, patience: Duration) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if let Some(folder) = path.parent() {
        // Opening fails, too.
        let _ = std::fs::create_dir_all(folder);
    }
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(patience)?;
    // A checkpoint waits for the disk. It is left to one of many commits.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    if version(&connection)? != latest() {
        let _lock = lock(path)?;
        migrate(&mut connection, MIGRATIONS)?;
    }
    connection.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;")?;
    Ok(connection)
}

/// True if the file has the schema of this program.
pub(super) fn is_current(connection: &Connection) -> Result<bool> {
    Ok(version(connection)? == latest())
}

/// True if the error says that the file is damaged.
pub(super) fn is_damage(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// True if the error says that another process held the file for too long.
pub(super) fn is_locked(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// The file at a path, to tell it from its successor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct FileIdentity(u64, u64);

impl FileIdentity {
    /// The file at `path`; `None` if there is none.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let found = path.metadata().ok()?;
        Some(Self(found.dev(), found.ino()))
    }
}

/// Renames a damaged file, with its log; returns the new path, or `None` if another process has done so.
pub(super) fn set_aside(path: &Path, damaged: FileIdentity) -> Result<Option<PathBuf>> {
    let _lock = lock(path)?;
    if FileIdentity::of(path) != Some(damaged) {
        return Ok(None);
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default().as_millis();
    let aside = with_suffix(path, &format!(".damaged-{now}"));
    // The log first: it must not be applied to the successor.
    let _ = std::fs::rename(with_suffix(path, "-wal"), with_suffix(&aside, "-wal"));
    let _ = std::fs::remove_file(with_suffix(path, "-shm"));
    std::fs::rename(path, &aside).map_err(|_| Error::InvalidPath(path.to_owned()))?;
    Ok(Some(aside))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Takes the lock beside the file. It is released when the value is dropped.
fn lock(path: &Path) -> Result<File> {
    let failed = |_| Error::InvalidPath(path.to_owned());
    let file = File::create(with_suffix(path, ".lock")).map_err(failed)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(POLL),
            Err(_) => return Err(Error::InvalidPath(path.to_owned())),
        }
    }
}

fn latest() -> usize {
    MIGRATIONS.len()
}

fn version(connection: &Connection) -> Result<usize> {
    connection.pragma_query_value(None, "user_version", |row| {
        let version: u32 = row.get(0)?;
        Ok(version as usize)
    })
}

/// Applies what is missing of `migrations`, all or nothing.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<()> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if mode != "wal" {
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    }
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let from = version(&change)?;
    let Some(missing) = migrations.get(from..) else {
        let message = format!("it was written by a newer version of this program ({from})");
        return Err(Error::ToSqlConversionFailure(message.into()));
    };
    for migration in missing {
        change.execute_batch(migration)?;
    }
    change.pragma_update(
        None,
        "user_version",
        u32::try_from(migrations.len()).unwrap_or(0),
    )?;
    change.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn an_older_schema_is_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let mut old = Connection::open(&path).unwrap();
        migrate(&mut old, &MIGRATIONS[..1]).unwrap();
        let run = "INSERT INTO runs (repository, run, started, tool, workspace, options) \
                   VALUES ('r', 'a', 1, '0', '/w', '[]')";
        old.execute_batch(run).unwrap();
        assert_eq!(version(&old).unwrap(), 1);
        let new = open_to_write(&path, PATIENCE).unwrap();
        assert!(is_current(&new).unwrap());
        let runs: String = new
            .query_row("SELECT run FROM runs", [], |row| row.get(0))
            .unwrap();
        assert_eq!(runs, "a");
        let index = "SELECT count(*) FROM sqlite_schema WHERE name = 'runs_by_start'";
        let indices: u32 = new.query_row(index, [], |row| row.get(0)).unwrap();
        assert_eq!(indices, 1);
    }

    #[test]
    fn a_newer_schema_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let mut newer = Connection::open(&path).unwrap();
        let migrations = [MIGRATIONS, &["CREATE TABLE more (x)"]].concat();
        migrate(&mut newer, &migrations).unwrap();
        let error = open_to_write(&path, PATIENCE).unwrap_err();
        assert!(error.to_string().contains("newer version"), "{error}");
        assert_eq!(version(&newer).unwrap(), migrations.len());
        assert!(!is_damage(&error));
    }

    #[test]
    fn several_create_one_file_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| open_to_write(&path, PATIENCE).expect("opened"));
            }
        });
        assert!(is_current(&open_to_read(&path, PATIENCE).unwrap()).unwrap());
    }

    #[test]
    fn only_the_damaged_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        std::fs::write(&path, "not a database, but long enough for one").unwrap();
        let damaged = FileIdentity::of(&path).unwrap();
        let error = open_to_write(&path, PATIENCE).unwrap_err();
        assert!(is_damage(&error), "{error}");
        let aside = set_aside(&path, damaged).unwrap().expect("renamed");
        drop(open_to_write(&path, PATIENCE).unwrap());
        assert_eq!(set_aside(&path, damaged).unwrap(), None);
        assert!(std::fs::read_to_string(aside).unwrap().starts_with("not a"));
    }
}
