//! What the names mean that nextest gives to runners.
//!
//! Owns the lookup: names are never parsed.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use target_fixtures::{metadata::Reuse, wire::Run};

use crate::{
    plan::Needs,
    provision::{After, InstanceSet, Want},
};

/// What one name means.
pub enum Entry {
    /// A test that runs once, on the host.
    Plain {
        /// How.
        run: Run,
    },
    /// One test on one target.
    Case(Case),
    /// Shows a deploy.
    Deploy {
        /// Of this target.
        supply: Arc<InstanceSet>,
        /// The instance's index.
        index: usize,
    },
}

/// A case, ready to run once it has its lease.
pub struct Case {
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

impl Case {
    /// What it asks for.
    pub(super) fn want(&self) -> Want {
        self.supply.want(self.count, &self.needs)
    }

    /// What becomes of its instances after it, as this case of it was named.
    pub(super) fn after(&self, name: &str) -> After {
        match self.reuse {
            Reuse::Yes => After::Reuse,
            Reuse::No => After::Spend(format!("`{name}` declares `reuse = false`")),
            Reuse::Snapshot => After::Restore(format!("`{name}` declares `reuse = \"snapshot\"`")),
        }
    }
}

/// All names of a run.
#[derive(Default)]
pub struct Names {
    entries: HashMap<PathBuf, HashMap<String, Entry>>,
    /// What shows the deploy of an instance.
    deploys: HashMap<String, String>,
    captured: bool,
    releases: bool,
    holds_failed: bool,
}

impl Names {
    /// Nextest shows what a runner says only when its case fails: what cases wait for is said here too.
    pub fn set_captured(&mut self, captured: bool) {
        self.captured = captured;
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

    /// Gives a binary's name a meaning.
    pub fn insert(&mut self, binary: PathBuf, name: String, entry: Entry) {
        if let Entry::Deploy { supply, index } = &entry {
            let instance = supply.wanted[*index].instance();
            self.deploys.insert(instance, name.clone());
        }
        self.entries.entry(binary).or_default().insert(name, entry);
    }

    /// The name that shows the deploy of an instance, if one does.
    pub(super) fn deploy_of(&self, instance: &str) -> Option<&str> {
        self.deploys.get(instance).map(String::as_str)
    }

    pub(super) fn get(&self, binary: &Path, name: &str) -> Option<&Entry> {
        self.entries.get(binary)?.get(name)
    }
}
