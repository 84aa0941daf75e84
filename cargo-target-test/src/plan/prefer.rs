//! Which target a test gets that does not care.
//!
//! Owns the choice among those that fit. Must not know what else is run.

use super::Durations;
use crate::{inventory::Inventory, playbook::Target};

/// What decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefer {
    /// The lowest cost; among equals the first in the playbook.
    #[default]
    Cheapest,
    /// Where it is likely to end first, beside all that runs there anyway.
    Fastest,
}

/// How long something takes that was never run, in seconds.
const UNKNOWN: f64 = 1.0;

/// The work that every target has already.
pub(super) struct Loads<'a> {
    inventory: &'a Inventory,
    targets: &'a [Target],
    durations: &'a Durations,
    /// Seconds, by target, shared out among its instances.
    seconds: Vec<f64>,
}

impl<'a> Loads<'a> {
    pub(super) fn new(
        inventory: &'a Inventory,
        targets: &'a [Target],
        durations: &'a Durations,
    ) -> Self {
        Self {
            inventory,
            targets,
            durations,
            seconds: vec![0.0; targets.len()],
        }
    }

    /// A test is run so often on this target.
    pub(super) fn add(&mut self, test: usize, target: usize, times: u32) {
        self.seconds[target] += self.share(test, target) * f64::from(times);
    }

    /// The best of these targets (not none) for a test.
    pub(super) fn best(&self, prefer: Prefer, test: usize, among: &[usize]) -> Option<usize> {
        let cost = |target: usize| self.targets[target].cost;
        let until = |target: usize| self.seconds[target] + self.share(test, target);
        let worth = |target: usize| match prefer {
            Prefer::Cheapest => (cost(target), 0.0),
            Prefer::Fastest => (until(target), cost(target)),
        };
        let less = |a: &usize, b: &usize| {
            let (a, b) = (worth(*a), worth(*b));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        };
        among.iter().copied().min_by(less)
    }

    fn share(&self, test: usize, target: usize) -> f64 {
        let (test, target) = (&self.inventory.tests[test], &self.targets[target]);
        let binary = &self.inventory.binaries[test.binary].id;
        let took = self.durations.of(binary, &test.name, &target.label);
        let count = test
            .metadata
            .as_ref()
            .and_then(|one| one.count)
            .unwrap_or(1);
        took.unwrap_or(UNKNOWN) * f64::from(count) / f64::from(target.count.max(1))
    }
}
