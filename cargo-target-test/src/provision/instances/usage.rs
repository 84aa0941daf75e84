//! The time for which instances existed in this run.
//!
//! Owns the times of each slot. Must not look at a clock: times come in.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// The use that a run made of a target.
#[derive(Clone, Debug, PartialEq)]
pub struct Used {
    /// The target.
    pub target: String,
    /// The number of instances.
    pub instances: usize,
    /// The time for which each existed, added up.
    pub time: Duration,
    /// The target's `cost`.
    pub cost: f64,
}

/// The time of every slot.
#[derive(Debug)]
pub(super) struct Usage {
    since: Vec<Option<Instant>>,
    before: Duration,
    /// The slots of all records that were ready.
    seen: BTreeMap<String, usize>,
}

impl Usage {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            since: vec![None; slots],
            before: Duration::ZERO,
            seen: BTreeMap::new(),
        }
    }

    /// An instance is being deployed, or found.
    pub(super) fn began(&mut self, slot: usize, now: Instant) {
        self.since[slot].get_or_insert(now);
    }

    /// The instance of a slot is ready, under this record.
    pub(super) fn ready(&mut self, slot: usize, record: &str) {
        self.seen.insert(record.to_owned(), slot);
    }

    /// True if an instance was ready in this slot.
    pub(super) fn was_ready(&self, slot: usize) -> bool {
        self.seen.values().any(|seen| *seen == slot)
    }

    /// The instance of a slot does not exist any more.
    pub(super) fn ended(&mut self, slot: usize, now: Instant) {
        let since = self.since[slot].take();
        self.before += since.map_or(Duration::ZERO, |since| now.duration_since(since));
    }

    /// The time of all that existed until now, and their number.
    pub(super) fn total(&self, now: Instant) -> (Duration, usize) {
        let living = self.since.iter().flatten();
        let living = living.map(|since| now.duration_since(*since));
        (self.before + living.sum::<Duration>(), self.seen.len())
    }
}
