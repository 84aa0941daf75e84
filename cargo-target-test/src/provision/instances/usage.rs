//! The time for which instances existed in this run.
//!
//! Must not read a clock: times are arguments.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// The use of a target by a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Used {
    /// The target.
    pub target: String,
    /// The number of instances.
    pub instances: usize,
    /// The sum of the times for which the instances existed.
    pub time: Duration,
    /// The target's `cost`.
    pub cost: f64,
}

/// The times of every slot.
#[derive(Debug)]
pub(super) struct Usage {
    since: Vec<Option<Instant>>,
    before: Duration,
    /// The slot of every record that was ever ready.
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

    /// Notes that a slot's instance is being deployed, or looked up.
    pub(super) fn began(&mut self, slot: usize, now: Instant) {
        self.since[slot].get_or_insert(now);
    }

    /// Notes that the instance of a slot is ready, under this record.
    pub(super) fn ready(&mut self, slot: usize, record: &str) {
        self.seen.insert(record.to_owned(), slot);
    }

    /// True if an instance was ready in this slot.
    pub(super) fn was_ready(&self, slot: usize) -> bool {
        self.seen.values().any(|seen| *seen == slot)
    }

    /// Notes that the instance of a slot does not exist any more.
    pub(super) fn ended(&mut self, slot: usize, now: Instant) {
        let since = self.since[slot].take();
        self.before += since.map_or(Duration::ZERO, |since| now.duration_since(since));
    }

    /// The sum of the times until now, and the number of instances.
    pub(super) fn total(&self, now: Instant) -> (Duration, usize) {
        let living = self.since.iter().flatten();
        let living = living.map(|since| now.duration_since(*since));
        (self.before + living.sum::<Duration>(), self.seen.len())
    }
}
