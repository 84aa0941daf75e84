//! Builds the table of all entries for which nextest may start a runner.
//!
//! Must not know how the broker uses the table.

use std::{path::PathBuf, sync::Arc, time::Duration};

use target_fixtures::metadata::RetryOn;

use super::{InstanceSets, Selection, deploy_name};
use crate::{
    case::{CaseInfo, DEPLOY_BINARY},
    error::Result,
    execute::broker::{CaseArtifacts, CaseTable, LeasingCase, Runnable, TestStart},
    inventory, plan,
    provision::InstanceSet,
};

impl Selection {
    /// Returns the table of all names that nextest passes to runners.
    pub fn case_table(&self, instance_sets: &InstanceSets, prefix: &[String]) -> Result<CaseTable> {
        let mut table = CaseTable::default();
        for case in self.chosen_cases() {
            let (path, runnable) = self.runnable(case, &instance_sets[&case.target], prefix)?;
            table.insert(path, runnable);
        }
        for test in &self.entries.plain {
            let (path, mut start) = self.start_of(*test, prefix);
            start.expect_fail =
                plan::expected_failures(self.inventory.tests[*test].declared(), None);
            let info = plan::host_case(&self.inventory, *test);
            table.insert(path, Runnable::OnHost { info, start });
        }
        if !self.nextest.debugs() {
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
    ) -> Result<(PathBuf, Runnable)> {
        let (path, mut start) = self.start_of(case.test, prefix);
        let metadata = self.inventory.tests[case.test].declared();
        start.expect_fail.clone_from(&case.expect_fail);
        start.variant.clone_from(&case.variant);
        start.timeout = start.timeout.or(self.default_timeout());
        let target = &self.workspace.playbook.targets[case.target];
        let case_to_run = LeasingCase {
            info: Arc::clone(&case.info),
            instance_set: Arc::clone(instance_set),
            count: case.count,
            needs: plan::asked(metadata, target),
            full_name: self.full_name(case.test),
            reuse: self.reuse(case.test),
            fresh: metadata.fresh == Some(true),
            retry_fresh: metadata.retry_on == Some(RetryOn::Fresh),
            programs: self.programs_of(case)?,
            place: self.place(case),
            has_attribute: self.inventory.tests[case.test].attribute,
            artifacts: CaseArtifacts::new(&target.lifecycle.around, metadata),
            orchestration: self.orchestration(case.test),
            start,
        };
        Ok((path, Runnable::Case(case_to_run)))
    }

    /// Returns the time limit of tests that declare none.
    pub(super) fn default_timeout(&self) -> Option<Duration> {
        let of_playbook = self.workspace.playbook.rules.defaults.timeout;
        self.run.timeout.or(of_playbook.map(|limit| limit.0))
    }

    /// Returns the way a test is started, and its binary.
    pub(super) fn start_of(&self, test: usize, prefix: &[String]) -> (PathBuf, TestStart) {
        let test = &self.inventory.tests[test];
        let binary = &self.inventory.binaries[test.binary];
        let timeout = test.declared().timeout.as_deref();
        let start = TestStart {
            prefix: prefix.to_vec(),
            test: test.name.clone(),
            ignored: test.ignored,
            timeout: timeout.and_then(|text| humantime::parse_duration(text).ok()),
            expect_fail: Vec::new(),
            variant: None,
        };
        (binary.path.clone().into_std_path_buf(), start)
    }

    pub(super) fn full_name(&self, test: usize) -> String {
        let test = &self.inventory.tests[test];
        let binary = &self.inventory.binaries[test.binary];
        format!("{}::{}", inventory::crate_name(&binary.name), test.name)
    }
}
