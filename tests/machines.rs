//! Machines that are made, prepared, lost and found again: what is not the same for every platform.

/// Containers that do not start, and commands that are killed in them.
mod container;
/// Networks of virtual machines.
mod networks;
/// Machines that are collected by their owner.
mod owner;
/// Recipes, waits, and what happens to machines that stay.
mod prepare;
/// Instances that are put back to how they were.
mod snapshot;
/// Instances that talk to each other.
mod talk;
/// Faults of virtual machines.
mod vm;

use std::{fs, path::PathBuf, sync::OnceLock};

use crate::support::{self, Outcome, Project, Tool};

const TESTS: &str = include_str!("crates/machines/machines.rs");

/// A project and a playbook of one test's own.
struct Lab {
    project: Project,
}

impl Lab {
    fn new(playbook: &str) -> Self {
        static ROOT: OnceLock<PathBuf> = OnceLock::new();
        let root = ROOT.get_or_init(|| {
            let project = Project::new("machines").file("tests/machines.rs", TESTS);
            let built = project.cargo(["test", "--no-run", "--test", "machines"]);
            built.run().code(0);
            project.path("")
        });
        let lab = Self {
            project: Project::existing(root),
        };
        lab.write("target-test.toml", playbook);
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.project.private(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    fn tool(&self, args: &[&str]) -> Tool {
        self.in_environment(self.project.tool(args))
    }

    fn in_environment(&self, tool: Tool) -> Tool {
        tool.patience(support::vm::PATIENCE)
            .env("TARGET_TEST_PLAYBOOK", self.path("target-test.toml"))
            .env("MACHINES_AT", self.path(""))
    }

    /// Runs the tool with a clock that is this many hours ahead.
    #[track_caller]
    fn later(&self, hours: u32, args: &[&str]) -> Outcome {
        let tool = self.project.later(hours, args);
        self.in_environment(tool).run()
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Outcome {
        self.tool(args).run()
    }
}
