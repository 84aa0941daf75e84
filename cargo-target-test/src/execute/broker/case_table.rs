//! The cases, deploy entries and host tests of a run, by the names that nextest passes to runners.
//!
//! Names are looked up, never parsed.

use std::{
    collections::HashMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use target_fixtures::{
    env,
    metadata::{ProcessPlace, Reuse},
    wire::{ExpectedFailure, Failure, FailureKind, OrchestrationPlan},
};

use super::artifacts::CaseArtifacts;
use crate::{
    case::{CaseInfo, reason::DirtyReason},
    error::one_line,
    execute::programs::CasePrograms,
    plan::Needs,
    playbook::TestVariant,
    process,
    provision::{After, InstanceSet, Want},
};

/// An entry of the run for which nextest starts a runner.
pub enum Runnable {
    /// A test that runs once, on the host.
    OnHost {
        /// The identity of the test.
        info: Arc<CaseInfo>,
        /// The way the test is started.
        start: TestStart,
    },
    /// One test on one target.
    Case(LeasingCase),
    /// Shows a deploy.
    Deploy {
        /// The entry's identity.
        info: Arc<CaseInfo>,
        /// The instances of the target.
        instance_set: Arc<InstanceSet>,
        /// The instance's index.
        index: usize,
    },
}

/// A case, ready to run once it has its lease.
pub struct LeasingCase {
    /// The identity of the case.
    pub info: Arc<CaseInfo>,
    /// The instances that the case can lease.
    pub instance_set: Arc<InstanceSet>,
    /// The number of instances that the case needs.
    pub count: u32,
    /// Requirements that are checked on an instance.
    pub needs: Needs,
    /// The test's path with its crate: `hello::smoke`.
    pub full_name: String,
    /// The treatment of the instances before other tests lease them.
    pub reuse: Reuse,
    /// True if every attempt gets an unused instance.
    pub fresh: bool,
    /// True if an attempt after a failed attempt gets an unused instance.
    pub retry_fresh: bool,
    /// The programs that the test can start on its instances.
    pub programs: CasePrograms,
    /// The place of the test process.
    pub place: ProcessPlace,
    /// True if the test has `#[target_test]`, and needs the broker.
    pub has_attribute: bool,
    /// The artifacts to collect from the instances.
    pub artifacts: CaseArtifacts,
    /// The orchestration that the test runs, if it runs one.
    pub orchestration: Option<Arc<OrchestrationPlan>>,
    /// The way the test is started.
    pub start: TestStart,
}

/// The way a test is started.
#[derive(Clone, Debug, Default)]
pub struct TestStart {
    /// The runner configured by the user, put before the test binary; usually empty.
    pub prefix: Vec<String>,
    /// The name of the test in the binary: `smoke`.
    pub test: String,
    /// True if the test has `#[ignore]`, so that the test harness needs `--ignored`.
    pub ignored: bool,
    /// The time limit that the test declares, if any.
    pub timeout: Option<Duration>,
    /// The failures that are expected; if there are any, a pass is a failure.
    pub expect_fail: Vec<ExpectedFailure>,
    /// The configuration that the test runs with, if it has variants.
    pub variant: Option<Arc<TestVariant>>,
}

impl TestStart {
    /// The environment variables that tell the test its variant.
    pub(in crate::execute) fn variables(&self) -> impl Iterator<Item = (&'static str, String)> {
        let variant = self.variant.iter();
        variant.flat_map(|variant| {
            let params = json!(variant.params).to_string();
            [
                (env::VARIANT, variant.name.clone()),
                (env::VARIANT_PARAMS, params),
            ]
        })
    }

    /// Returns the command of the test without the user's runner.
    pub(in crate::execute) fn without_prefix(&self, binary: &Path) -> Command {
        let start = Self {
            prefix: Vec::new(),
            ..self.clone()
        };
        start.command(binary)
    }

    /// Returns the command of the test with its variant, without the arguments that nextest adds.
    pub(in crate::execute) fn command(&self, binary: &Path) -> Command {
        let mut words = self.prefix.iter().map(OsStr::new).collect::<Vec<_>>();
        words.extend([binary.as_os_str(), "--exact".as_ref(), self.test.as_ref()]);
        let mut command = process::command(words.remove(0));
        command.args(words).envs(self.variables());
        if self.ignored {
            command.arg("--ignored");
        }
        command
    }
}

impl LeasingCase {
    /// Returns the identity of the case in its set: binary id and name.
    pub(super) fn key(&self) -> (&str, &str) {
        (&self.info.binary_id, &self.info.name)
    }

    /// Returns the demand of the case.
    pub(super) fn want(&self) -> Want {
        Want {
            fresh: self.fresh,
            ..self.instance_set.want(self.count, &self.needs)
        }
    }

    /// Returns the time that an orchestration has to end by itself; `None` for any other test.
    pub(in crate::execute) fn stops_within(&self) -> Option<Duration> {
        self.orchestration.as_ref().map(|plan| plan.grace * 2)
    }

    /// Returns the time limit that counts; `is_set_up` is true if the set-up of an orchestration has ended.
    pub(in crate::execute) fn limit(&self, is_set_up: bool) -> Option<Duration> {
        match &self.orchestration {
            Some(plan) if !is_set_up => plan.set_up_limit,
            _ => self.start.timeout,
        }
    }

    /// Returns the treatment of the instances after the case.
    pub(super) fn after(&self) -> After {
        let name = &self.info.name;
        match self.reuse {
            Reuse::Yes => After::Reuse,
            Reuse::No => After::Spend(DirtyReason::Spent(name.clone())),
            Reuse::Snapshot => After::Restore(name.clone()),
        }
    }
}

/// All entries for which nextest may start a runner, and the options of the run that the broker needs.
#[derive(Default)]
pub struct CaseTable {
    entries: HashMap<PathBuf, HashMap<String, Runnable>>,
    /// Names of deploy entries, by instance.
    deploys: HashMap<String, String>,
    /// True if nextest captures the output of runners. The broker then prints notices of waiting cases itself.
    pub captured: bool,
    /// True if instances that no remaining case needs are deleted at once.
    pub releases: bool,
}

impl CaseTable {
    /// Adds an entry of a test binary.
    pub fn insert(&mut self, binary: PathBuf, runnable: Runnable) {
        let info = match &runnable {
            Runnable::OnHost { info, .. } | Runnable::Case(LeasingCase { info, .. }) => info,
            Runnable::Deploy {
                info,
                instance_set,
                index,
            } => {
                let instance = instance_set.wanted[*index].instance();
                self.deploys.insert(instance, info.name.clone());
                info
            }
        };
        let name = info.name.clone();
        self.entries
            .entry(binary)
            .or_default()
            .insert(name, runnable);
    }

    /// Returns the failure as the log of a case shows it: one line. The deploy entry of the run shows the whole cause of
    /// the first deploy of an instance; the summary shows other causes.
    pub(super) fn shortened(&self, set: &InstanceSet, failure: &Failure) -> Failure {
        let message = one_line(&failure.message);
        let first = set.failed_at_first(&failure.message);
        let hint = match first.and_then(|instance| self.deploys.get(&instance)) {
            Some(entry) => Some(format!("see `{entry}` for details")),
            // The summary has one line for each crash.
            None if failure.kind == FailureKind::Crash => return failure.clone(),
            None if message != failure.message => {
                let hint = failure.hint.iter().map(|hint| format!("{hint}; "));
                let hint: String = hint.collect();
                Some(hint + "the whole cause is shown after the last test")
            }
            None => failure.hint.clone(),
        };
        Failure {
            message,
            hint,
            ..failure.clone()
        }
    }

    /// Returns the tests that run once, on the host.
    pub(crate) fn on_host(&self) -> impl Iterator<Item = &Arc<CaseInfo>> {
        let entries = self.entries.values().flat_map(HashMap::values);
        entries.filter_map(|entry| match entry {
            Runnable::OnHost { info, .. } => Some(info),
            _ => None,
        })
    }

    pub(super) fn get(&self, binary: &Path, name: &str) -> Option<&Runnable> {
        self.entries.get(binary)?.get(name)
    }

    /// Returns a case and its binary.
    pub(in crate::execute) fn case(&self, info: &CaseInfo) -> Option<(&Path, &LeasingCase)> {
        self.entries.iter().find_map(|(binary, entries)| {
            let Runnable::Case(case) = entries.get(&info.name)? else {
                return None;
            };
            (case.info.binary_id == info.binary_id).then_some((binary.as_path(), case))
        })
    }
}
