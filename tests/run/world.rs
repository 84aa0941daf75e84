//! One crate whose tests do everything a run has to cope with; built once, run by many tests at a time.
//!
//! Owns its sources and the playbooks. Must not know what is expected of a run.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Mutex,
};

use crate::support::{Outcome, Project, Tool, feed, repository};

/// All tests share the folder of runs: the runs of others remove none that a test still reads.
const KEEP: &str = "[report]\nkeep = 200\n";
/// Two targets with two instances each, on this machine.
const TWO: &str = r#"
[[targets]]
name = "east"
platform = "local"
inherit-env = ["SCRATCH"]
count = 2

[[targets]]
name = "west"
platform = "local"
inherit-env = ["SCRATCH"]
count = 2
"#;

/// A test's own view of the crate: a pool, a playbook and a nextest configuration of its own.
pub(crate) struct World {
    project: Project,
}

impl World {
    /// The crate, on `east` and `west`.
    pub(super) fn new() -> Self {
        let unit = "#[cfg(test)]\nmod tests {\n    #[test]\n    fn expands() {}\n}\n";
        let macros = "[package]\nname = \"run-world-macros\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
                      [lib]\nproc-macro = true\n";
        let manifest = "run-world-macros.path = \"macros\"\n\n[[test]]\nname = \"odd\"\nharness = false\n\n\
                        [workspace]\nmembers = [\"macros\"]\n";
        Self::of(
            "run-world",
            manifest,
            &[
                ("macros/Cargo.toml", macros),
                ("macros/src/lib.rs", unit),
                ("tests/cases.rs", include_str!("../crates/run/cases.rs")),
                ("tests/odd.rs", include_str!("../crates/run/odd.rs")),
            ],
        )
    }

