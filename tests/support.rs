//! Shared parts of the end-to-end tests: projects, runs of the tool in them, sshd to run it against, waiting.
//!
//! Ends everything that a test starts. Must not know the subject of a test.

#![allow(dead_code, reason = "each test module uses what it needs")]

/// A browser.
pub(crate) mod browser;
/// A container engine.
pub(crate) mod container;
/// The files that a run leaves.
pub(crate) mod feed;
/// Processes of this machine.
pub(crate) mod processes;
/// A crate of a test's own.
mod project;
/// A link that is slow or breaks.
pub(crate) mod proxy;
/// A disk that is soon full.
mod small_disk;
/// sshd on loopback.
mod sshd;
/// A real terminal.
mod terminal;
/// The tool, run to its end or watched while it runs.
mod tool;
/// A user of this machine for one test.
mod user;
/// Images for virtual machines.
pub(crate) mod vm;

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

#[allow(unused_imports, reason = "as above")]
pub(crate) use self::{
    project::Project,
    small_disk::SmallDisk,
    sshd::Sshd,
    terminal::Terminal,
    tool::{Outcome, Started, Tool},
    user::User,
};

/// The time limit of [`eventually`] and of a run of the tool; far more than a busy machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// The soft limit of a process for the size of core files.
#[track_caller]
pub(crate) fn core_limit(pid: impl std::fmt::Display) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
    let mut lines = limits.lines();
    let line = lines.find(|line| line.starts_with("Max core file size"));
    let number = line.expect("a limit").split_whitespace().nth(4);
    number.expect("a number").to_owned()
}

/// The project's own folder.
pub(crate) fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}

/// Waits until the condition holds; `what` completes "waited for ...".
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(1);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The tool in the project's own workspace, on its examples; builds share one target folder.
pub(crate) fn examples() -> Project {
    Project::existing(&repository())
}

/// Returns what a test needs, or `None` if this host cannot have it, which fails if `TARGET_TEST_NO_SKIP` is set.
pub(crate) fn here<T>(found: Result<T, String>) -> Option<T> {
    found
        .inspect_err(|why| {
            let required = std::env::var_os("TARGET_TEST_NO_SKIP").is_some();
            assert!(!required, "no such machines here: {why}");
            eprintln!("skipped, since such machines cannot run here: {why}");
        })
        .ok()
}
