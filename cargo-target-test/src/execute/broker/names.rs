//! What the names mean that nextest gives to runners.
//!
//! Owns the lookup: names are never parsed.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use target_fixtures::wire::Run;

use super::supply::Supply;

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
        supply: Arc<Supply>,
        /// The instance's index.
        index: usize,
    },
}

/// A case, ready to run once it has its lease.
pub struct Case {
    /// Where its instances come from.
    pub supply: Arc<Supply>,
    /// How many it needs.
    pub count: u32,
    /// The test's path with its crate: `hello::smoke`.
    pub full_name: String,
    /// Whether other tests may get its instances.
    pub reuse: bool,
    /// How the test is started; environment and lease are added.
    pub run: Run,
}

impl Case {
    /// Why other tests must not get its instances, if so.
    pub(super) fn spent(&self, name: &str) -> Option<String> {
        (!self.reuse).then(|| format!("`{name}` declares `reuse = false`"))
    }
}

/// All names of a run.
#[derive(Default)]
pub struct Names {
    entries: HashMap<PathBuf, HashMap<String, Entry>>,
    captured: bool,
}

impl Names {
    /// Nextest shows what a runner says only when its case fails: what cases wait for is said here too.
    pub fn set_captured(&mut self, captured: bool) {
        self.captured = captured;
    }

    pub(super) fn captured(&self) -> bool {
        self.captured
    }

    /// Gives a binary's name a meaning.
    pub fn insert(&mut self, binary: PathBuf, name: String, entry: Entry) {
        self.entries.entry(binary).or_default().insert(name, entry);
    }

    pub(super) fn get(&self, binary: &Path, name: &str) -> Option<&Entry> {
        self.entries.get(binary)?.get(name)
    }
}
