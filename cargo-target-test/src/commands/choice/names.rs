//! What the broker has to know of the names that nextest gives to runners.
//!
//! Owns how a case of the plan becomes one of the broker's. Must not know what the broker does with it.

use std::{path::PathBuf, sync::Arc};

use target_fixtures::{
    metadata::{Metadata, RetryOn},
    wire::Run,
};

use super::{Choice, Supplies, deploy_name};
use crate::{
    error::Result,
    execute::broker::{Case, Entry, Names, Supply},
    inventory, plan,
};

impl Choice {
    /// What the broker has to know of every name that nextest will give to a runner.
    pub fn names(&self, supplies: &Supplies, prefix: &[String]) -> Result<Names> {
        let mut names = Names::default();
        for case in self.chosen_cases() {
            let (path, entry) = self.entry(case, &supplies[&case.target], prefix);
            names.insert(path, case.info.name.clone(), entry);
        }
        for test in &self.plain {
            let (path, mut run) = self.how_to_run(*test, prefix);
            let metadata = self.inventory.tests[*test].metadata.as_ref();
            let expected = metadata.and_then(|metadata| plan::everywhere(&metadata.expect_fail));
            run.expect_fail = expected.map(str::to_owned);
            names.insert(path, run.test.clone(), Entry::Plain { run });
        }
        if !self.is_debugged() {
            let binary = self.stage.deploy_binary()?;
            for supply in supplies.values() {
                for index in 0..supply.at_once {
                    let entry = Entry::Deploy {
                        supply: Arc::clone(supply),
                        index,
                    };
                    names.insert(binary.clone(), deploy_name(supply, index), entry);
                }
            }
        }
        Ok(names)
    }

    /// A case for the broker, and its binary.
    fn entry(
        &self,
        case: &plan::Case,
        supply: &Arc<Supply>,
        prefix: &[String],
    ) -> (PathBuf, Entry) {
        let (path, mut run) = self.how_to_run(case.test, prefix);
        let nothing = Metadata::default();
        let metadata = self.inventory.tests[case.test].metadata.as_ref();
        let metadata = metadata.unwrap_or(&nothing);
        run.expect_fail.clone_from(&case.expect_fail);
        let target = &self.setting.playbook.targets[case.target];
        let entry = Case {
            supply: Arc::clone(supply),
            count: case.count,
            needs: plan::asked(&metadata.requirements, &target.assured),
            full_name: self.full_name(case.test),
            reuse: self.reuse(case.test),
            retry_fresh: metadata.retry_on == Some(RetryOn::Fresh),
            run,
        };
        (path, Entry::Case(entry))
    }

    fn how_to_run(&self, test: usize, prefix: &[String]) -> (PathBuf, Run) {
        let test = &self.inventory.tests[test];
        let path = self.inventory.binaries[test.binary]
            .path
            .clone()
            .into_std_path_buf();
        let timeout = test
            .metadata
            .as_ref()
            .and_then(|one| one.timeout.as_deref());
        let timeout = timeout.and_then(millis);
        let (test, ignored) = (test.name.clone(), test.ignored);
        (
            path,
            Run {
                prefix: prefix.to_vec(),
                test,
                ignored,
                timeout,
                ..Run::default()
            },
        )
    }

    fn full_name(&self, test: usize) -> String {
        let test = &self.inventory.tests[test];
        let binary = &self.inventory.binaries[test.binary];
        format!("{}::{}", inventory::crate_name(&binary.name), test.name)
    }
}

fn millis(text: &str) -> Option<u64> {
    u64::try_from(humantime::parse_duration(text).ok()?.as_millis()).ok()
}
