//! The cases, deploy entries and host tests of a run, by the names that nextest gives to runners.
//!
//! Owns the lookup: names are never parsed.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use target_fixtures::{metadata::Reuse, wire::Run};

use crate::{
    case::{CaseInfo, reason::DirtyReason},
    plan::Needs,
    provision::{After, InstanceSet, Want},
};

/// What a runner is started for.
pub enum Runnable {
    /// A test that runs once, on the host.
    OnHost {
        /// Its identity.
        info: Arc<CaseInfo>,
        /// The way it is started.
        run: Run,
    },
    /// One test on one target.
    Case(LeasingCase),
    /// Shows a deploy.
    Deploy {
        /// The entry's identity.
        info: Arc<CaseInfo>,
        /// Of this target.
        supply: Arc<InstanceSet>,
        /// The instance's index.
        index: usize,
    },
}

/// A case, ready to run once it has its lease.
pub struct LeasingCase {
    /// Its identity.
    pub info: Arc<CaseInfo>,
    /// Where its instances come from.
    pub supply: Arc<InstanceSet>,
    /// How many it needs.
    pub count: u32,
    /// What it needs of an instance that only the instance can tell.
    pub needs: Needs,
    /// The test's path with its crate: `hello::smoke`.
    pub full_name: String,
    /// What becomes of its instances before other tests get them.
    pub reuse: Reuse,
    /// Whether an attempt after a failed one gets an instance that no test has used.
    pub retry_fresh: bool,
    /// How the test is started; environment and lease are added.
    pub run: Run,
}

impl LeasingCase {
    /// What it asks for.
    pub(super) fn want(&self) -> Want {
        self.supply.want(self.count, &self.needs)
    }

    /// What becomes of its instances after it.
    pub(super) fn after(&self) -> After {
        let name = &self.info.name;
        match self.reuse {
            Reuse::Yes => After::Reuse,
            Reuse::No => After::Spend(DirtyReason::Spent(name.clone())),
            Reuse::Snapshot => After::Restore(name.clone()),
        }
    }
}

/// Everything that nextest may start a runner for, and what of the run's options the broker needs.
#[derive(Default)]
pub struct CaseTable {
    entries: HashMap<PathBuf, HashMap<String, Runnable>>,
    /// What shows the deploy of an instance.
    deploys: HashMap<String, String>,
    captured: bool,
    releases: bool,
    holds_failed: bool,
    output: Option<PathBuf>,
}

impl CaseTable {
    /// Nextest shows what a runner says only when its case fails: what cases wait for is said here too.
    pub fn set_captured(&mut self, captured: bool) {
        self.captured = captured;
    }

    /// The output of attempts is kept in this folder.
    pub fn set_output(&mut self, folder: PathBuf) {
        self.output = Some(folder);
    }

    /// The folder that the output of attempts is kept in; `None`: it is not kept.
    pub(super) fn output(&self) -> Option<&Path> {
        self.output.as_deref()
    }

    /// Instances that no remaining case needs are to go at once.
    pub fn set_releases(&mut self, releases: bool) {
        self.releases = releases;
    }

    /// Instances of cases that failed are to stay as they are, until shells have been opened on them.
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

    /// Adds what a runner may be started for with this binary.
    pub fn insert(&mut self, binary: PathBuf, runnable: Runnable) {
        let info = match &runnable {
            Runnable::OnHost { info, .. } | Runnable::Case(LeasingCase { info, .. }) => info,
            Runnable::Deploy {
                info,
                supply,
                index,
            } => {
                let instance = supply.wanted[*index].instance();
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

    /// The name that shows the deploy of an instance, if one does.
    pub(super) fn deploy_of(&self, instance: &str) -> Option<&str> {
        self.deploys.get(instance).map(String::as_str)
    }

    pub(super) fn get(&self, binary: &Path, name: &str) -> Option<&Runnable> {
        self.entries.get(binary)?.get(name)
    }
}
