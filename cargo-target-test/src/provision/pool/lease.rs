//! Leases: the exclusive right to use instances, for as long as the holder lives.
//!
//! The lock is the lease, and its text names the holder; a text without a lock is from a holder that died. `schedule`
//! decides who gets a lease next.

use std::{collections::BTreeSet, time::Duration};

use sha2::Digest;

use super::{
    Locked,
    holder::Holder,
    state::Record,
    store::{HeldLock, LockKind, Taken, Transaction, never},
    view::LeaseState,
};
use crate::{
    digest,
    error::{Error, Result},
    failpoint,
};

/// The exclusive right to use instances. Ends when it is dropped, or when the process ends.
#[derive(Debug)]
pub struct PoolLease {
    /// The requested instances.
    pub instances: Vec<LeasedInstance>,
    locks: Vec<HeldLock>,
    swept: bool,
    /// Ids of the records that are given back as unused.
    unused: BTreeSet<String>,
}

/// A leased instance.
#[derive(Clone, Debug)]
pub struct LeasedInstance {
    /// The record; its state is ready.
    pub record: Record,
    /// The last holder, if it died. Processes that its lease and the leases in `unswept` started on the instance must
    /// be killed first.
    pub died: Option<Holder>,
    /// The time since the last lease ended; `None` if the instance was never used.
    pub idle: Option<Duration>,
}

impl PoolLease {
    /// Ends the lease; the same as dropping it.
    pub fn release(self) {}

    /// Sets whether the instances are free of processes that must be killed. Initially false if the last holder died.
    /// If a lease ends while this is false, its holder is treated as dead.
    pub fn set_swept(&mut self, swept: bool) {
        self.swept = swept;
    }

    /// Returns the instance of this record as if this lease had not used it.
    pub fn set_unused(&mut self, record: String) {
        self.unused.insert(record);
    }
}

impl Drop for PoolLease {
    fn drop(&mut self) {
        for (leased, lock) in self.instances.iter().zip(self.locks.drain(..)) {
            // Otherwise, and after a failure, the text stays. The next holder then treats this one as dead, which is
            // safe.
            if self.swept {
                let _ = lock.write("");
                if self.unused.contains(&leased.record.id) {
                    let _ = lock.untouch();
                }
            }
            failpoint::point("lease-cleared");
        }
    }
}

/// The lock of a free lease, taken but without a new text.
pub(super) struct FreeLease {
    lock: HeldLock,
    died: Option<Holder>,
    idle: Option<Duration>,
}

impl FreeLease {
    pub(super) fn state(&self) -> LeaseState {
        match &self.died {
            Some(holder) => LeaseState::HolderDied(holder.clone()),
            None => LeaseState::Free {
                unused: self.idle.is_none(),
            },
        }
    }

    /// Releases the lease and removes the text of a dead holder.
    pub(super) fn clear(self) -> Result<()> {
        self.lock.write("")
    }
}

/// Takes a lease. If a living process holds it, returns that holder as `Err`.
pub(super) fn take(
    transaction: &dyn Transaction,
    lease: &str,
) -> Result<std::result::Result<FreeLease, Holder>> {
    let lock = match transaction.take(LockKind::Lease, lease, &never)? {
        Taken::Ours(lock) => lock,
        Taken::Theirs(text) => return Ok(Err(Holder::read(&text))),
    };
    let text = lock.text()?;
    Ok(Ok(FreeLease {
        died: (!text.is_empty()).then(|| Holder::read(&text)),
        idle: lock.touched().and_then(|at| at.elapsed().ok()),
        lock,
    }))
}

/// Notes that no test has used the record's instance, unless a living process holds its lease.
pub(crate) fn mark_unused(locked: &Locked<'_>, record: &Record) -> Result<()> {
    match locked
        .transaction
        .take(LockKind::Lease, &record.lease, &never)?
    {
        Taken::Ours(lock) => lock.untouch(),
        Taken::Theirs(_) => Ok(()),
    }
}

/// Writes the holder into the locks.
pub(super) fn hold(taken: Vec<(Record, FreeLease)>, by: &Holder) -> Result<PoolLease> {
    let mut lease = PoolLease {
        instances: Vec::new(),
        locks: Vec::new(),
        swept: taken.iter().all(|(_, free)| free.died.is_none()),
        unused: BTreeSet::new(),
    };
    for (record, free) in taken {
        failpoint::point("lease-locked");
        let mut holder = by.clone();
        holder.record.clone_from(&record.id);
        if let Some(died) = &free.died {
            // Nothing is known about a holder with a torn text.
            holder.unswept = died.marks().map(str::to_owned).collect();
        }
        let text = serde_json::to_string(&holder)
            .map_err(|error| Error::pool("cannot note a lease").with_source(error))?;
        free.lock.write(&text)?;
        lease.locks.push(free.lock);
        lease.instances.push(LeasedInstance {
            record,
            died: free.died,
            idle: free.idle,
        });
    }
    failpoint::point("lease-held");
    Ok(lease)
}

/// The last holder of a record's lease, until its text is cleared.
#[derive(Debug)]
pub(crate) enum LastHolder {
    /// No holder, or a holder that returned the lease.
    None,
    /// A living process, which holds the lease.
    Living(Holder),
    /// A process that ended without returning the lease.
    Dead(Holder),
}

/// Returns the last holder of this record's lease.
pub(crate) fn last_holder(locked: &Locked<'_>, record: &Record) -> Result<LastHolder> {
    let transaction = &*locked.transaction;
    if transaction.text(LockKind::Lease, &record.lease)?.is_none() {
        return Ok(LastHolder::None);
    }
    let (died, holder) = match take(transaction, &record.lease)? {
        Err(holder) => (false, holder),
        Ok(FreeLease {
            died: Some(holder), ..
        }) => (true, holder),
        Ok(_) => return Ok(LastHolder::None),
    };
    // Several records can share the lease of an existing host; the text names the record that is leased.
    let is_for_other = !holder.record.is_empty() && holder.record != record.id;
    Ok(match died {
        _ if is_for_other => LastHolder::None,
        true => LastHolder::Dead(holder),
        false => LastHolder::Living(holder),
    })
}

/// Returns the living holder of this record's lease, if any.
pub(crate) fn holder(locked: &Locked<'_>, record: &Record) -> Result<Option<Holder>> {
    Ok(match last_holder(locked, record)? {
        LastHolder::Living(holder) => Some(holder),
        LastHolder::None | LastHolder::Dead(_) => None,
    })
}

/// The reason that an instance is dirty after this holder died.
pub(crate) fn cause_of_death(holder: &Holder) -> String {
    format!("its holder died ({})", holder.who())
}

/// The name of the lease that all records of one host share, whatever its name in a playbook.
pub(crate) fn shared_lease(key: &str) -> String {
    let digest = sha2::Sha256::digest(key.as_bytes());
    format!("host-{}", digest::hex(&digest[..8]))
}
