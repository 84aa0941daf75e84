//! Tickets: the queue for leases, across all processes.
//!
//! The name of a ticket's lock is the place in the queue, the lock shows that the waiter lives, and the text is its
//! claim.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{
    claim::{Claim, ResourceWant, Want},
    holder::ProcessIdentity,
    store::{HeldLock, LockKind, Taken, Transaction, never},
};
use crate::error::{Error, Result};

/// A place in the queue, kept until it is dropped.
#[derive(Debug)]
pub struct Ticket {
    lock: Option<HeldLock>,
    name: String,
    drawn: Instant,
}

impl Ticket {
    /// Takes the last place in the queue.
    pub(super) fn draw(transaction: &dyn Transaction, claim: &Claim) -> Result<Self> {
        let names = transaction.locks(LockKind::Ticket)?;
        let last = names
            .iter()
            .filter_map(|name| name.parse::<u64>().ok())
            .max();
        let name = format!("{:016}", last.unwrap_or(0) + 1);
        let lock = transaction
            .take(LockKind::Ticket, &name, &never)?
            .ours()
            .ok_or_else(|| Error::pool("the queue's last ticket is taken"))?;
        let text = TicketText::new(ProcessIdentity::current(), claim.clone());
        let text = serde_json::to_string(&text)
            .map_err(|error| Error::pool("cannot draw a ticket").with_source(error))?;
        lock.write(&text)?;
        Ok(Self {
            lock: Some(lock),
            name,
            drawn: Instant::now(),
        })
    }

    /// The ticket's name. Earlier tickets sort first.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The time since the ticket was drawn.
    pub(super) fn age(&self) -> Duration {
        self.drawn.elapsed()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            lock.remove();
        }
    }
}

/// The text of a ticket. The first want is at the place where older versions have their only want.
#[derive(Serialize, Deserialize)]
struct TicketText {
    /// The waiting process.
    waiter: ProcessIdentity,
    run: String,
    #[serde(flatten)]
    first: Option<Want>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    also: Vec<Want>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    resources: Vec<ResourceWant>,
}

impl TicketText {
    fn new(waiter: ProcessIdentity, claim: Claim) -> Self {
        let mut wants = claim.wants.into_iter();
        Self {
            waiter,
            run: claim.run,
            first: wants.next(),
            also: wants.collect(),
            resources: claim.resources,
        }
    }

    fn claim(self) -> Claim {
        Claim {
            run: self.run,
            wants: self.first.into_iter().chain(self.also).collect(),
            resources: self.resources,
        }
    }
}

/// The claim of a ticket; `None` if its process is stopped, which keeps its place, or dead, which loses it.
pub(super) fn claim(transaction: &dyn Transaction, name: &str) -> Result<Option<Claim>> {
    let text = match transaction.take(LockKind::Ticket, name, &never)? {
        Taken::Ours(dead) => {
            dead.remove();
            return Ok(None);
        }
        Taken::Theirs(text) => serde_json::from_str::<TicketText>(&text).ok(),
    };
    let text = text.filter(|text| !text.waiter.is_stopped());
    Ok(text.map(TicketText::claim))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::pool::Pool;

    #[test]
    fn the_queue_is_first_come_first_served_and_forgets_the_dead() {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::open(dir.path()).unwrap();
        let locked = pool.lock().unwrap();
        let transaction = &*locked.transaction;
        let draw = |run: &str| {
            let claim = Claim {
                run: run.to_owned(),
                ..Claim::default()
            };
            Ticket::draw(transaction, &claim).unwrap()
        };
        let waiting = || -> Vec<String> {
            let names = transaction.locks(LockKind::Ticket).unwrap();
            let claims = names
                .iter()
                .filter_map(|name| claim(transaction, name).unwrap());
            claims.map(|claim| claim.run).collect()
        };
        let (first, second) = (draw("first"), draw("second"));
        assert!(first.name() < second.name());
        assert_eq!(waiting(), ["first", "second"]);
        drop(first);
        assert_eq!(waiting(), ["second"]);
        let dead = dir.path().join("tickets/0000000000000001.lock");
        std::fs::write(&dead, "{}").unwrap();
        assert_eq!(waiting(), ["second"], "nobody holds the first ticket");
        assert!(!dead.exists());
    }

    /// Processes of versions with one target per claim share the queue with this one.
    #[test]
    fn a_ticket_with_one_want_reads_and_looks_as_it_always_did() {
        let text = r#"{"waiter":{"host":"h","boot":"b","pid":7,"started":9},"run":"r","target":"alpha","hash":"h","instance":null,"needs":{"cores":">= 2"},"count":2}"#;
        let read: TicketText = serde_json::from_str(text).unwrap();
        assert_eq!(read.waiter.pid, 7);
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        let claim = read.claim();
        assert_eq!(claim.wants.len(), 1);
        assert_eq!(
            (&*claim.wants[0].target, claim.wants[0].count),
            ("alpha", 2)
        );
    }

    #[test]
    fn several_wants_and_resources_are_read_back() {
        let want = |target: &str| Want {
            target: target.to_owned(),
            count: 1,
            shared: true,
            ..Want::default()
        };
        let resource = ResourceWant {
            name: "licence".to_owned(),
            count: 2,
        };
        for wants in [vec![], vec![want("a")], vec![want("a"), want("b")]] {
            let claim = Claim {
                wants,
                resources: vec![resource.clone()],
                ..Claim::default()
            };
            let text = TicketText::new(ProcessIdentity::default(), claim.clone());
            let text = serde_json::to_string(&text).unwrap();
            let read: TicketText = serde_json::from_str(&text).unwrap();
            assert_eq!(read.claim(), claim, "{text}");
        }
    }
}
