//! Computes the instances that the chosen cases need, including spares.
//!
//! Must not deploy instances.

use std::collections::BTreeMap;

use target_fixtures::metadata::Reuse;

use super::{InstanceSets, Selection};
use crate::{
    error::Result,
    plan,
    provision::{InstanceSet, Need, PoolProvisioner},
};

impl Selection {
    /// Returns the instance sets that the chosen cases need, with as many instances as the cases can use at once.
    ///
    /// # Errors
    /// Fails if the pool cannot be read or a platform rejects an instance.
    pub fn instance_sets(&self, provisioner: &PoolProvisioner) -> Result<InstanceSets> {
        let mut needs = BTreeMap::<usize, Vec<&plan::Case>>::new();
        for case in self.chosen_cases() {
            needs.entry(case.target).or_default().push(case);
        }
        let instance_set = |(target, cases): (usize, Vec<&plan::Case>)| {
            let instance_set = self.instance_set(provisioner, target, &cases)?;
            for one in instance_set.wanted.iter().take(1) {
                one.platform.check(&one.spec(""))?;
            }
            Ok((target, provisioner.add(instance_set)))
        };
        needs.into_iter().map(instance_set).collect()
    }

    /// Returns the instances of a target that its cases need.
    fn instance_set(
        &self,
        provisioner: &PoolProvisioner,
        number: usize,
        cases: &[&plan::Case],
    ) -> Result<InstanceSet> {
        let target = &self.workspace.playbook.targets[number];
        let spends = |case: &plan::Case| self.reuse(case.test) == Reuse::No;
        let sum = |cases: &mut dyn Iterator<Item = &&plan::Case>| {
            cases.fold(0_u32, |sum, case| sum.saturating_add(case.count))
        };
        let need = target.count.min(sum(&mut cases.iter()));
        let spent = sum(&mut cases.iter().filter(|case| spends(case)));
        let spares = target.max_spares.min(spent.saturating_sub(need));
        let mut wanted = self
            .workspace
            .wanted(number, target.count.max(need + spares))?;
        wanted = provisioner.run().enabled(wanted)?;
        if wanted.len() > (need + spares) as usize {
            wanted = provisioner.run().free_first(wanted)?;
            // Existing machines need no deploy, so request all of them: one may replace an unavailable one.
            let made = wanted
                .iter()
                .any(|one| one.platform.ownership().is_created());
            let most = if made { need + spares } else { target.count };
            wanted.truncate(most as usize);
        }
        // A kept instance must have a state to go back to, for the tests of later runs.
        let restores = |case: &&plan::Case| self.reuse(case.test) == Reuse::Snapshot;
        if self.run.keep_targets.is_some() || cases.iter().any(restores) {
            for one in &mut wanted {
                one.snapshot = one.can_restore(&self.workspace.platforms);
            }
        }
        let (label, cost) = (target.label.clone(), target.cost);
        let spares = wanted.len().saturating_sub(need as usize);
        let instance_set = InstanceSet::new(wanted, spares, label, cost);
        for case in cases {
            let need = Need {
                count: case.count,
                spends: spends(case),
            };
            instance_set.expect((&case.info.binary_id, &case.info.name), need);
        }
        Ok(instance_set)
    }
}
