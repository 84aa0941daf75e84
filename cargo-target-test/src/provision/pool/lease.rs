//! Leases: the exclusive right to use instances, for as long as the holder lives.
//!
//! Owns `leases/<lease>.lock` and who gets which instance next. Must not know how instances are made. The lock is
//! the lease; the text in the file says who holds it. A text without a lock is a holder that died.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use super::{
    Locked,
    holder::Holder,
    lock::FileLock,
    run::RunFile,
    state::{Event, Record, RecordState, State},
    ticket::{self, Claim, Ticket},
};
use crate::{
    error::{Error, ErrorKind, Result},
    fault,
    provision::pool::holder::Process,
};

/// Who wants which instances.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// The target's name.
    pub target: String,
    /// The hash of its definition.
    pub hash: String,
    /// One certain instance of it, by name.
    pub instance: Option<String>,
    /// How many instances, all or none; at least 1.
    pub count: usize,
    /// What others read while it is held.
    pub holder: Holder,
}

/// What a request for a lease comes to.
#[derive(Debug)]
pub enum TryLease {
    /// Here it is.
    Leased(Lease),
    /// Ask again soon, with the same ticket; says for whom we wait: `2 of 2 leased (pid 4711 smoke[alpha], 12 s)`.
    Wait(String),
    /// Fewer instances are ready than were asked for: waiting alone does not help.
    NoneReady,
}

/// The exclusive right to use these instances. Ends when it is dropped, and when the process does.
#[derive(Debug)]
pub struct Lease {
    /// The instances, as many as were asked for.
    pub instances: Vec<LeasedInstance>,
    locks: Vec<FileLock>,
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
}

impl Drop for Lease {
    fn drop(&mut self) {
        for lock in self.locks.drain(..) {
            // A failure leaves the text: the next holder then takes us for dead, which is safe.
            let _ = lock.write("");
            fault::point("lease-cleared");
        }
    }
}

/// A lock that was free, with what was in the file.
struct Free {
    lock: FileLock,
    died: Option<Holder>,
    idle: Option<Duration>,
}

/// What became of the locks while one request was looked at. Locks taken only to reserve go when this does.
#[derive(Default)]
struct Search {
    /// For those who wait before us.
    reserved: BTreeMap<String, FileLock>,
    /// By record: it has to be recycled, since its holder died.
    dirty: BTreeMap<String, (String, FileLock)>,
    /// Who holds what we could use.
    busy: Vec<Holder>,
}

/// Leases what `request` asks for to `run`, if it is free and nobody waits for it before.
pub(crate) fn try_lease(
    locked: &mut Locked<'_>,
    run: &RunFile,
    request: &LeaseRequest,
    ticket: &mut Option<Ticket>,
) -> Result<TryLease> {
    let claim = request.claim(run.id())?;
    loop {
        let ahead = ticket::ahead(&locked.pool.tickets(), ticket.as_ref())?;
        let mut search = Search::default();
        search.reserve(locked, &ahead)?;
        let candidates = candidates(locked.state(), run.uses(), &claim);
        let picked = search.pick(locked, &candidates, claim.count)?;
        if !search.dirty.is_empty() {
            // Rare, and it changes who is a candidate: look again.
            drop(picked);
            search.spoil(locked)?;
            continue;
        }
        let total = leases(&candidates);
        return if picked.len() == claim.count {
            let lease = hold(picked, request)?;
            *ticket = None;
            Ok(TryLease::Leased(lease))
        } else if total < claim.count {
            Ok(TryLease::NoneReady)
        } else {
            let text = search.describe(total, ahead.len());
            drop((picked, search));
            if ticket.is_none() {
                *ticket = Some(Ticket::draw(&locked.pool.tickets(), &claim)?);
            }
            Ok(TryLease::Wait(text))
        };
    }
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
        None => (super::lock::peek(&path)?, Tenant::Living),
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
    format!("its holder died ({})", holder.describe())
}

impl LeaseRequest {
    fn claim(&self, run: &str) -> Result<Claim> {
        if self.count == 0 {
            return Err(Error::new(ErrorKind::Other, "a lease needs an instance"));
        }
        Ok(Claim {
            waiter: Process::current(),
            run: run.to_owned(),
            target: self.target.clone(),
            hash: self.hash.clone(),
            instance: self.instance.clone(),
            count: self.count,
        })
    }
}

impl Search {
    /// Sets aside what those before us will take, each as it will choose itself. Who waits for more than
    /// one thus gets them one after another, and cannot be starved by those who want less.
    fn reserve(&mut self, locked: &Locked<'_>, ahead: &[Claim]) -> Result<()> {
        if ahead.is_empty() {
            return Ok(());
        }
        let living = locked.living()?;
        for claim in ahead {
            let Some(run) = living.iter().find(|run| run.id == claim.run) else {
                continue;
            };
            let candidates = candidates(locked.state(), &run.uses, claim);
            // Who could not be served if all were free waits for a deploy, not for us.
            if leases(&candidates) >= claim.count {
                for (lease, free) in self.look(locked, &candidates, claim.count, false)? {
                    self.reserved.insert(lease, free.lock);
                }
            }
        }
        Ok(())
    }

