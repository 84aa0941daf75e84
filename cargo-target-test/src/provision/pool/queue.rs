//! Who gets which lease next: in the order of tickets, all or none.
//!
//! Owns the rule and what a waiter is told. Must not know how a lease is kept nor how instances are made.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use super::{
    Locked,
    holder::{Holder, Process},
    lease::{self, Free, Lease, Taken, cause_of_death},
    run::{self, RunFile},
    state::{Event, Record, RecordState, State},
    ticket::{self, Claim, Ticket},
};
use crate::{
    error::{Error, ErrorKind, Result},
    failpoint,
    plan::{self, Needs},
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
    /// What it needs of an instance that only the instance can tell.
    pub needs: Needs,
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
    /// Ask again, with the same ticket: others wait behind us.
    Wait {
        /// For whom: `2 of 2 leased (pid 4711 smoke[alpha], for 12 s)`.
        text: String,
        /// When. The more wait before us, the later: who asks has the pool's lock, which those need first.
        again: Duration,
    },
    /// Fewer instances are ready than were asked for: waiting alone does not help.
    NoneReady,
}

/// What became of the locks while one request was looked at. Locks taken only to reserve go when this does.
#[derive(Default)]
struct Search {
    /// For those who wait before us.
    reserved: BTreeMap<String, Free>,
    /// By record: it has to be recycled, since its holder died.
    dirty: BTreeMap<String, Free>,
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
        let candidates = candidates(locked.state(), run.uses(), &claim);
        let total = leases(candidates.iter().copied());
        if total < claim.count {
            return Ok(TryLease::NoneReady);
        }
        let queue = ticket::ahead(&locked.pool.tickets(), ticket.as_ref())?;
        let mut search = Search::default();
        let ahead = search.reserve(locked, &queue, (&candidates, claim.count))?;
        let picked = search.pick(locked, &candidates, claim.count)?;
        if !search.dirty.is_empty() {
            // Rare, and it changes who is a candidate: look again.
            drop(picked);
            search.spoil(locked)?;
            continue;
        }
        if picked.len() == claim.count {
            let lease = lease::hold(picked, &request.holder)?;
            *ticket = None;
            return Ok(TryLease::Leased(lease));
        }
        let text = search.describe(total, ahead);
        drop((picked, search));
        let ticket = match ticket {
            Some(ticket) => ticket,
            None => ticket.insert(Ticket::draw(&locked.pool.tickets(), &claim)?),
        };
        let again = pause(ahead, ticket.age());
        return Ok(TryLease::Wait { text, again });
    }
}

/// The pause of the first in the queue, in the beginning; of those behind, so many times as long.
const PAUSE: Duration = Duration::from_millis(2);
/// The longest pause of the first in the queue.
const LONG_PAUSE: Duration = Duration::from_millis(25);
/// The longest pause of all.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// When somebody should ask again who waits behind so many and has waited for so long: what was not free for seconds
/// need not be had within milliseconds.
fn pause(ahead: usize, waited: Duration) -> Duration {
    let of_first = (waited / 40).clamp(PAUSE, LONG_PAUSE);
    let place = u32::try_from(ahead + 1).unwrap_or(u32::MAX);
    of_first.saturating_mul(place).min(LONGEST_PAUSE)
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
            needs: self.needs.clone(),
            count: self.count,
        })
    }
}

impl Search {
    /// Sets aside what those before us will take, each as it will choose itself. Who waits for more than
    /// one thus gets them one after another, and cannot be starved by those who want less. Returns how many wait
    /// before us: those are not looked at before whom nothing is left for `ours`, which is as many of some candidates.
    fn reserve(
        &mut self,
        locked: &Locked<'_>,
        queue: &[PathBuf],
        ours: (&[&Record], usize),
    ) -> Result<usize> {
        let mut waiting = 0;
        for (number, ticket) in queue.iter().enumerate() {
            let left = ours
                .0
                .iter()
                .filter(|record| !self.reserved.contains_key(&record.lease));
            if leases(left.copied()) < ours.1 {
                return Ok(waiting + queue.len() - number);
            }
            let Some(claim) = ticket::claim(ticket)? else {
                continue;
            };
            waiting += 1;
            let Some(run) = run::find(&locked.pool.runs(), &claim.run)? else {
                continue;
            };
            let candidates = candidates(locked.state(), &run.uses, &claim);
            // Who could not be served if all were free waits for a deploy, not for us.
            if leases(candidates.iter().copied()) >= claim.count {
                let taken = self.look(locked, &candidates, claim.count, false)?;
                self.reserved.extend(taken);
            }
        }
        Ok(waiting)
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
            match lease::take(locked, record)? {
                Taken::Busy(holder) if ours => self.busy.push(holder),
                Taken::Busy(_) => {}
                Taken::Free(free) if record.ownership.is_created() && free.died.is_some() => {
                    self.dirty.insert(record.id.clone(), free);
                }
                Taken::Free(free) => {
                    found.insert(record.lease.clone(), free);
                }
            }
        }
        Ok(found)
    }

    fn spoil(self, locked: &mut Locked<'_>) -> Result<()> {
        let cause = |free: &Free| free.died.as_ref().map(cause_of_death).unwrap_or_default();
        let spoilt = self.dirty.iter();
        let events: Vec<_> = spoilt
            .map(|(id, free)| (id.clone(), Event::Spoil(cause(free))))
            .collect();
        locked.commit(events)?;
        failpoint::point("record-dirty");
        self.dirty.into_values().try_for_each(Free::clear)
    }

    /// `2 of 2 leased (pid 4711 smoke[alpha], for 12 s)`: of several holders, the one that has it longest.
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
                && plan::met(&claim.needs, record.name(), &record.facts).is_ok()
        })
        .collect();
    fitting.sort_by_key(|record| record.order.index);
    fitting
}

/// How many of them can be leased at once: several may be one host.
fn leases<'a>(records: impl IntoIterator<Item = &'a Record>) -> usize {
    let leases: BTreeSet<&String> = records.into_iter().map(|record| &record.lease).collect();
    leases.len()
}
