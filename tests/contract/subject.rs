//! The platforms under the contract.

pub(super) mod command;
pub(super) mod container;
pub(super) mod local;
pub(super) mod programs;
pub(super) mod qemu;
pub(super) mod ssh;

use std::{fs, path::Path};

pub(crate) use cargo_target_test::contract::Subject;

use crate::support::processes::running;

/// The processes that carry this in their environment, for all of a pool's instances.
fn marked(name: &str, label: &str) -> Vec<String> {
    let mark = format!("{name}={label}");
    let found = running(|one| one.has_variable(&mark)).into_iter();
    found.map(|pid| pid.to_string()).collect()
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
