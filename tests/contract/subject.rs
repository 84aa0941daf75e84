//! The platforms under the contract.

pub(super) mod command;
pub(super) mod container;
pub(super) mod local;
pub(super) mod programs;
pub(super) mod qemu;
pub(super) mod ssh;

use std::{fs, path::Path};

/// A platform as the checks see it.
pub(super) trait Subject {
    /// A playbook with one target `it` of two instances, for a check whose folder this is.
    fn playbook(&self, folder: &Path) -> String;

    /// A line of the target's that is wrong, which the error shows.
    fn wrong_line(&self) -> &'static str;

    /// The playbook with the wrong line, in place of the right one if there is one.
    fn wrong_playbook(&self, folder: &Path) -> String {
        let wrong = self.wrong_line();
        let key = wrong.split('=').next();
        let mut playbook = String::new();
        for line in self.playbook(folder).lines() {
            if line.split('=').next() != key {
                playbook = playbook + line + "\n";
            }
        }
        playbook + wrong + "\n"
    }

    /// The machines that exist, looked at without the tool.
    fn machines(&self, pool: &Path) -> Vec<String>;

    /// Machines and folders of instances, looked at without the tool.
    fn exists(&self, pool: &Path) -> Vec<String> {
        let mut all = self.machines(pool);
        all.extend(names(&pool.join("instances")));
        all
    }

    /// Removes every instance without the tool; whether there is a way to.
    fn remove_behind_our_back(&self, pool: &Path) -> bool;

    /// Whether an instance is on a machine that outlives it.
    fn machines_stay(&self) -> bool {
        false
    }

    /// Whether instances are made, so that a kept one exists.
    fn makes_machines(&self) -> bool {
        true
    }

    /// Whether making one takes seconds.
    fn is_slow(&self) -> bool {
        false
    }

    /// A command that prints what is unlike on any two instances.
    fn identity(&self) -> &'static str;

    /// A command that prints what a restart changes; `None` where the platform has no restart.
    fn boot_id(&self) -> Option<&'static str> {
        None
    }

    /// Whether its playbook hands `CONTRACT_SECRET` on to instances.
    fn passes_secret(&self) -> bool {
        false
    }
}

/// The recipe of each playbook, which has two steps.
const RECIPE: &str = "[recipes.two]\nsteps = [{ run = \"true\" }, { run = \"true\" }]\n";

/// The processes that carry the pool's label in this variable of their environment.
fn marked(name: &str, pool: &Path) -> Vec<String> {
    let Some(label) = label(pool) else {
        return Vec::new();
    };
    let mark = format!("{name}={label}");
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let is_marked = |environment: Vec<u8>| {
        environment
            .split(|byte| *byte == 0)
            .any(|one| one.starts_with(mark.as_bytes()))
    };
    let found =
        processes.filter(|entry| fs::read(entry.path().join("environ")).is_ok_and(is_marked));
    found
        .map(|entry| entry.path().display().to_string())
        .collect()
}

/// The pool's label: what everything carries.
fn label(pool: &Path) -> Option<String> {
    let text = fs::read_to_string(pool.join("pool.json")).ok()?;
    let state: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(state["label"].as_str()?.to_owned())
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
