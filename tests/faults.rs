//! Whatever dies, hangs, lies or is damaged: the whole program, against what really exists.
//!
//! Owns the project that is run and the ledger in which deploy scripts note what exists, the truth that
//! `pool.json` is held against. Must not look into the pool.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Outcome, Project, Started, Tool, eventually};

/// Random faults.
mod attack;
/// Hosts that reboot.
mod boots;
/// Death at every point, of every process.
mod deaths;
/// Machines of a lost pool, by their owner.
mod owner;
/// A pool that cannot be used.
mod pool;
/// Clients that talk nonsense.
mod protocol;
/// Processes that an ordinary user cannot kill.
mod remains;
/// Scripts that fail.
mod scripts;
/// Runs that get in each other's way.
mod sharing;
/// Machines that die.
mod ssh;
/// Tests that start their own broker.
mod standalone;
/// Environments of which a part fails.
mod units;

const TESTS: &str = include_str!("crates/faults/faults.rs");

/// The project, built once for all.
fn project() -> Project {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        let project = Project::new("faults").file("tests/faults.rs", TESTS);
        let built = project.cargo(["test", "--no-run", "--test", "faults"]);
        built.run().code(0);
        project.path("")
    });
    Project::existing(root)
}

/// The machines of one test: a playbook, its scripts, and their ledger.
struct Lab {
    project: Project,
}

/// Notes the machine before it says so.
const UP: &str = r#"#!/bin/sh
read -r line
unique=$(printf '%s' "$line" | sed 's/.*"unique":"\([^"]*\)".*/\1/')
instance=$(printf '%s' "$line" | sed 's/.*"instance":"\([^"]*\)".*/\1/')
echo "$instance" >"ledger/$unique"
echo '{"host": "localhost", "transport": "local"}'
"#;
const DOWN: &str = r#"#!/bin/sh
read -r line
unique=$(printf '%s' "$line" | sed 's/.*"unique":"\([^"]*\)".*/\1/')
rm -f "ledger/$unique"
"#;

impl Lab {
    /// A target `alpha` of this many instances.
    fn new(count: u32) -> Self {
        let lab = Self { project: project() };
        fs::create_dir(lab.path("ledger")).expect("the ledger");
        lab.script("up", UP);
        lab.script("down", DOWN);
        lab.playbook(&target("alpha", count, ""));
        lab
    }

    /// A path beside the playbook.
    fn path(&self, name: &str) -> PathBuf {
        self.project.private(name)
    }

    fn playbook(&self, toml: &str) {
        fs::write(self.path("target-test.toml"), toml).expect("the playbook");
    }

    fn script(&self, name: &str, text: &str) {
        // Renamed into place: one that is running may not be written.
        let new = self.path(&format!("{name}.new"));
        fs::write(&new, text).expect("a script");
        fs::set_permissions(&new, PermissionsExt::from_mode(0o755)).expect("a script");
        fs::rename(&new, self.path(name)).expect("a script");
    }

    /// The tool.
    fn tool(&self, args: &[&str]) -> Tool {
        self.in_environment(self.project.tool(args))
    }

    /// Any program.
    fn program(&self, name: &str) -> Tool {
        self.in_environment(self.project.through(name))
    }

    /// Cargo, for tests that start their own broker.
    fn cargo(&self, args: &[&str]) -> Tool {
        self.in_environment(self.project.cargo(args))
    }

    fn in_environment(&self, tool: Tool) -> Tool {
        tool.env("TARGET_TEST_PLAYBOOK", self.path("target-test.toml"))
            .env("FAULTS_AT", self.path(""))
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

    fn start(&self, args: &[&str]) -> Started {
        self.tool(args).start()
    }

    /// The names of what exists.
    fn ledger(&self) -> Vec<String> {
        let files = fs::read_dir(self.path("ledger")).expect("the ledger");
        let name = |file: fs::DirEntry| fs::read_to_string(file.path()).unwrap_or_default();
        let mut names: Vec<_> = files
            .map(|file| name(file.expect("a machine")).trim().to_owned())
            .collect();
        names.sort();
        names
    }

    /// The words that a script or test wrote to a file.
    #[track_caller]
    fn said<const N: usize>(&self, name: &str) -> [String; N] {
        let file = self.path(name);
        eventually(name, || {
            fs::read_to_string(&file).is_ok_and(|text| !text.is_empty())
        });
        let text = fs::read_to_string(file).expect("what was said");
        let mut words = text.split_whitespace().map(str::to_owned);
        std::array::from_fn(|_| words.next().unwrap_or_default())
    }

    fn let_go(&self) {
        fs::write(self.path("go"), "").expect("a file");
    }

    /// `--delete-targets` leaves nothing, and does no harm the second time.
    #[track_caller]
    fn clean(&self, why: &str) {
        self.run(&["--delete-targets"]).code(0);
        assert!(self.ledger().is_empty(), "{why}: {:?}", self.ledger());
        self.run(&["--delete-targets"])
            .code(0)
            .says("nothing to delete");
    }
}

/// A target in a playbook, on platform `command`.
fn target(name: &str, count: u32, more: &str) -> String {
    format!(
        "[[targets]]\nname = \"{name}\"\nplatform = \"command\"\ncount = {count}\n\
         deploy = \"./up\"\ndelete = \"./down\"\n{more}\n"
    )
}

/// An environment `pair` of two roles on platform `command`, whose machines these programs deploy.
fn pair(gateway: &str, tester: &str) -> String {
    let role = |name: &str, deploy: &str| {
        format!(
            "[environments.pair.roles.{name}]\nplatform = \"command\"\ndeploy = \"{deploy}\"\n\
             delete = \"./down\"\nretries = 0\n"
        )
    };
    role("gateway", gateway) + &role("tester", tester)
}

/// Does the work of a test's program with the playbook that this variable names; without it, in an ordinary run of the
/// tests, nothing.
fn in_child(mode: &str, work: impl AsyncFnOnce(OsString)) {
    let Some(playbook) = std::env::var_os(mode) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(work(playbook));
}

fn kill(pid: &str) {
    signal(pid, Signal::KILL);
}

fn signal(pid: &str, signal: Signal) {
    let number = pid.parse().ok().and_then(Pid::from_raw);
    let sent = kill_process(number.expect("a pid"), signal);
    sent.expect("a process to signal");
}

/// Neither gone nor a zombie.
fn alive(pid: &str) -> bool {
    fs::read_to_string(Path::new("/proc").join(pid).join("stat"))
        .is_ok_and(|stat| !stat.contains(") Z "))
}
