//! Leases: reads a view of the pool, lets `schedule` decide on it, and takes the granted locks.
//!
//! Decides which parts are read when. Everything happens in one transaction, so a grant fails only if the store lets
//! other processes take locks meanwhile; then it decides again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Locked,
    claim::{Claim, ResourceWant, Want},
    holder::{Holder, now},
    lease::{self, FreeLease, PoolLease, cause_of_death},
    run::{self, RunFile},
    schedule::{Decision, Missing, WaitReason, schedule},
    state::{Record, RecordEvent},
    store::{LockKind, Transaction},
    ticket::{self, Ticket},
    view::{LeaseState, QueueEntry, View, Waiter},
};
use crate::{
    error::{Error, Result},
    failpoint,
};

/// A request for one lease: instances of one or more targets, all or none.
#[derive(Clone, Debug, Default)]
pub struct LeaseRequest {
    /// The instances, by target.
    pub wants: Vec<Want>,
    /// Counted resources without a connection.
    pub resources: Vec<ResourceWant>,
    /// The text that others read while the lease is held.
    pub holder: Holder,
    /// True if instances that must not serve for now can be leased, too: by a person who repairs them.
    pub even_disabled: bool,
    /// The records that cannot be leased to this run.
    pub set_aside: BTreeSet<String>,
}

/// The answer to a request for a lease.
#[derive(Debug)]
pub enum TryLease {
    /// The lease.
    Leased(PoolLease),
    /// Not yet: try again with the same ticket, which is the place in the queue.
    Wait {
        /// The reason.
        reason: WaitReason,
        /// The pause before the next try. It grows with the number of earlier waiters: each try locks the pool, which
        /// they need first.
        again: Duration,
    },
    /// Fewer instances are ready than requested. Waiting alone does not help.
    NoneReady,
}

/// Leases the requested instances to `run`, if they are free and no earlier waiter needs them.
pub(crate) fn try_lease(
    locked: &mut Locked<'_>,
    run: &RunFile,
    request: &LeaseRequest,
    ticket: &mut Option<Ticket>,
) -> Result<TryLease> {
    let claim = request.claim(run.id())?;
    loop {
        let mut look = Look::new(&*locked.transaction, run, &claim, ticket.as_ref())?;
        let disabled_at = (!request.even_disabled).then(now);
        look.view.state = look.view.state.without(&request.set_aside, disabled_at);
        match look.decide()? {
            Decision::NoneReady => return Ok(TryLease::NoneReady),
            Decision::MarkDirty(records) => {
                let dead = look.take(records.keys())?;
                mark_dirty(locked, &records)?;
                // The texts are cleared last: after a crash in between, the records are marked again.
                dead.into_iter()
                    .flatten()
                    .try_for_each(|(_, free)| free.clear())?;
            }
            Decision::Grant(records) => {
                if let Some(taken) = look.take(&records)? {
                    let lease = lease::hold(taken, &request.holder)?;
                    *ticket = None;
                    return Ok(TryLease::Leased(lease));
                }
            }
            Decision::Wait(reason) => {
                drop(look);
                let ticket = match ticket {
                    Some(ticket) => ticket,
                    None => ticket.insert(Ticket::draw(&*locked.transaction, &claim)?),
                };
                let again = pause(reason.ahead, ticket.age());
                return Ok(TryLease::Wait { reason, again });
            }
        }
    }
}

/// The initial pause of the first waiter; multiplied by the place for later waiters.
const PAUSE: Duration = Duration::from_millis(2);
/// The longest pause of the first waiter.
const LONG_PAUSE: Duration = Duration::from_millis(25);
/// The longest pause of all.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The pause of a waiter with `ahead` earlier waiters: a fortieth of the time it has waited, within limits.
fn pause(ahead: usize, waited: Duration) -> Duration {
    let of_first = (waited / 40).clamp(PAUSE, LONG_PAUSE);
    let place = u32::try_from(ahead + 1).unwrap_or(u32::MAX);
    of_first.saturating_mul(place).min(LONGEST_PAUSE)
}

fn mark_dirty(locked: &mut Locked<'_>, records: &BTreeMap<String, Holder>) -> Result<()> {
    let event = |(id, holder): (&String, &Holder)| {
        (id.clone(), RecordEvent::MarkDirty(cause_of_death(holder)))
    };
    locked.commit(records.iter().map(event))?;
    failpoint::point("record-dirty");
    Ok(())
}

impl LeaseRequest {
    /// A request for instances of one target.
    pub fn new(want: Want, holder: Holder) -> Self {
        Self {
            wants: vec![want],
            holder,
            ..Self::default()
        }
    }

    fn claim(&self, run: &str) -> Result<Claim> {
        let refused = |message| Err(Error::other(message));
        if self.wants.is_empty() || self.wants.iter().any(|want| want.count == 0) {
            return refused("a lease needs at least one instance");
        }
        if self.wants.iter().any(|want| want.shared) {
            return refused("this pool does not support shared leases");
        }
        if !self.resources.is_empty() {
            return refused("this pool does not support counted resources");
        }
        Ok(Claim {
            run: run.to_owned(),
            wants: self.wants.clone(),
            resources: self.resources.clone(),
        })
    }
}

