//! The tests that look at an instance from inside, and the folder of one check.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::Subject;
use crate::support::{Outcome, PATIENCE, Project, Started, Tool, vm};

const TESTS: &str = include_str!("../crates/contract/contract.rs");

/// The built project.
fn project() -> Project {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        let project = Project::new("contract").file("tests/contract.rs", TESTS);
        let built = project.cargo(["test", "--no-run", "--test", "contract"]);
        built.run().code(0);
        project.path("")
    });
    Project::existing(root)
}

/// One check's own place: a pool, a playbook, and what its tests write.
pub(super) struct Place {
    project: Project,
}

impl Place {
    pub(super) fn new(subject: &impl Subject) -> Self {
        let place = Self { project: project() };
        place.write("target-test.toml", &subject.playbook(&place.path("")));
        place
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.project.private(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    pub(super) fn pool(&self) -> PathBuf {
        self.path("pool")
    }

    pub(super) fn tool(&self, subject: &impl Subject, args: &[&str]) -> Tool {
        let patience = match subject.is_slow() {
            true => vm::PATIENCE,
            false => PATIENCE,
        };
        let tool = self.project.tool(args).patience(patience);
        tool.env("TARGET_TEST_PLAYBOOK", self.path("target-test.toml"))
            .env("CONTRACT_AT", self.path(""))
            .env("CONTRACT_IDENTITY", subject.identity())
    }

    #[track_caller]
    pub(super) fn run(&self, subject: &impl Subject, args: &[&str]) -> Outcome {
        self.tool(subject, args).run()
    }

    pub(super) fn start(&self, subject: &impl Subject, args: &[&str]) -> Started {
        self.tool(subject, args).start()
    }

    /// What is in the pool's folder that an empty pool has not.
    pub(super) fn left_in_pool(&self) -> Vec<PathBuf> {
        let folders = ["instances", "runs", "tickets"].map(|name| self.pool().join(name));
        let files = folders
            .iter()
            .flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
        files
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| !is_fresh_run(path))
            .collect()
    }
}

/// The lock files of runs may outlive them; who looks next removes them.
fn is_fresh_run(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("runs"))
}
