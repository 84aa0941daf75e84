//! A small crate of a test's own, to run the tool in.
//!
//! Projects live below the build's folder under their names, so that the second run of a test finds them
//! built; all share one target folder, so that `target-fixtures` is compiled once. State, configuration
//! and pool are fresh for every [`Project`].

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{Outcome, Tool, repository};

/// A crate to run the tool in.
pub(crate) struct Project {
    root: PathBuf,
    private: TempDir,
    files: BTreeSet<PathBuf>,
    /// One test at a time has a project of this name.
    lock: Option<File>,
}

impl Project {
    /// A crate of this name, with an empty library and `target-fixtures` at hand. The name is the
    /// test's own: two tests never share one.
    pub(crate) fn new(name: &str) -> Self {
        let projects = Path::new(env!("CARGO_TARGET_TMPDIR")).join("projects");
        fs::create_dir_all(projects.join(name)).expect("a folder for the project");
        let lock = File::create(projects.join(format!("{name}.lock"))).expect("a lock file");
        lock.lock().expect("the project's lock");
        let fixtures = repository().join("target-fixtures");
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [dev-dependencies]\ntarget-fixtures.path = {fixtures:?}\n\n\
             [profile.dev]\ndebug = false\n\n[workspace]\n"
        );
        let project = Self {
            root: projects.join(name),
            private: private(),
            files: BTreeSet::new(),
            lock: Some(lock),
        };
        // The lock file that the network is not needed for.
        let versions = fs::read_to_string(repository().join("Cargo.lock")).expect("Cargo.lock");
        if !project.path("Cargo.lock").exists() {
            fs::write(project.path("Cargo.lock"), versions).expect("the project's Cargo.lock");
        }
        project.file("Cargo.toml", &manifest).file("src/lib.rs", "")
    }

    /// A folder that exists, used as it is.
    pub(crate) fn existing(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            private: private(),
            files: BTreeSet::new(),
            lock: None,
        }
    }

    /// Another clone: the same files in a folder of its own, which shares this one's pool.
    pub(crate) fn cloned(&self, name: &str) -> Clone<'_> {
        let root = self.root.with_file_name(name);
        for file in self.files.iter().chain([&self.path("Cargo.lock")]) {
            let copy = root.join(
                file.strip_prefix(&self.root)
                    .expect("a file of the project"),
            );
            let mut content = fs::read(file).expect("a file of the project");
            if file.ends_with("Cargo.toml") {
                // In one target folder, clones of one package would overwrite each other's binaries.
                content.extend_from_slice(b"\n[features]\ndefault = [\"clone\"]\nclone = []\n");
            }
            if fs::read(&copy).ok().as_ref() != Some(&content) {
                fs::create_dir_all(copy.parent().expect("a parent")).expect("the file's folder");
                fs::write(copy, content).expect("a copied file");
            }
        }
        Clone { root, of: self }
    }

    /// Writes a file, where it differs: what is unchanged is not built again.
    pub(crate) fn file(mut self, path: &str, content: &str) -> Self {
        let file = self.path(path);
        if fs::read_to_string(&file).ok().as_deref() != Some(content) {
            fs::create_dir_all(file.parent().expect("a parent")).expect("the file's folder");
            fs::write(&file, content).expect("a file of the project");
        }
        self.files.insert(file);
        self
    }

    /// Writes `tests/NAME.rs`, the prelude imported.
    pub(crate) fn test_file(self, name: &str, body: &str) -> Self {
        let text = format!("#![allow(unused)]\nuse target_fixtures::prelude::*;\n{body}");
        self.file(&format!("tests/{name}.rs"), &text)
    }

    /// Writes the playbook where the tool finds it.
    pub(crate) fn playbook(self, toml: &str) -> Self {
        self.file("target-test.toml", toml)
    }

    /// A path in the project.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A path in the test's private folder (which also holds the pool, `pool`): gone after the test.
    pub(crate) fn private(&self, path: &str) -> PathBuf {
        self.private.path().join(path)
    }

    /// The tool, in the project.
    pub(crate) fn tool(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Tool {
        self.sweep();
        self.prepared(Tool::new(&self.root, self.private.path()))
            .args(args)
    }

    /// Cargo, in the project.
    pub(crate) fn cargo(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Tool {
        self.sweep();
        self.prepared(Tool::program("cargo", &self.root, self.private.path()))
            .args(args)
    }

    /// A program that starts the tool, in the tool's place.
    pub(crate) fn through(&self, program: impl AsRef<OsStr>) -> Tool {
        self.prepared(Tool::program(program, &self.root, self.private.path()))
    }

    /// The tool, in the project, with a clock that is this many hours ahead. It must not run tests: a process that is
    /// killed under `faketime` can keep a semaphore that the others wait for.
    pub(crate) fn later(&self, hours: u32, args: &[&str]) -> Tool {
        let tool = env!("CARGO_BIN_EXE_cargo-target-test");
        let wrong = format!("+{hours}h");
        let faketime = self.through("faketime").args(["-f", &wrong, tool]);
        faketime.args(args)
    }

    /// Runs the tool in the project, to its end.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        self.tool(args).run()
    }

    fn prepared(&self, tool: Tool) -> Tool {
        let builds = Path::new(env!("CARGO_TARGET_TMPDIR")).join("builds");
        tool.env("CARGO_TARGET_DIR", builds)
            .env("CARGO_NET_OFFLINE", "true")
    }

    /// Removes test files that an earlier version of the test left.
    fn sweep(&self) {
        let left = fs::read_dir(self.path("tests"))
            .into_iter()
            .flatten()
            .flatten();
        for path in left.map(|entry| entry.path()) {
            if self.lock.is_some() && !self.files.contains(&path) {
                let _ = fs::remove_file(path);
            }
        }
        let playbook = self.path("target-test.toml");
        if self.lock.is_some() && !self.files.contains(&playbook) {
            let _ = fs::remove_file(playbook);
        }
    }
}

impl Drop for Project {
    /// A test that fails leaves no machine behind, which would slow down all others.
    fn drop(&mut self) {
        if std::thread::panicking() && self.private("pool/pool.json").exists() {
            let delete = self.tool(["--delete-targets", "--force"]);
            let _ = delete.into_command().output();
        }
    }
}

/// A clone of a project: see [`Project::cloned`].
pub(crate) struct Clone<'a> {
    root: PathBuf,
    of: &'a Project,
}

impl Clone<'_> {
    /// Its folder.
    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// The tool, in the clone.
    pub(crate) fn tool(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Tool {
        let private = self.of.private.path();
        self.of.prepared(Tool::new(&self.root, private)).args(args)
    }
}

/// A private folder with a short path: sockets in it have at most 108 bytes.
fn private() -> TempDir {
    let folder = tempfile::Builder::new()
        .prefix("tt-")
        .tempdir()
        .expect("a temporary folder");
    for name in ["state", "run", "config", "cache"] {
        fs::create_dir(folder.path().join(name)).expect("a private folder");
    }
    folder
}

/// The harness itself: a project builds without the network, and a second time at once.
#[test]
fn projects_build_offline() {
    let plain = "#[test]\nfn works() {}\n";
    let project = Project::new("harness").file("tests/plain.rs", plain);
    project
        .cargo(["test", "--test", "plain"])
        .run()
        .code(0)
        .says("1 passed");
    let again = Project::existing(&project.root);
    again
        .cargo(["test", "--test", "plain"])
        .run()
        .code(0)
        .never_says("Compiling");
}
