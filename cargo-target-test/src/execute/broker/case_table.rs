//! The cases, deploy entries and host tests of a run, by the names that nextest passes to runners.
//!
//! Names are looked up, never parsed.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use target_fixtures::{
    metadata::Reuse,
    wire::{Failure, Run},
};

use crate::{
    case::{CaseInfo, reason::DirtyReason},
    error::one_line,
    plan::Needs,
    provision::{After, InstanceSet, Want},
};

/// An entry of the run for which nextest starts a runner.
pub enum Runnable {
    /// A test that runs once, on the host.
    OnHost {
        /// The identity of the test.
        info: Arc<CaseInfo>,
        /// The way the test is started.
        run: Run,
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
    /// True if an attempt after a failed attempt gets an unused instance.
    pub retry_fresh: bool,
    /// The way the test is started, without environment and lease.
    pub run: Run,
}

impl LeasingCase {
    /// Returns the identity of the case in its set: binary id and name.
    pub(super) fn key(&self) -> (&str, &str) {
        (&self.info.binary_id, &self.info.name)
    }

    /// Returns the demand of the case.
    pub(super) fn want(&self) -> Want {
        self.instance_set.want(self.count, &self.needs)
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
    captured: bool,
    releases: bool,
    holds_failed: bool,
    output: Option<PathBuf>,
}

impl CaseTable {
    /// Sets whether nextest captures the output of runners. The broker then prints notices of waiting cases itself.
    pub fn set_captured(&mut self, captured: bool) {
        self.captured = captured;
    }

    /// Sets the folder for the output of attempts.
    pub fn set_output(&mut self, folder: PathBuf) {
        self.output = Some(folder);
    }

    /// Returns the folder for the output of attempts; `None` if the output is not kept.
    pub(super) fn output(&self) -> Option<&Path> {
        self.output.as_deref()
    }

    /// Sets whether instances that no remaining case needs are deleted at once.
    pub fn set_releases(&mut self, releases: bool) {
        self.releases = releases;
    }

    /// Sets whether the instances of failed cases are kept until shells have been opened on them.
    pub fn set_holds_failed(&mut self, holds: bool) {
        self.holds_failed = holds;
    }

    pub(super) fn holds_failed(&self) -> bool {
        self.holds_failed
    }

    pub(super) fn releases(&self) -> bool {
        self.releases
    }

    pub(super) fn captured(&self) -> bool {
        self.captured
    }

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

    /// Returns the failure as the log of a case shows it. If a deploy entry of the run shows the failed deploy in full,
    /// the case shows one line. A deploy entry covers only the first deploy of an instance, not its replacement.
    pub(super) fn shortened(&self, set: &InstanceSet, failure: &Failure) -> Failure {
        let first = set.failed_at_first(&failure.message);
        match first.and_then(|instance| self.deploys.get(&instance)) {
            Some(entry) => Failure {
                message: one_line(&failure.message),
                hint: Some(format!("see `{entry}` for details")),
                ..failure.clone()
            },
            None => failure.clone(),
        }
    }

    pub(super) fn get(&self, binary: &Path, name: &str) -> Option<&Runnable> {
        self.entries.get(binary)?.get(name)
    }
}
