//! Every nextest command line: build and list, choose, run.
//!
//! Tests inherit the environment, so the only variables set here are those that the runner removes.

// Must not know targets, pools or leases.

use std::{
    collections::HashSet,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use nextest_metadata::{NextestExitCode, TestListSummary};

use crate::{
    error::{Error, ErrorKind, Result},
    process::{self, ProgramVersion},
    ui,
};

pub mod config;
pub mod stage;
mod users;

pub use config::{GroupedCases, TargetGroup, ToolConfig};
pub use stage::{Stage, StagedListing};
pub use users::UsersConfig;

/// The oldest supported cargo-nextest.
pub const OLDEST: ProgramVersion = ProgramVersion(0, 9, 143);

/// Makes nextest start tests directly. By default nextest starts itself first for each test, which guards against a
/// Ctrl-Z during the start of a child but costs a third of the time of a short test.
const DOUBLE_SPAWN: Variable = ("NEXTEST_DOUBLE_SPAWN", "0");
/// Makes nextest omit its notes on the runner and on [`DOUBLE_SPAWN`]. Its warnings stay.
const LOG: Variable = ("NEXTEST_LOG", "warn");
/// Variables for nextest itself, unless the user has set them. Runners remove them from a test's environment, since a
/// test may start another nextest.
pub const VARIABLES: [Variable; 2] = [DOUBLE_SPAWN, LOG];

/// The name and value of an environment variable.
type Variable = (&'static str, &'static str);

/// The binaries metadata of an empty build.
const NO_BINARIES: &str = r#"{"rust-build-meta": {"target-directory": "/", "base-output-directories": [],
"non-test-binaries": {}, "linked-paths": []}, "rust-binaries": {}}"#;

/// nextest's exit code for an invalid command line.
const USAGE_ERROR: i32 = 2;

/// The command that installs cargo-nextest.
const INSTALL: &str = "install it with `cargo install cargo-nextest --locked`";

/// The user's arguments for each call, as sorted by [`crate::cli`].
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// Arguments for building and listing.
    pub build: Vec<OsString>,
    /// Arguments for listing the cases that one filterset matches.
    pub matching: Vec<OsString>,
    /// Filters, expressions and partitions, which select the cases; names come last.
    pub select: Vec<OsString>,
    /// Arguments for the run.
    pub run: Vec<OsString>,
    /// `--debugger` or `--tracer`, with our shim and the user's program.
    pub debugger: Option<(&'static str, String)>,
}

/// An installed cargo-nextest, with the user's options.
#[derive(Clone, Debug)]
pub struct CargoNextest {
    program: PathBuf,
    words: Words,
    verbose: bool,
}

impl CargoNextest {
    /// Finds cargo-nextest in PATH (Cargo's own folder included) and checks its version.
    ///
    /// # Errors
    /// Fails if cargo-nextest is missing or too old, with the command that installs it.
    pub fn find(words: Words, verbose: bool) -> Result<Self> {
        let cargo_bin = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
        let program = which::which("cargo-nextest").ok().or_else(|| {
            cargo_bin
                .map(|home| home.join("bin/cargo-nextest"))
                .filter(|path| path.is_file())
        });
        let wrong = |message: String| Error::new(ErrorKind::Nextest, message).with_hint(INSTALL);
        let program = program.ok_or_else(|| wrong("cargo-nextest is not installed".to_owned()))?;
        let mut command = process::command(&program);
        command.args(["nextest", "--version"]);
        let output = process::Spawn::new(command).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        match ProgramVersion::find(&text) {
            Some(version) if version >= OLDEST => Ok(Self {
                program,
                words,
                verbose,
            }),
            Some(version) => Err(wrong(format!(
                "cargo-nextest {version} is too old: {OLDEST} or later is needed"
            ))),
            None => {
                let shown = program.display();
                Err(wrong(format!("`{shown}` did not report its version")))
            }
        }
    }

    /// Lets nextest check the options of the run, before anything is built or deployed: without readable metadata, it
    /// reads its command line and nothing else.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if nextest refuses an option. nextest's message is printed.
    pub fn check_run_options(&self) -> Result<()> {
        if self.words.run.is_empty() {
            return Ok(());
        }
        let mut command = self.command("run");
        command.args(["--cargo-metadata", "/dev/null"]);
        command.args(["--binaries-metadata", "/dev/null"]);
        command.args(&self.words.run);
        let output = process::Spawn::new(command).output()?;
        if output.status.code() != Some(USAGE_ERROR) {
            return Ok(());
        }
        ui::raw(&String::from_utf8_lossy(&output.stderr));
        Err(failed("check the options of the run", output.status))
    }

    /// Builds the test binaries and lists all their tests. Selection comes later.
    ///
    /// # Errors
    /// [`ErrorKind::Build`] with nextest's exit code. nextest prints the cause on standard error.
    pub fn build_and_list(&self) -> Result<TestListSummary> {
        let mut command = self.command("list");
        command.args(["--message-format", "json", "--ignore-default-filter"]);
        command.args(&self.words.build);
        self.show(&command);
        let output = process::Spawn::new(command).shows_errors().output()?;
        if !output.status.success() {
            return Err(failed("build and list the tests", output.status));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| {
            Error::new(ErrorKind::Nextest, "failed to read cargo-nextest's list").with_source(error)
        })
    }

