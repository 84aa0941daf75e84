//! Computes nextest's tool configuration for the cases of one nextest run: groups, threads, priorities and settings of
//! tests.
//!
//! Must not know the configuration's format.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entries, InstanceSets, Selection, orchestrations};
use crate::{
    execute::nextest::{
        GroupedCases, TargetGroup, ToolConfig,
        config::{CaseNames, DeclaredSetting, DeclaredSettings, JunitConfig, PriorityMap},
    },
    plan,
};

impl Selection {
    /// Returns the configuration of one of `parts` parallel nextest runs. Only the first of them deploys.
    pub(super) fn tool_config(
        &self,
        entries: &Entries,
        (part, parts): (usize, usize),
        instance_sets: &InstanceSets,
        junit: JunitConfig,
    ) -> ToolConfig {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let cores = (cores / parts).max(1);
        let ordinary = (!entries.plain.is_empty()).then_some(cores);
        let group = |(target, set): (&usize, &std::sync::Arc<crate::provision::InstanceSet>)| {
            let cases = self.cases_of(entries).filter(|case| case.target == *target);
            let needed: usize = cases.clone().map(|case| case.count as usize).sum();
            let at_once = match part {
                0 => set.at_once,
                _ => set.at_once.min(needed),
            };
            let of = &self.workspace.playbook.targets[*target];
            TargetGroup {
                target: set.target().to_owned(),
                at_once: at_once.max(1),
                cases: match of.label == of.name {
                    true => GroupedCases::Labelled(of.label.clone()),
                    false => GroupedCases::Named(names(cases)),
                },
            }
        };
        let targets: Vec<_> = instance_sets.iter().map(group).collect();
        let instances: usize = targets.iter().map(|group| group.at_once).sum();
        ToolConfig {
            threads: cores.max(instances + ordinary.unwrap_or(0)),
            targets,
            ordinary,
            declared: self.declared(entries),
            order: self.order(entries),
            junit: Some(junit),
        }
    }

    /// Returns the cases with a priority other than 0.
    fn order(&self, entries: &Entries) -> PriorityMap {
        let mut order = PriorityMap::new();
        for case in self.cases_of(entries).filter(|case| case.rank != 0) {
            add(order.entry(case.rank).or_default(), case);
        }
        order
    }

    fn declared(&self, entries: &Entries) -> DeclaredSettings {
        let mut all = BTreeMap::new();
        let cases = self.cases_of(entries).map(|case| (case.test, case.count));
        let plain = entries.plain.iter().map(|test| (*test, 1));
        for (test, count) in cases.chain(plain) {
            let grace = self
                .orchestration(test)
                .map(|plan| orchestrations::to_end(&plan));
            let test = &self.inventory.tests[test];
            let settings = [
                test.declared().retries.map(DeclaredSetting::Retries),
                (count > 1).then_some(DeclaredSetting::Threads(count)),
                grace.map(DeclaredSetting::EndsItself),
            ];
            for setting in settings.into_iter().flatten() {
                let binary = self.inventory.binaries[test.binary].id.clone();
                let tests: &mut BTreeSet<_> = all.entry((setting, binary)).or_default();
                tests.insert(test.name.clone());
            }
        }
        all
    }
}

/// Returns the names of cases.
fn names<'a>(cases: impl Iterator<Item = &'a plan::Case>) -> CaseNames {
    let mut names = CaseNames::new();
    cases.for_each(|case| add(&mut names, case));
    names
}

fn add(names: &mut CaseNames, case: &plan::Case) {
    let tests = names.entry(case.info.binary_id.clone()).or_default();
    let labels = tests.entry(case.info.test.clone()).or_default();
    labels.extend(case.info.bracket());
}
