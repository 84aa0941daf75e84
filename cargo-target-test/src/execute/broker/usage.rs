//! For how long instances existed in this run.
//!
//! Owns the clock of each. Must not know what they did.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// What a run had of a target.
#[derive(Clone, Debug, PartialEq)]
pub struct Used {
    /// The target.
    pub target: String,
    /// How many instances there were.
    pub instances: usize,
    /// For how long each existed, added up.
    pub time: Duration,
    /// What the target costs.
    pub cost: f64,
}

/// The time of every slot.
pub(super) struct Usage {
    since: Vec<Option<Instant>>,
    before: Duration,
    /// The records of all that were ready, and the slot of each.
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

    /// An instance is being made, or found.
    pub(super) fn began(&mut self, slot: usize) {
        self.since[slot].get_or_insert_with(Instant::now);
    }

    /// It is ready, under this record.
    pub(super) fn ready(&mut self, slot: usize, record: &str) {
        self.seen.insert(record.to_owned(), slot);
    }

    /// Whether one was ready there.
    pub(super) fn was_ready(&self, slot: usize) -> bool {
        self.seen.values().any(|seen| *seen == slot)
    }

    /// It is not any more.
    pub(super) fn ended(&mut self, slot: usize) {
        let lived = self.since[slot].take().map(|since| since.elapsed());
        self.before += lived.unwrap_or_default();
    }

    /// The time of all that were and are, and how many.
    pub(super) fn total(&self) -> (Duration, usize) {
        let living = self.since.iter().flatten().map(Instant::elapsed);
        (self.before + living.sum::<Duration>(), self.seen.len())
    }
}
