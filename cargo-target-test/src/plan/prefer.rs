//! Chooses a target for tests that run on any one target.
//!
//! Must not know the other tests of the plan.

use clap::ValueEnum;

use super::Choosing;
use crate::{inventory::Inventory, playbook::PlaybookTarget};

/// The criterion of the choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Prefer {
    /// The target with the lowest cost, the first in the playbook if costs are equal (default)
    #[default]
    Cheapest,
    /// A target that has not run the test yet, then the one expected to finish first, based on durations of earlier
    /// runs (with `--partition`, on the number of cases)
    Fastest,
}

/// The assumed duration of a test without a recorded one, in seconds.
const UNKNOWN: f64 = 1.0;

/// The load of every target.
pub(super) struct Loads<'a> {
    inventory: &'a Inventory,
    targets: &'a [PlaybookTarget],
    choosing: &'a Choosing<'a>,
    /// Seconds per instance, by target.
    seconds: Vec<f64>,
}

impl<'a> Loads<'a> {
    pub(super) fn new(
        inventory: &'a Inventory,
        targets: &'a [PlaybookTarget],
        choosing: &'a Choosing<'a>,
    ) -> Self {
        Self {
            inventory,
            targets,
            choosing,
            seconds: vec![0.0; targets.len()],
        }
    }

    /// Adds `times` runs of a test to the load of a target.
    pub(super) fn add(&mut self, test: usize, target: usize, times: u32) {
        self.seconds[target] += self.share(test, target) * f64::from(times);
    }

    /// Returns the best target for a test among the given ones; `None` if there are none.
    pub(super) fn best(&self, prefer: Prefer, test: usize, among: &[usize]) -> Option<usize> {
        let cost = |target: usize| self.targets[target].cost;
        let until = |target: usize| self.seconds[target] + self.share(test, target);
        let worth = |target: usize| match prefer {
            Prefer::Cheapest => (false, cost(target), 0.0),
            Prefer::Fastest => {
                let known = self.recorded(test, target).is_some();
                (known, until(target), cost(target))
            }
        };
        let less = |a: &usize, b: &usize| {
            let (a, b) = (worth(*a), worth(*b));
            let untried = a.0.cmp(&b.0);
            untried.then(a.1.total_cmp(&b.1)).then(a.2.total_cmp(&b.2))
        };
        among.iter().copied().min_by(less)
    }

    /// Returns the recorded seconds of a test on a target.
    fn recorded(&self, test: usize, target: usize) -> Option<f64> {
        let label = self.choosing.label(test, &self.targets[target]);
        // Shards must plan the same cases.
        let durations = self.choosing.durations.filter(|_| !self.choosing.shared)?;
        let binary = &self.inventory.binary_of(test).id;
        durations.of(binary, &self.inventory.tests[test].name, label)
    }

    fn share(&self, test: usize, target: usize) -> f64 {
        let took = self.recorded(test, target);
        let (test, target) = (&self.inventory.tests[test], &self.targets[target]);
        let count = test.declared().count.unwrap_or(1);
        took.unwrap_or(UNKNOWN) * f64::from(count) / f64::from(target.count.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Durations, testing};

    /// Every target is tried once; then the faster one is preferred.
    #[test]
    fn a_target_without_a_recorded_duration_is_tried() {
        let inventory = testing::inventory(&[("a", None)]);
        let targets = ["one", "two", "three"].map(testing::target);
        let mut durations = Durations::default();
        for (target, seconds) in [("one", 0.1), ("two", 5.0), ("three", 0.01)] {
            let choosing = Choosing {
                durations: Some(&durations),
                ..Choosing::default()
            };
            let loads = Loads::new(&inventory, &targets, &choosing);
            let best = loads.best(Prefer::Fastest, 0, &[0, 1, 2]);
            assert_eq!(best.map(|best| &*targets[best].name), Some(target));
            durations.note("hello", "a", target, seconds);
        }
        let choosing = Choosing {
            durations: Some(&durations),
            ..Choosing::default()
        };
        let loads = Loads::new(&inventory, &targets, &choosing);
        assert_eq!(loads.best(Prefer::Fastest, 0, &[0, 1, 2]), Some(2));
        assert_eq!(loads.best(Prefer::Fastest, 0, &[0, 1]), Some(0));
        assert_eq!(loads.best(Prefer::Cheapest, 0, &[0, 1, 2]), Some(0));
    }
}
