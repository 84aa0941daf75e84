//! The queue of those who wait for leases, over all processes.
//!
//! Owns `tickets/<number>.lock`: the number is the place in the queue, the lock says that the waiter lives,
//! the text what it waits for. Must not know how instances are chosen.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

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
    drawn: Instant,
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
            drawn: Instant::now(),
        })
    }

    /// For how long it was waited with it.
    pub(crate) fn age(&self) -> Duration {
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

/// The tickets before this one (without one: all), in order; some may be those of the dead or the stopped.
pub(crate) fn ahead(tickets: &Path, of: Option<&Ticket>) -> Result<Vec<PathBuf>> {
    let mut paths = list(tickets)?;
    paths.retain(|path| of.is_none_or(|ticket| *path < ticket.path));
    Ok(paths)
}

/// What the holder of a ticket waits for. Tickets of the dead are removed, those of the stopped keep their place and
/// are passed by.
pub(crate) fn claim(ticket: &Path) -> Result<Option<Claim>> {
    if let Some(dead) = FileLock::try_take(ticket)? {
        dead.remove();
        return Ok(None);
    }
    let claim = serde_json::from_str::<Claim>(&peek(ticket)?).ok();
    Ok(claim.filter(|claim| !claim.waiter.is_stopped()))
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
            let tickets = ahead(dir.path(), of).unwrap();
            let claims = tickets
                .iter()
                .filter_map(|ticket| super::claim(ticket).unwrap());
            claims.map(|claim| claim.count).collect()
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
