//! Computes nextest's tool configuration for the chosen cases: groups, threads, priorities and settings of tests.
//!
//! Must not know the configuration's format.

use std::collections::{BTreeMap, BTreeSet};

use super::{InstanceSets, Selection};
use crate::execute::nextest::{
    ToolConfig,
    config::{DeclaredSettings, JunitConfig, PriorityMap},
};

impl Selection {
    pub(super) fn tool_config(
        &self,
        instance_sets: &InstanceSets,
        junit: JunitConfig,
    ) -> ToolConfig {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let instances: usize = instance_sets
            .values()
            .map(|instance_set| instance_set.at_once)
            .sum();
        let ordinary = (!self.plain.is_empty()).then_some(cores);
        ToolConfig {
            threads: cores.max(instances + ordinary.unwrap_or(0)),
            targets: instance_sets
                .values()
                .map(|s| (s.target().to_owned(), s.label.clone(), s.at_once))
                .collect(),
            ordinary,
            declared: self.declared(),
            order: self.order(),
            junit: Some(junit),
        }
    }

    /// Returns the cases with a priority other than 0.
    fn order(&self) -> PriorityMap {
        let mut order = PriorityMap::new();
        for case in self.chosen_cases().filter(|case| case.rank != 0) {
            let binaries = order.entry(case.rank).or_default();
            let tests = binaries.entry(case.info.binary_id.clone()).or_default();
            let labels = tests.entry(case.info.test.clone()).or_default();
            labels.extend(case.info.bracket());
        }
        order
    }

    fn declared(&self) -> DeclaredSettings {
        let mut all = BTreeMap::new();
        let cases = self.chosen_cases().map(|case| (case.test, case.count));
        let plain = self.plain.iter().map(|test| (*test, 1));
        for (test, count) in cases.chain(plain) {
            let test = &self.inventory.tests[test];
            let retries = test.metadata.as_ref().and_then(|metadata| metadata.retries);
            let values = [
                ("retries", retries.map(|count| count.to_string())),
                ("threads-required", (count > 1).then(|| count.to_string())),
            ];
            for (key, value) in values {
                let Some(value) = value else { continue };
                let binary = self.inventory.binaries[test.binary].id.clone();
                let tests: &mut BTreeSet<_> = all.entry((key, value, binary)).or_default();
                tests.insert(test.name.clone());
            }
        }
        all
    }
}
