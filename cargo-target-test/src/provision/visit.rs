//! The lease of an instance that exists, for a person: claimed, waited for, given back.
//!
//! Owns what becomes of an instance that somebody only looks at. Must not know what is done there, and never prints.

use std::time::Duration;

use super::{
    Provisioner, Report, Run,
    pool::{Holder, Lease, LeaseRequest, Pool, Record, RecordState, Ticket, TryLease, Want},
};
use crate::error::{Error, ErrorKind, Result};

/// How often a deploy by somebody else is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Instances that are claimed, of which one is to be leased.
pub struct Visit {
    provisioner: Provisioner,
    /// Of one target and one definition.
    wanted: Vec<Record>,
    ticket: Option<Ticket>,
}

/// What asking for the lease comes to.
pub enum Asked {
    /// One is free, and ours.
    Leased(Box<Stay>),
    /// It is to be asked for again, after this; says for whom.
    Wait(Box<Visit>, String, Duration),
}

/// A leased instance. Dropped without [`Stay::end`], its holder counts as one that died.
pub struct Stay {
    visit: Visit,
    lease: Lease,
}

impl Visit {
    /// Claims these instances, which are of one target and have one definition; at least one.
    ///
    /// # Errors
    /// When the pool cannot be used.
    pub fn new(pool: Pool, run: Run, wanted: Vec<Record>) -> Result<Self> {
        let provisioner = Provisioner::new(pool, run)?;
        provisioner.claim_existing(wanted.iter().map(|record| record.id.as_str()))?;
        Ok(Self {
            provisioner,
            wanted,
            ticket: None,
        })
    }

    /// Leases one of them, if one is free and nobody asked before.
    ///
    /// # Errors
    /// When none of them can serve any more, or the pool cannot be used.
    pub fn ask(mut self, holder: Holder) -> Result<Asked> {
        let Some(first) = self.wanted.first() else {
            return Err(Error::new(ErrorKind::Other, "a visit needs an instance"));
        };
        let want = Want {
            target: first.order.target.clone(),
            hash: first.hash.clone(),
            count: 1,
            ..Want::default()
        };
        let request = LeaseRequest::new(want, holder);
        match self.provisioner.try_lease(&request, &mut self.ticket)? {
            TryLease::Leased(mut lease) => {
                // From here on it is used.
                lease.set_swept(false);
                let stay = Stay { visit: self, lease };
                Ok(Asked::Leased(Box::new(stay)))
            }
            TryLease::Wait { reason, again } => {
                Ok(Asked::Wait(Box::new(self), reason.describe(), again))
            }
            TryLease::NoneReady => {
                let text = self.in_the_making()?;
                Ok(Asked::Wait(Box::new(self), text, POLL))
            }
        }
    }

    /// Who makes one of them, if somebody does.
    fn in_the_making(&self) -> Result<String> {
        let locked = self.provisioner.pool().lock()?;
        let mut why = None;
        for wanted in &self.wanted {
            let name = wanted.name();
            let Some(record) = locked.state().records.get(&wanted.id) else {
                why.get_or_insert(format!("`{name}` left the pool meanwhile"));
                continue;
            };
            let state = &record.state;
            let coming = !matches!(
                state,
                RecordState::Dirty { .. } | RecordState::Deleting { .. }
            );
            if coming && locked.work(&record.id)?.is_none() {
                return Ok(format!(
                    "`{name}` is {state} ({})",
                    locked.worker(&record.id)?
                ));
            }
            why.get_or_insert(format!("`{name}` is {state}"));
        }
        Err(Error::new(ErrorKind::Infra, why.unwrap_or_default()))
    }
}

impl Stay {
    /// The leased instance.
    pub fn record(&self) -> &Record {
        &self.lease.instances[0].record
    }

    /// The marks of what dead holders may have left running there.
    pub fn left(&self) -> Vec<String> {
        let died = self.lease.instances[0].died.iter();
        died.flat_map(|holder| holder.marks().map(str::to_owned))
            .collect()
    }

    /// Ends the lease; `clean`: nothing that should be killed runs there. What no run keeps, and none uses, is deleted.
    ///
    /// # Errors
    /// When the pool cannot be used.
    pub fn end(mut self, clean: bool) -> Result<Report> {
        self.lease.set_swept(clean);
        drop(self.lease);
        self.visit.provisioner.leave()
    }
}
