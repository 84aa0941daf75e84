//! The interface between the pool and its storage: records, and locks with a text.
//!
//! It is only as wide as two kinds of store need. In a folder (`file`, the only one so far), records are one JSON file,
//! and a lock is a file that the kernel locks. In a database, records are rows, a lock is a row that expires unless its
//! holder renews it, and a transaction is a transaction of the database. The store knows only names and texts; leases,
//! tickets, runs and deploys are the pool's.

mod file;
mod lock;
mod pool_json;

use std::{fmt, sync::Arc, time::SystemTime};

pub(super) use self::file::{FileStore, private_folder};
pub(crate) use self::lock::{FileLock, cannot, peek};
use super::state::{PoolState, RecordEvent};
use crate::error::Result;

/// The storage of a pool.
pub(crate) trait PoolStore: Send + Sync {
    /// The records as they were last committed.
    ///
    /// # Errors
    /// [`ErrorKind::Pool`](crate::ErrorKind::Pool) if they cannot be read; the same for all methods of this trait.
    fn state(&self) -> Result<Arc<PoolState>>;

    /// Begins a transaction; waits for transactions of other processes.
    fn begin(&self) -> Result<Box<dyn Transaction + '_>>;

    /// Begins a transaction; `None` if another process is in one.
    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>>;
}

/// The right to change the pool: no other process changes records or takes locks until this is dropped. Locks can be
/// released at any time.
pub(crate) trait Transaction {
    /// The records.
    fn state(&self) -> &Arc<PoolState>;

    /// Applies all events, durably and at once, or none of them.
    fn commit(&mut self, events: Vec<(String, RecordEvent)>) -> Result<()>;

    /// The names of all locks of this kind, sorted; held or not.
    fn locks(&self, kind: LockKind) -> Result<Vec<String>>;

    /// Takes a lock, and creates it if it does not exist. `has_ended` decides from the text of a held lock if its
    /// holder has ended; such a holder gets a moment to lose its lock.
    fn take(&self, kind: LockKind, name: &str, has_ended: &dyn Fn(&str) -> bool) -> Result<Taken>;

    /// The text of a lock, held or not; `None` if the lock does not exist.
    fn text(&self, kind: LockKind, name: &str) -> Result<Option<String>>;
}

/// The purpose of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockKind {
    /// The use of an instance. Named by [`Record::lease`](super::Record::lease); the text is a
    /// [`Holder`](super::Holder).
    Lease,
    /// The right to deploy or delete an instance. Named by the record's id; the text is the process's number.
    Work,
    /// A place in the queue. Named by its number; the text is a `Claim`.
    Ticket,
    /// A living run. Named by its id; the text is a [`LivingRun`](super::LivingRun).
    Run,
}

/// The result of taking a lock.
pub(crate) enum Taken {
    Ours(HeldLock),
    /// A living process holds the lock, which has this text.
    Theirs(String),
}

impl Taken {
    /// The lock, if this process took it.
    pub(super) fn ours(self) -> Option<HeldLock> {
        match self {
            Self::Ours(lock) => Some(lock),
            Self::Theirs(_) => None,
        }
    }
}

/// A lock that this process holds until it is dropped or the process ends.
pub(crate) type HeldLock = Box<dyn Lock>;

/// The methods of a [`HeldLock`].
pub(crate) trait Lock: fmt::Debug + Send + Sync {
    /// The text; after a dead holder, that holder's text.
    fn text(&self) -> Result<String>;

    /// Replaces the text.
    fn write(&self, text: &str) -> Result<()>;

    /// The time at which the text was last written or cleared; `None` if the lock counts as unused.
    fn touched(&self) -> Option<SystemTime>;

    /// Makes the lock count as unused until the text is written again.
    fn untouch(&self) -> Result<()>;

    /// Deletes the lock and releases it.
    fn remove(self: Box<Self>);
}

/// For [`Transaction::take`]: a holder counts as ended only when it lost its lock.
pub(super) fn never(_: &str) -> bool {
    false
}