/// A view while it is read, with the locks of the leases that were found free. Locks that are not granted are released,
/// unchanged, when this is dropped.
struct Look<'a> {
    transaction: &'a dyn Transaction,
    view: View,
    /// The tickets of the waiters in the view's queue.
    tickets: Vec<String>,
    /// By lease.
    free: BTreeMap<String, FreeLease>,
    /// The records that living runs use, by the run's id; `None` for a run that ended.
    runs: BTreeMap<String, Option<Arc<BTreeSet<String>>>>,
}

impl<'a> Look<'a> {
    /// A view with only the records and the length of the queue.
    fn new(
        transaction: &'a dyn Transaction,
        run: &RunFile,
        claim: &Claim,
        ticket: Option<&Ticket>,
    ) -> Result<Self> {
        let own = ticket.map(Ticket::name);
        let mut tickets = transaction.locks(LockKind::Ticket)?;
        tickets.retain(|name| Some(name.as_str()) != own);
        let is_ahead = |name: &String| own.is_none_or(|own| name.as_str() < own);
        let uses = Arc::clone(run.uses());
        Ok(Self {
            transaction,
            view: View {
                state: Arc::clone(transaction.state()),
                leases: BTreeMap::new(),
                resources: BTreeMap::new(),
                queue: vec![QueueEntry::Unread; tickets.len()],
                ahead: tickets.partition_point(is_ahead),
                own: Waiter {
                    claim: claim.clone(),
                    uses: Arc::clone(&uses),
                },
            },
            tickets,
            free: BTreeMap::new(),
            runs: [(run.id().to_owned(), Some(uses))].into(),
        })
    }

    /// Decides, and reads only the parts that this needs.
    fn decide(&mut self) -> Result<Decision> {
        loop {
            match schedule(&self.view) {
                Ok(decision) => return Ok(decision),
                Err(Missing::Leases { names, enough }) => self.read_leases(names, enough)?,
                Err(Missing::Places(places)) => {
                    for place in places {
                        self.view.queue[place] = self.place(&self.tickets[place].clone())?;
                    }
                }
            }
        }
    }

    fn read_leases(&mut self, names: Vec<String>, enough: usize) -> Result<()> {
        let mut found = 0;
        for name in names {
            let state = match lease::take(self.transaction, &name)? {
                Err(holder) => LeaseState::Held(holder),
                Ok(free) => {
                    let state = free.state();
                    self.free.insert(name.clone(), free);
                    found += 1;
                    state
                }
            };
            self.view.leases.insert(name, state);
            if found >= enough {
                break;
            }
        }
        Ok(())
    }

    fn place(&mut self, ticket: &str) -> Result<QueueEntry> {
        let Some(claim) = ticket::claim(self.transaction, ticket)? else {
            return Ok(QueueEntry::Vacant);
        };
        let uses = match self.runs.get(&claim.run) {
            Some(uses) => uses.clone(),
            None => {
                let run = run::find(self.transaction, &claim.run)?;
                let uses = run.map(|run| Arc::new(run.uses));
                self.runs.insert(claim.run.clone(), uses.clone());
                uses
            }
        };
        Ok(match uses {
            Some(uses) => QueueEntry::Waiting(Waiter { claim, uses }),
            None => QueueEntry::Vacant,
        })
    }

    /// Takes the leases of these records, all or none; `None` if one of the leases is held.
    fn take<'i>(
        mut self,
        ids: impl IntoIterator<Item = &'i String>,
    ) -> Result<Option<Vec<(Record, FreeLease)>>> {
        let mut taken = Vec::new();
        for record in ids
            .into_iter()
            .filter_map(|id| self.view.state.records.get(id))
        {
            let free = match self.free.remove(&record.lease) {
                Some(free) => free,
                None => match lease::take(self.transaction, &record.lease)? {
                    Ok(free) => free,
                    Err(_) => return Ok(None),
                },
            };
            taken.push((record.clone(), free));
        }
        Ok(Some(taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_waiter_asks_most_often() {
        let milliseconds = |ahead, waited| pause(ahead, Duration::from_millis(waited)).as_millis();
        assert_eq!(milliseconds(0, 0), 2);
        assert_eq!(milliseconds(3, 0), 8);
        assert_eq!(milliseconds(0, 400), 10);
        assert_eq!(milliseconds(0, 100_000), 25);
        assert_eq!(milliseconds(99, 100_000), 250);
    }

    #[test]
    fn features_that_this_pool_does_not_have_are_refused() {
        let want = Want {
            count: 1,
            ..Want::default()
        };
        let request = LeaseRequest::new(want.clone(), Holder::default());
        assert!(request.claim("r").is_ok());
        let shared = Want {
            shared: true,
            ..want.clone()
        };
        let none = Want { count: 0, ..want };
        let refused = |wants, resources| {
            let request = LeaseRequest {
                wants,
                resources,
                ..LeaseRequest::default()
            };
            request.claim("r").unwrap_err().to_string()
        };
        assert!(refused(vec![shared], vec![]).contains("shared leases"));
        assert!(refused(vec![none.clone()], vec![]).contains("at least one instance"));
        assert!(refused(vec![], vec![]).contains("at least one instance"));
        let resources = vec![ResourceWant::default()];
        assert!(refused(request.wants, resources).contains("counted resources"));
    }
}