    /// Returns nextest's error message for a filterset, if the filterset is invalid. Nothing is built. Filtersets that
    /// name binaries are not checked, because the binaries are known only after a build.
    ///
    /// # Errors
    /// Fails if nextest cannot be run.
    pub fn refuses(&self, filterset: &str, cargo_metadata: &[u8]) -> Result<Option<String>> {
        if filterset.contains("binary") {
            return Ok(None);
        }
        let directory = tempfile::tempdir()?;
        let [workspace, binaries] =
            ["workspace", "binaries"].map(|name| directory.path().join(name));
        fs_err::write(&workspace, cargo_metadata)?;
        fs_err::write(&binaries, NO_BINARIES)?;
        let mut command = self.command("list");
        command.arg("--cargo-metadata").arg(&workspace);
        command.arg("--binaries-metadata").arg(&binaries);
        command.args(["--color=never", "--filterset", filterset]);
        let output = process::Spawn::new(command).output()?;
        let refused = output.status.code() == Some(NextestExitCode::INVALID_FILTERSET);
        Ok(refused.then(|| String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// Returns true if the user's selection or configuration may exclude tests that are not ignored. nextest must be
    /// asked only then.
    pub fn may_leave_out(&self, workspace: &Path) -> bool {
        !self.words.select.is_empty()
            || users::profile(None) != users::DEFAULT
            || workspace.join(users::CONFIG).exists()
    }

    /// Asks nextest for the cases that the user's selection matches, as (binary id, name).
    ///
    /// # Errors
    /// Fails if nextest rejects the selection, with [`ErrorKind::Usage`] for a usage error.
    pub fn choose(&self, stage: &Stage) -> Result<HashSet<(String, String)>> {
        self.listed(stage, &[], &self.words.select)
    }

    /// Asks nextest for the names that a filterset matches, ignored tests included, as (binary id, name).
    ///
    /// # Errors
    /// Fails if nextest rejects the filterset.
    pub fn matching(&self, stage: &Stage, filterset: &str) -> Result<HashSet<(String, String)>> {
        let all = ["--run-ignored=all", "--ignore-default-filter"];
        let ours = [&all[..], &["--filterset", filterset]].concat();
        self.listed(stage, &ours, &self.words.matching)
    }

    fn listed(
        &self,
        stage: &Stage,
        ours: &[&str],
        users: &[OsString],
    ) -> Result<HashSet<(String, String)>> {
        let mut command = self.command("list");
        command.args(["--message-format", "oneline", "--color", "never"]);
        let colour = |word: &&OsString| word.to_string_lossy().starts_with("--color=");
        let words = users.iter().filter(|word| !colour(word));
        command
            .args(stage.arguments(StagedListing::All))
            .args(ours)
            .args(words);
        self.show(&command);
        let output = process::Spawn::new(command).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            ui::raw(&said);
            return Err(failed("choose the cases", output.status));
        }
        for line in said.lines().filter(|line| line.contains("warning")) {
            ui::raw(&format!("{line}\n"));
        }
        let lines = String::from_utf8_lossy(&output.stdout);
        let pairs = lines.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs
            .map(|(binary, name)| (binary.to_owned(), name.to_owned()))
            .collect())
    }

    /// Returns the command of a run over the chosen cases of a stage.
    pub fn run(&self, stage: &Stage, without_bar: bool) -> Command {
        let mut command = self.command("run");
        command.args(stage.arguments(StagedListing::Chosen));
        command.args(["--ignore-default-filter", "--run-ignored", "all"]);
        let config = stage.users_config();
        let is_replaced = |word: &&OsString| {
            config.is_some() && word.to_string_lossy().starts_with("--config-file=")
        };
        let words = self.words.run.iter().filter(|word| !is_replaced(word));
        command.args(words);
        if let Some(config) = config {
            command.arg("--config-file").arg(config);
        }
        if without_bar {
            command.arg("--show-progress=counter");
        }
        if let Some((option, debugger)) = &self.words.debugger {
            command.arg(format!("--{option}={debugger}"));
        }
        for variable in VARIABLES {
            let (name, value) = variable;
            let applies = match variable {
                DOUBLE_SPAWN => !process::has_terminal(),
                _ => !self.verbose,
            };
            if applies && std::env::var_os(name).is_none() {
                command.env(name, value);
            }
        }
        self.show(&command);
        command
    }

    /// Returns true if the user debugs or traces one case.
    pub fn debugs(&self) -> bool {
        self.words.debugger.is_some()
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = process::command(&self.program);
        command.args(["nextest", verb]);
        command
    }

    fn show(&self, command: &Command) {
        if self.verbose {
            let words = process::words(command);
            let line = shlex::try_join(words.iter().map(String::as_str));
            let line = line.unwrap_or_else(|_| words.join(" "));
            ui::note(format!("running {line}"));
        }
    }
}

/// Builds the error of a failed nextest call. nextest has printed the cause; its exit code is kept.
fn failed(what: &str, status: std::process::ExitStatus) -> Error {
    let code = status.code().unwrap_or(70);
    let kind = if code == USAGE_ERROR {
        ErrorKind::Usage
    } else {
        ErrorKind::Build
    };
    Error::new(
        kind,
        format!(
            "failed to {what}: cargo-nextest {}",
            process::ending(status)
        ),
    )
    .with_exit_code(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_may_leave_out_a_case_is_left_to_nextest() {
        let workspace = tempfile::tempdir().unwrap();
        let with = |select: &[&str]| CargoNextest {
            program: PathBuf::new(),
            words: Words {
                select: select.iter().map(OsString::from).collect(),
                ..Words::default()
            },
            verbose: false,
        };
        assert!(!with(&[]).may_leave_out(workspace.path()));
        assert!(with(&["--partition=hash:1/2"]).may_leave_out(workspace.path()));
        let config = workspace.path().join(users::CONFIG);
        std::fs::create_dir(config.parent().unwrap()).unwrap();
        std::fs::write(config, "").unwrap();
        assert!(with(&[]).may_leave_out(workspace.path()));
    }
}
