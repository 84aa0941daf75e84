//! The queue of those who wait for leases, over all processes.
//!
//! Owns `tickets/<number>.lock`: the number is the place in the queue, the lock says that the waiter lives,
//! the text what it waits for. Must not know how instances are chosen.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    file::list,
    holder::Process,
    lock::{FileLock, peek},
};
use crate::{
    error::{Error, ErrorKind, Result},
    plan::Needs,
};

/// A place in the queue, kept for as long as this lives.
#[derive(Debug)]
pub struct Ticket {
    lock: Option<FileLock>,
    path: PathBuf,
}

/// What a waiter waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// The process that asks again and again.
    pub(crate) waiter: Process,
    /// Its run: only records that this uses count.
    pub(crate) run: String,
    /// The target's name.
    pub(crate) target: String,
    /// The definition's hash.
    pub(crate) hash: String,
    /// One certain instance, by name.
    pub(crate) instance: Option<String>,
    /// What it needs of an instance that only the instance can tell.
    #[serde(default)]
    pub(crate) needs: Needs,
    /// How many instances, all or none.
    pub(crate) count: usize,
}

impl Ticket {
    /// The last place. `pool.lock` is held by the caller, here and below.
    pub(crate) fn draw(tickets: &Path, claim: &Claim) -> Result<Self> {
        let last = list(tickets)?.iter().filter_map(|path| number(path)).max();
        let path = tickets.join(format!("{:016}.lock", last.unwrap_or(0) + 1));
        let lock = FileLock::try_take(&path)?
            .ok_or_else(|| Error::new(ErrorKind::Pool, "the queue's last ticket is taken"))?;
        let text = serde_json::to_string(claim).map_err(|error| {
            Error::new(ErrorKind::Pool, "cannot draw a ticket").with_source(error)
        })?;
        lock.write(&text)?;
        Ok(Self {
            lock: Some(lock),
            path,
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            lock.remove();
        }
    }
}

/// Who waits before this ticket (without one: all who wait), in order. Tickets of the dead are removed, those of
/// the stopped keep their place and are passed by.
pub(crate) fn ahead(tickets: &Path, of: Option<&Ticket>) -> Result<Vec<Claim>> {
    let mut claims = Vec::new();
    for path in list(tickets)? {
        if of.is_some_and(|ticket| path >= ticket.path) {
            break;
        }
        if let Some(dead) = FileLock::try_take(&path)? {
            dead.remove();
        } else if let Ok(claim) = serde_json::from_str::<Claim>(&peek(&path)?)
            && !claim.waiter.is_stopped()
        {
            claims.push(claim);
        }
    }
    Ok(claims)
}

fn number(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_first_come_first_served_and_forgets_the_dead() {
        let dir = tempfile::tempdir().unwrap();
        let claim = |count| Claim {
            needs: Needs::new(),
            waiter: Process::current(),
            run: "r".to_owned(),
            target: "alpha".to_owned(),
            hash: "h".to_owned(),
            instance: None,
            count,
        };
        let first = Ticket::draw(dir.path(), &claim(1)).unwrap();
        let second = Ticket::draw(dir.path(), &claim(2)).unwrap();
        let counts = |of: Option<&Ticket>| -> Vec<usize> {
            let claims = ahead(dir.path(), of).unwrap();
            claims.iter().map(|claim| claim.count).collect()
        };
        assert_eq!(counts(Some(&first)), [0usize; 0]);
        assert_eq!(counts(Some(&second)), [1]);
        assert_eq!(counts(None), [1, 2]);
        drop(first);
        assert_eq!(counts(Some(&second)), [0usize; 0]);
        std::fs::write(dir.path().join("0000000000000001.lock"), "{}").unwrap();
        assert_eq!(counts(None), [2], "an unlocked ticket is a dead waiter's");
        assert!(!dir.path().join("0000000000000001.lock").exists());
    }
}
