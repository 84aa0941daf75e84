//! Tickets: the queue of those who wait for leases, over all processes.
//!
//! Owns the locks of tickets: the name is the place in the queue, the lock says that the waiter lives, the text is its
//! claim.

use std::time::{Duration, Instant};

use super::{
    claim::Claim,
    store::{HeldLock, LockKind, Transaction, never},
};
use crate::error::{Error, ErrorKind, Result};

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
            .ok_or_else(|| Error::new(ErrorKind::Pool, "the queue's last ticket is taken"))?;
        let text = serde_json::to_string(claim).map_err(|error| {
            Error::new(ErrorKind::Pool, "cannot draw a ticket").with_source(error)
        })?;
        lock.write(&text)?;
        Ok(Self {
            lock: Some(lock),
            name,
            drawn: Instant::now(),
        })
    }

    /// The ticket's name. Tickets that were drawn earlier are less.
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

/// Returns the claim of a ticket; `None` if its process is stopped, which keeps its place, or dead, which loses it.
pub(super) fn claim(transaction: &dyn Transaction, name: &str) -> Result<Option<Claim>> {
    if let Some(dead) = transaction.take(LockKind::Ticket, name, &never)? {
        dead.remove();
        return Ok(None);
    }
    let text = transaction.text(LockKind::Ticket, name)?;
    let claim = text.and_then(|text| serde_json::from_str::<Claim>(&text).ok());
    Ok(claim.filter(|claim| !claim.waiter.is_stopped()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::pool::{Pool, holder::Process};

    #[test]
    fn the_queue_is_first_come_first_served_and_forgets_the_dead() {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::open(dir.path()).unwrap();
        let locked = pool.lock().unwrap();
        let transaction = &*locked.transaction;
        let draw = |run: &str| {
            let claim = Claim {
                waiter: Process::current(),
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
}
