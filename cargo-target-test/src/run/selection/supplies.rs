//! Which instances the chosen cases need.
//!
//! Owns how many, and which of them are spares. Must not have any made.

use std::collections::BTreeMap;

use target_fixtures::metadata::Reuse;

use super::{Selection, Supplies};
use crate::{
    error::Result,
    plan,
    provision::{InstanceSet, Need, PoolProvisioner},
};

impl Selection {
    /// The supplies that the chosen cases need: as many instances as they can use at once.
    ///
    /// # Errors
    /// When the pool cannot be read, or a platform cannot tell what an instance excludes.
    pub fn supplies(&self, provisioner: &PoolProvisioner) -> Result<Supplies> {
        let mut needs = BTreeMap::<usize, Vec<&plan::Case>>::new();
        for case in self.chosen_cases() {
            needs.entry(case.target).or_default().push(case);
        }
        let supply = |(target, cases): (usize, Vec<&plan::Case>)| {
            let supply = self.supply(provisioner, target, &cases)?;
            for one in supply.wanted.iter().take(1) {
                one.platform.check(&one.order(""))?;
            }
            Ok((target, provisioner.add(supply)))
        };
        needs.into_iter().map(supply).collect()
    }

    /// The instances of a target that these cases of it need.
    fn supply(
        &self,
        provisioner: &PoolProvisioner,
        number: usize,
        cases: &[&plan::Case],
    ) -> Result<InstanceSet> {
        let target = &self.setting.playbook.targets[number];
        let spends = |case: &plan::Case| self.reuse(case.test) == Reuse::No;
        let sum = |cases: &mut dyn Iterator<Item = &&plan::Case>| {
            cases.fold(0_u32, |sum, case| sum.saturating_add(case.count))
        };
        let need = target.count.min(sum(&mut cases.iter()));
        let spent = sum(&mut cases.iter().filter(|case| spends(case)));
        let spares = target.max_spares.min(spent.saturating_sub(need));
        let mut wanted = self
            .setting
            .wanted(number, target.count.max(need + spares))?;
        if wanted.len() > (need + spares) as usize {
            wanted = provisioner.run().free_first(wanted)?;
            // A machine that is there anyway may serve where another cannot be had.
            let made = wanted
                .iter()
                .any(|one| one.platform.ownership().is_created());
            let most = if made { need + spares } else { target.count };
            wanted.truncate(most as usize);
        }
        if cases
            .iter()
            .any(|case| self.reuse(case.test) == Reuse::Snapshot)
        {
            for one in &mut wanted {
                one.snapshot = one.platform.can_restore();
            }
        }
        let (label, cost) = (target.label.clone(), target.cost);
        let spares = wanted.len().saturating_sub(need as usize);
        let supply = InstanceSet::new(wanted, spares, label, cost);
        for case in cases {
            let need = Need {
                count: case.count,
                spends: spends(case),
            };
            supply.expect((&case.info.binary_id, &case.info.name), need);
        }
        Ok(supply)
    }
}