    fn pick<'a>(
        &mut self,
        locked: &Locked<'_>,
        candidates: &[&'a Record],
        count: usize,
    ) -> Result<Vec<(&'a Record, Free)>> {
        let mut free = self.look(locked, candidates, count, true)?;
        let take = |record: &&'a Record| Some((*record, free.remove(&record.lease)?));
        Ok(candidates.iter().filter_map(take).collect())
    }

    /// The first `count` free leases of the candidates.
    fn look(
        &mut self,
        locked: &Locked<'_>,
        candidates: &[&Record],
        count: usize,
        ours: bool,
    ) -> Result<BTreeMap<String, Free>> {
        let mut found = BTreeMap::new();
        for record in candidates {
            if found.len() == count {
                break;
            }
            let taken = found.contains_key(&record.lease)
                || self.reserved.contains_key(&record.lease)
                || self.dirty.contains_key(&record.id);
            if taken {
                continue;
            }
            let path = lease_file(locked, record);
            let known = path.exists();
            let Some(lock) = FileLock::try_take(&path)? else {
                if ours {
                    self.busy.push(Holder::read(&super::lock::peek(&path)?));
                }
                continue;
            };
            let text = lock.text()?;
            let died = (!text.is_empty()).then(|| Holder::read(&text));
            match died {
                Some(holder) if record.made => {
                    let cause = cause_of_death(&holder);
                    self.dirty.insert(record.id.clone(), (cause, lock));
                }
                died => {
                    let idle = known.then(|| lock.touched()?.elapsed().ok()).flatten();
                    found.insert(record.lease.clone(), Free { lock, died, idle });
                }
            }
        }
        Ok(found)
    }

    fn spoil(self, locked: &mut Locked<'_>) -> Result<()> {
        let spoilt = self.dirty.iter();
        let events: Vec<_> = spoilt
            .map(|(id, (cause, _))| (id.clone(), Event::Spoil(cause.clone())))
            .collect();
        locked.commit(events)?;
        fault::point("record-dirty");
        for (_, lock) in self.dirty.into_values() {
            lock.write("")?;
        }
        Ok(())
    }

    /// `2 of 2 leased (pid 4711 smoke[alpha], 12 s)`: of several holders, the one that has it longest.
    fn describe(&self, total: usize, ahead: usize) -> String {
        let mut text = format!("{} of {total} leased", self.busy.len());
        if let Some(holder) = self.busy.iter().min_by_key(|holder| holder.since) {
            text.push_str(&format!(" ({})", holder.describe()));
        }
        if ahead > 0 {
            text.push_str(&format!(", {ahead} before us"));
        }
        text
    }
}

/// Writes down who holds the locks from now on.
fn hold(picked: Vec<(&Record, Free)>, request: &LeaseRequest) -> Result<Lease> {
    let mut lease = Lease {
        instances: Vec::new(),
        locks: Vec::new(),
    };
    for (record, free) in picked {
        fault::point("lease-locked");
        let mut holder = request.holder.clone();
        holder.record.clone_from(&record.id);
        if let Some(died) = &free.died {
            holder.unswept.clone_from(&died.unswept);
            holder.unswept.push(died.lease.clone());
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
    fault::point("lease-held");
    Ok(lease)
}

/// What a claim may be served with, in the order of preference.
fn candidates<'a>(state: &'a State, uses: &BTreeSet<String>, claim: &Claim) -> Vec<&'a Record> {
    let mut fitting: Vec<&Record> = uses
        .iter()
        .filter_map(|id| state.records.get(id))
        .filter(|record| {
            record.state == RecordState::Ready
                && record.order.target == claim.target
                && record.hash == claim.hash
                && claim
                    .instance
                    .as_deref()
                    .is_none_or(|name| name == record.name())
        })
        .collect();
    fitting.sort_by_key(|record| record.order.index);
    fitting
}

/// How many of them can be leased at once: several may be one host.
fn leases(records: &[&Record]) -> usize {
    let leases: BTreeSet<&String> = records.iter().map(|record| &record.lease).collect();
    leases.len()
}

fn lease_file(locked: &Locked<'_>, record: &Record) -> PathBuf {
    locked.pool.lease(&record.lease)
}

/// The name of the lock that all records of one host share, whatever they call it.
pub(crate) fn shared_lease(key: &str) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(key.as_bytes());
    let hex: String = digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("host-{hex}")
}
