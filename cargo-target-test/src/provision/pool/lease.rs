//! Leases: the exclusive right to use instances, for as long as the holder lives.
//!
//! Owns `leases/<lease>.lock`: the lock is the lease, the text in the file says who holds it, and a text without a
//! lock is a holder that died. Must not know who gets which lease next.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use sha2::Digest;

use super::{
    Locked,
    holder::Holder,
    lock::{FileLock, peek},
    state::Record,
};
use crate::{
    error::{Error, ErrorKind, Result},
    failpoint,
};

/// The exclusive right to use these instances. Ends when it is dropped, and when the process does.
#[derive(Debug)]
pub struct Lease {
    /// The instances, as many as were asked for.
    pub instances: Vec<LeasedInstance>,
    locks: Vec<FileLock>,
    swept: bool,
    /// The records of those that are given back as if nobody had had them.
    unused: BTreeSet<String>,
}

/// A leased instance.
#[derive(Clone, Debug)]
pub struct LeasedInstance {
    /// The record; it is ready.
    pub record: Record,
    /// Who held it last and died: what its lease, and those in `unswept`, started there has to be killed first.
    pub died: Option<Holder>,
    /// How long nobody used it; `None`: nobody ever did.
    pub idle: Option<Duration>,
}

impl Lease {
    /// Ends the lease; the same as dropping it.
    pub fn release(self) {}

    /// Says whether nothing that should be killed runs on the instances: not before what dead holders left
    /// there was. If the lease ends otherwise, its own holder counts as one that died.
    pub fn set_swept(&mut self, swept: bool) {
        self.swept = swept;
    }

    /// Gives this record's instance back, in the end, as one that nobody has used since the lease before.
    pub fn set_unused(&mut self, record: String) {
        self.unused.insert(record);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        for (leased, lock) in self.instances.iter().zip(self.locks.drain(..)) {
            // Otherwise, and after a failure, the text stays: the next holder takes us for dead, which is safe.
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

/// A lease that was free, and is ours without anybody being told.
pub(crate) struct Free {
    lock: FileLock,
    pub(crate) died: Option<Holder>,
    idle: Option<Duration>,
}

/// What trying to take a lease comes to.
pub(crate) enum Taken {
    Free(Free),
    Busy(Holder),
}

/// Takes the lease of this record, if nobody has it.
pub(crate) fn take(locked: &Locked<'_>, record: &Record) -> Result<Taken> {
    let path = lease_file(locked, record);
    let known = path.exists();
    let Some(lock) = FileLock::try_take(&path)? else {
        return Ok(Taken::Busy(Holder::read(&peek(&path)?)));
    };
    if !known {
        // To look whether it is free is not to use it.
        lock.untouch()?;
    }
    let text = lock.text()?;
    Ok(Taken::Free(Free {
        died: (!text.is_empty()).then(|| Holder::read(&text)),
        idle: lock.touched().and_then(|at| at.elapsed().ok()),
        lock,
    }))
}

impl Free {
    /// Lets the lease go, and forgets who died with it.
    pub(crate) fn clear(self) -> Result<()> {
        self.lock.write("")
    }
}

/// Notes that no test has had the record's instance, unless somebody has its lease now.
pub(crate) fn mark_unused(locked: &Locked<'_>, record: &Record) -> Result<()> {
    match FileLock::try_take(&lease_file(locked, record))? {
        Some(lock) => lock.untouch(),
        None => Ok(()),
    }
}

/// Writes down who holds the locks from now on.
pub(crate) fn hold(picked: Vec<(&Record, Free)>, by: &Holder) -> Result<Lease> {
    let mut lease = Lease {
        instances: Vec::new(),
        locks: Vec::new(),
        swept: picked.iter().all(|(_, free)| free.died.is_none()),
        unused: BTreeSet::new(),
    };
    for (record, free) in picked {
        failpoint::point("lease-locked");
        let mut holder = by.clone();
        holder.record.clone_from(&record.id);
        if let Some(died) = &free.died {
            // Nothing can be known of a holder whose text was torn.
            holder.unswept = died.marks().map(str::to_owned).collect();
        }
        let text = serde_json::to_string(&holder).map_err(|error| {
            Error::new(ErrorKind::Pool, "cannot note a lease").with_source(error)
        })?;
        free.lock.write(&text)?;
        lease.locks.push(free.lock);
        lease.instances.push(LeasedInstance {
            record: record.clone(),
            died: free.died,
            idle: free.idle,
        });
    }
    failpoint::point("lease-held");
    Ok(lease)
}

/// Whose lease a record is under.
#[derive(Debug)]
pub(crate) enum Tenant {
    Nobody,
    Living(Holder),
    /// The lock is free, and the text still says whose it was.
    Dead(Holder),
}

/// Who has, or had last, the lease of this record.
pub(crate) fn tenant(locked: &Locked<'_>, record: &Record) -> Result<Tenant> {
    let path = lease_file(locked, record);
    if !path.exists() {
        return Ok(Tenant::Nobody);
    }
    let (text, tenant): (_, fn(Holder) -> Tenant) = match FileLock::try_take(&path)? {
        Some(lock) => (lock.text()?, Tenant::Dead),
        None => (peek(&path)?, Tenant::Living),
    };
    let holder = Holder::read(&text);
    // The lock of a host that we did not make is shared: only its text says by which record it is used.
    let other = !holder.record.is_empty() && holder.record != record.id;
    Ok(match tenant(holder) {
        Tenant::Dead(_) if text.is_empty() => Tenant::Nobody,
        _ if other => Tenant::Nobody,
        tenant => tenant,
    })
}

/// Who holds the lease of this record; `None`: nobody that lives.
pub(crate) fn holder(locked: &Locked<'_>, record: &Record) -> Result<Option<Holder>> {
    Ok(match tenant(locked, record)? {
        Tenant::Living(holder) => Some(holder),
        Tenant::Nobody | Tenant::Dead(_) => None,
    })
}

/// Why a machine whose holder died must not serve again.
pub(crate) fn cause_of_death(holder: &Holder) -> String {
    format!("its holder died ({})", holder.who())
}

/// The name of the lock that all records of one host share, whatever they call it.
pub(crate) fn shared_lease(key: &str) -> String {
    let digest = sha2::Sha256::digest(key.as_bytes());
    let hex: String = digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("host-{hex}")
}

fn lease_file(locked: &Locked<'_>, record: &Record) -> PathBuf {
    locked.pool.lease(&record.lease)
}
