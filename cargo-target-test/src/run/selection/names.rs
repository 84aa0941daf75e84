//! Builds the table of all entries for which nextest may start a runner.
//!
//! Must not know how the broker uses the table.

use std::{path::PathBuf, sync::Arc};

use target_fixtures::{
    metadata::{Metadata, RetryOn},
    wire::Run,
};

use super::{InstanceSets, Selection, deploy_name};
use crate::{
    case::CaseInfo,
    error::Result,
    execute::{
        broker::{CaseTable, LeasingCase, Runnable},
        nextest::stage::DEPLOY_BINARY,
    },
    inventory, plan,
    provision::InstanceSet,
};

impl Selection {
    /// Returns the table of all names that nextest passes to runners.
    pub fn case_table(&self, instance_sets: &InstanceSets, prefix: &[String]) -> Result<CaseTable> {
        let mut table = CaseTable::default();
        for case in self.chosen_cases() {
            let (path, runnable) = self.runnable(case, &instance_sets[&case.target], prefix);
            table.insert(path, runnable);
        }
        for test in &self.plain {
            let (path, mut run) = self.how_to_run(*test, prefix);
            let metadata = self.inventory.tests[*test].metadata.as_ref();
            let expected = metadata.and_then(|metadata| plan::everywhere(&metadata.expect_fail));
            run.expect_fail = expected.map(str::to_owned);
            let info = plan::host_case(&self.inventory, *test);
            table.insert(path, Runnable::OnHost { info, run });
        }
        if !self.is_debugged() {
            let binary = self.stage.deploy_binary()?;
            for instance_set in instance_sets.values() {
                for index in 0..instance_set.at_once {
                    let info = CaseInfo::on_host(DEPLOY_BINARY, deploy_name(instance_set, index));
                    let runnable = Runnable::Deploy {
                        info: Arc::new(info),
                        instance_set: Arc::clone(instance_set),
                        index,
                    };
                    table.insert(binary.clone(), runnable);
                }
            }
        }
        Ok(table)
    }

    /// Returns the entry of a case, and its binary.
    fn runnable(
        &self,
        case: &plan::Case,
        instance_set: &Arc<InstanceSet>,
        prefix: &[String],
    ) -> (PathBuf, Runnable) {
        let (path, mut run) = self.how_to_run(case.test, prefix);
        let nothing = Metadata::default();
        let metadata = self.inventory.tests[case.test].metadata.as_ref();
        let metadata = metadata.unwrap_or(&nothing);
        run.expect_fail.clone_from(&case.expect_fail);
        let target = &self.workspace.playbook.targets[case.target];
        let case_to_run = LeasingCase {
            info: Arc::clone(&case.info),
            instance_set: Arc::clone(instance_set),
            count: case.count,
            needs: plan::asked(&metadata.requirements, &target.assured),
            full_name: self.full_name(case.test),
            reuse: self.reuse(case.test),
            retry_fresh: metadata.retry_on == Some(RetryOn::Fresh),
            run,
        };
        (path, Runnable::Case(case_to_run))
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
