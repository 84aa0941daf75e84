//! The seam between the pool and where it is kept: records, and locks with a text.
//!
//! It is only as wide as two kinds of store both need. In a folder (`file`, the only one so far), records are one
//! JSON file and a lock is a file that the kernel locks. In a database, records are rows, a lock is a row that expires
//! unless its holder renews it, and a transaction is one of the database's. All that leases, tickets, runs and deploys
//! mean is above the seam; the store knows names and texts.

mod file;
mod lock;
mod pool_json;

use std::{fmt, sync::Arc, time::SystemTime};

pub(super) use self::file::{FileStore, private_folder};
pub(crate) use self::lock::{FileLock, cannot, peek};
use super::state::{PoolState, RecordEvent};
use crate::error::Result;

/// A place that keeps a pool.
pub(crate) trait PoolStore: Send + Sync {
    /// Returns the records as they were last committed.
    ///
    /// # Errors
    /// [`ErrorKind::Pool`](crate::ErrorKind::Pool) if they cannot be read; so for all methods here.
    fn state(&self) -> Result<Arc<PoolState>>;

    /// Begins a transaction, waiting for those of others.
    fn begin(&self) -> Result<Box<dyn Transaction + '_>>;

    /// Begins a transaction; `None` if another process has one.
    fn try_begin(&self) -> Result<Option<Box<dyn Transaction + '_>>>;
}

/// The right to change the pool: nobody else changes records or takes locks until it is dropped. Locks are released at
/// any time.
pub(crate) trait Transaction {
    /// The records.
    fn state(&self) -> &Arc<PoolState>;

    /// Applies all events, durably and at once, or none of them.
    fn commit(&mut self, events: Vec<(String, RecordEvent)>) -> Result<()>;

    /// Returns the names of all locks of this kind, sorted; held or not.
    fn locks(&self, kind: LockKind) -> Result<Vec<String>>;

    /// Takes a lock, and makes it if it does not exist. `has_ended` judges the text of a lock that is held: a holder
    /// that has ended is given a moment to lose its lock.
    fn take(&self, kind: LockKind, name: &str, has_ended: &dyn Fn(&str) -> bool) -> Result<Taken>;

    /// Returns the text of a lock, held or not; `None` if it does not exist.
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

/// The outcome of taking a lock.
pub(crate) enum Taken {
    Ours(HeldLock),
    /// A living process holds the lock, which has this text.
    Theirs(String),
}

impl Taken {
    /// The lock, if it is ours now.
    pub(super) fn ours(self) -> Option<HeldLock> {
        match self {
            Self::Ours(lock) => Some(lock),
            Self::Theirs(_) => None,
        }
    }
}

/// A lock that this process holds, until it is dropped or the process ends in any way.
pub(crate) type HeldLock = Box<dyn Lock>;

/// The methods of a [`HeldLock`].
pub(crate) trait Lock: fmt::Debug + Send + Sync {
    /// Returns the text; after a holder that died, that holder's.
    fn text(&self) -> Result<String>;

    /// Replaces the text.
    fn write(&self, text: &str) -> Result<()>;

    /// The time at which the text was last written or cleared; `None` if the lock counts as never used.
    fn touched(&self) -> Option<SystemTime>;

    /// Makes the lock count as never used, until the text is written again.
    fn untouch(&self) -> Result<()>;

    /// Deletes the lock and releases it.
    fn remove(self: Box<Self>);
}

/// For [`Transaction::take`]: a holder is only gone once it lost its lock.
pub(super) fn never(_: &str) -> bool {
    false
}