    /// A crate of another name, on `east` and `west`: what its manifest says after `target-fixtures`, its files.
    pub(crate) fn of(name: &str, manifest: &str, files: &[(&str, &str)]) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let root = root.join("projects").join(name);
        static WRITTEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        let mut written = WRITTEN.lock().expect("nobody panicked");
        if written.insert(name.to_owned()) {
            write(&root, name, manifest, files);
        }
        drop(written);
        let world = Self {
            project: Project::existing(&root),
        };
        world.file("target-test.toml", &format!("{KEEP}{TWO}"));
        world
    }

    /// The same on machines that a script makes: each is a file in the folder `machines`.
    pub(crate) fn on_machines(targets: &str) -> Self {
        Self::new().with_machines(targets)
    }

    /// Writes a playbook of machines that a script makes.
    pub(crate) fn with_machines(self, targets: &str) -> Self {
        let world = self;
        fs::create_dir(world.path("machines")).expect("a folder");
        world.program(
            "up",
            "set -e; read -r order; name=${order#*\\\"instance\\\":\\\"}; name=${name%%\\\"*}\n\
             echo $$ >machines/$name; echo \"deploy $name\" >>ledger\n\
             case $name in\n\
             bad-*) echo 'no such flavour' >&2; exit 3;;\n\
             slow-*) sleep 1000;;\n\
             esac\n\
             echo '{\"host\": \"localhost\", \"transport\": \"local\"}'\n",
        );
        world.program(
            "down",
            "read -r order; name=${order#*\\\"instance\\\":\\\"}; name=${name%%\\\"*}\n\
             rm -f machines/$name; echo \"delete $name\" >>ledger\n",
        );
        let base = "[platforms.command]\ndeploy = \"./up\"\ndelete = \"./down\"\n";
        world.file("target-test.toml", &format!("{KEEP}{base}{targets}"));
        world
    }

    /// A path in the test's private folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.project.private(name)
    }

    /// Writes a file in the private folder.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a file");
        path
    }

    /// Writes a shell script in the private folder.
    pub(crate) fn program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.file(name, &format!("#!/bin/sh\n{script}"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path
    }

    /// Gives nextest this configuration.
    pub(crate) fn nextest(self, toml: &str) -> Self {
        self.file("nextest.toml", toml);
        self
    }

    /// As [`World::tool`], by a program that starts the tool.
    pub(crate) fn through(&self, program: &Path, args: &[&str]) -> Tool {
        let tool = self.project.through(program);
        self.prepared(tool).args(args)
    }

    /// The tool; the crate's tests find the private folder in `SCRATCH`.
    pub(crate) fn tool(&self, args: &[&str]) -> Tool {
        self.prepared(self.project.tool([""; 0])).args(args)
    }

    fn prepared(&self, tool: Tool) -> Tool {
        let tool = tool
            .env("TARGET_TEST_PLAYBOOK", self.path("target-test.toml"))
            .env("SCRATCH", self.path(""));
        let config = self.path("nextest.toml");
        if config.exists() {
            tool.args(["--config-file"]).args([config])
        } else {
            tool
        }
    }

    /// Cargo, with the same environment.
    pub(crate) fn cargo(&self, args: &[&str]) -> Tool {
        let tool = self.project.cargo(args);
        tool.env("TARGET_TEST_PLAYBOOK", self.path("target-test.toml"))
            .env("SCRATCH", self.path(""))
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        self.tool(args).run()
    }

    /// The content of a private file that a test or a program wrote; empty if there is none.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The events of the last run.
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        feed::events(&self.path("target-test.toml"))
    }

    /// The folder of the last run.
    pub(crate) fn folder(&self) -> PathBuf {
        feed::folder(&self.path("target-test.toml"))
    }

    /// The machines that exist.
    pub(crate) fn machines(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("machines")).expect("the machines");
        let mut names: Vec<_> = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Nothing is left of a run: no instance in the pool, no machine, no private folder.
    #[track_caller]
    pub(crate) fn is_clean(&self) {
        let targets = self.project.run(&["targets", "--json"]).code(0);
        let json: serde_json::Value = serde_json::from_str(&targets.stdout).expect("JSON");
        let left = json.as_array().map_or(0, Vec::len);
        assert_eq!(left, 0, "{targets:?}");
        if self.path("machines").exists() {
            assert_eq!(self.machines(), [""; 0]);
        }
        self.has_no_private_folder();
    }

    /// No private folder of a run is left.
    #[track_caller]
    pub(super) fn has_no_private_folder(&self) {
        let runtime = fs::read_dir(self.path("run")).expect("the runtime folder");
        let left: Vec<_> = runtime.flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// `PASS`, `FAIL`, ... as nextest counts them in its summary line: `3 tests run: 2 passed, 1 failed`.
pub(crate) fn summary(run: &Outcome) -> &str {
    let mut lines = run.stderr.lines();
    lines
        .rfind(|line| line.contains("Summary ["))
        .and_then(|line| line.split_once("] ")?.1.trim().into())
        .unwrap_or("")
}

/// Writes a crate and builds it, once for all tests.
fn write(root: &Path, name: &str, manifest: &str, files: &[(&str, &str)]) {
    fs::create_dir_all(root).expect("a folder");
    let lock = File::create(root.with_extension("lock")).expect("a lock file");
    lock.lock().expect("the lock");
    let fixtures = repository().join("target-fixtures");
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [dev-dependencies]\ntarget-fixtures.path = {fixtures:?}\n{manifest}\n[profile.dev]\ndebug = false\n"
    );
    let mut project = Project::existing(root).file("Cargo.toml", &manifest);
    for (path, content) in [("src/lib.rs", "")].iter().chain(files) {
        project = project.file(path, content);
    }
    if !project.path("Cargo.lock").exists() {
        let versions = fs::read_to_string(repository().join("Cargo.lock")).expect("Cargo.lock");
        project = project.file("Cargo.lock", &versions);
    }
    project
        .cargo(["test", "--workspace", "--no-run"])
        .run()
        .code(0);
}
