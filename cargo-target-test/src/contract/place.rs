//! The place of one check: a pool, a playbook, and the crate whose tests examine instances from inside.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    Site, Subject,
    run::{ToolOutput, ToolRun},
};
use crate::{
    process,
    provision::pool::{Pool, Record},
};

/// The tests that examine an instance from inside.
const CASES: &str = include_str!("../../contract/cases.rs");
/// Environment variables that the tool and Cargo inherit.
const KEPT: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TMPDIR",
    "CARGO_HOME",
    "CARGO_NET_OFFLINE",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUSTFLAGS",
];
/// The time limit of one run, far beyond what a busy host needs.
const PATIENCE: Duration = Duration::from_secs(450);

/// A private folder with a pool and a playbook. A check that fails deletes its instances.
pub(super) struct Place<'a, S: Subject> {
    site: Site,
    subject: &'a S,
    private: TempDir,
}

impl<'a, S: Subject> Place<'a, S> {
    pub(super) fn new(site: Site, subject: &'a S) -> Self {
        // The path of a socket in it is limited to 108 bytes.
        let private = tempfile::Builder::new().prefix("tt-").tempdir();
        let place = Self {
            site,
            subject,
            private: private.expect("a temporary folder"),
        };
        for name in ["state", "run", "config", "cache"] {
            fs::create_dir(place.path(name)).expect("a private folder");
        }
        place.write("target-test.toml", &subject.playbook(&place.path("")));
        place
    }

    /// A path in the private folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.private.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    pub(super) fn pool(&self) -> PathBuf {
        self.path("pool")
    }

    /// Runs the tool with these arguments, in the crate with the cases.
    pub(super) fn tool(&self, args: &[&str]) -> ToolRun {
        static PROJECT: OnceLock<PathBuf> = OnceLock::new();
        let project = PROJECT.get_or_init(|| self.build());
        let mut run = self.program(self.site.tool, project);
        run.command.args(args);
        run.env("TARGET_TEST_PLAYBOOK", self.path("target-test.toml"))
            .env("CONTRACT_AT", self.path(""))
            .env("CONTRACT_IDENTITY", self.subject.identity())
    }

    #[track_caller]
    pub(super) fn run(&self, args: &[&str]) -> ToolOutput {
        self.tool(args).run()
    }

    /// Waits until `done` holds; `what` completes "waited for ...".
    #[track_caller]
    pub(super) fn eventually(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < deadline, "timed out waiting for {what}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Files in the pool's folder that an empty pool does not have.
    pub(super) fn left_in_pool(&self) -> Vec<PathBuf> {
        let folders = ["instances", "tickets"].map(|name| self.pool().join(name));
        let files = folders
            .iter()
            .flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
        files.map(|entry| entry.expect("an entry").path()).collect()
    }

    /// Asserts that nothing exists any more, from outside the tool.
    #[track_caller]
    pub(super) fn assert_nothing(&self, why: &str) {
        let mut left = Vec::new();
        self.eventually(&format!("the end of everything {why}"), || {
            left = self.subject.exists(&self.pool());
            left.is_empty()
        });
        assert_eq!(self.left_in_pool(), Vec::<PathBuf>::new(), "{why}");
    }

    /// Asserts that something exists, if the platform creates machines.
    #[track_caller]
    pub(super) fn assert_something(&self, why: &str) {
        let exists = || !self.subject.exists(&self.pool()).is_empty();
        assert!(!self.subject.makes_machines() || exists(), "nothing {why}");
    }

    /// The only record of the pool.
    #[track_caller]
    pub(super) fn only(&self) -> Record {
        let pool = Pool::open(&self.pool()).expect("the pool");
        let state = pool.state().expect("its state");
        let records: Vec<_> = state.records.values().collect();
        let [record] = records.as_slice() else {
            panic!("{records:?}");
        };
        Record::clone(record)
    }

    /// A program with a clean environment.
    fn program(&self, program: &str, directory: &Path) -> ToolRun {
        let mut command = process::command(program);
        command.current_dir(directory).env_clear();
        let kept = KEPT.iter();
        command.envs(kept.filter_map(|name| Some((*name, std::env::var_os(name)?))));
        for (name, folder) in [
            ("XDG_STATE_HOME", "state"),
            ("XDG_RUNTIME_DIR", "run"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_CACHE_HOME", "cache"),
            ("TARGET_TEST_POOL", "pool"),
        ] {
            command.env(name, self.path(folder));
        }
        command.env("TARGET_TEST_TOOL", self.site.tool);
        command.env("NO_COLOR", "1").env("COLUMNS", "100");
        command.env(
            "CARGO_TARGET_DIR",
            Path::new(self.site.folder).join("builds"),
        );
        if beside().is_some() {
            command.env("CARGO_NET_OFFLINE", "true");
        }
        ToolRun {
            command,
            patience: PATIENCE,
        }
    }

    /// Writes and builds the crate with the cases, shared by all checks.
    fn build(&self) -> PathBuf {
        let projects = Path::new(self.site.folder).join("projects");
        let root = projects.join("contract");
        fs::create_dir_all(root.join("tests")).expect("a folder for the project");
        fs::create_dir_all(root.join("src")).expect("a folder for the project");
        let lock = File::create(projects.join("contract.lock")).expect("a lock file");
        lock.lock().expect("the project's lock");
        let fixtures = match beside() {
            Some(path) => format!("target-fixtures.path = {path:?}"),
            None => format!("target-fixtures = \"={}\"", env!("CARGO_PKG_VERSION")),
        };
        let manifest = format!(
            "[package]\nname = \"contract\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [dev-dependencies]\n{fixtures}\n\n[profile.dev]\ndebug = false\n\n[workspace]\n"
        );
        for (name, text) in [
            ("Cargo.toml", manifest.as_str()),
            ("src/lib.rs", ""),
            ("tests/contract.rs", CASES),
        ] {
            // An unchanged file is not built again.
            if fs::read_to_string(root.join(name)).ok().as_deref() != Some(text) {
                fs::write(root.join(name), text).expect("a file of the project");
            }
        }
        // Versions that Cargo has without the network.
        let mut folders = Path::new(self.site.package).ancestors();
        let versions = folders.find_map(|folder| fs::read(folder.join("Cargo.lock")).ok());
        if let Some(versions) = versions.filter(|_| !root.join("Cargo.lock").exists()) {
            fs::write(root.join("Cargo.lock"), versions).expect("the project's Cargo.lock");
        }
        let mut cargo = self.program("cargo", &root);
        cargo
            .command
            .args(["test", "--no-run", "--test", "contract"]);
        cargo.run().code(0);
        root
    }
}

impl<S: Subject> Drop for Place<'_, S> {
    fn drop(&mut self) {
        if thread::panicking() && self.pool().join("pool.json").exists() {
            let delete = self.tool(&["--delete-targets", "--force"]);
            let _ = process::Spawn::new(delete.command).run(b"", delete.patience, &|_| {});
        }
    }
}

/// The source folder of `target-fixtures` beside this crate; `None` if this crate comes from a registry.
fn beside() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target-fixtures");
    path.is_dir().then_some(path)
}

/// The pool's label.
pub(super) fn label(pool: &Path) -> Option<String> {
    let text = fs::read_to_string(pool.join("pool.json")).ok()?;
    let state: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(state["label"].as_str()?.to_owned())
}

/// The names of a folder's entries.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
