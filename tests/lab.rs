//! A third party's platform and tool, `examples/platform`, beside ours.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::support::{Outcome, Project, Tool, feed, processes::end_brokers};

const TESTS: &str = r##"
#[target_test]
fn quick(target: &Target) -> Result<()> {
    let machine = target.run("pwd")?.stdout;
    println!("on {}", machine.trim_end());
    assert_eq!(target.platform(), "lab");
    Ok(())
}

#[target_test]
#[ignore = "it fails"]
fn fails(target: &Target) {
    panic!("on {}", target.instance());
}

#[target_test]
fn restarts(target: &Target) -> Result<()> {
    assert!(target.run("test -e restarted").is_err());
    target.restart()?;
    target.run("test -e restarted")?;
    Ok(())
}
"##;

/// The example's binary, which the workspace's default members have Cargo build beside ours.
fn lab_tool() -> PathBuf {
    let ours = Path::new(env!("CARGO_BIN_EXE_cargo-target-test"));
    let lab = ours.with_file_name("cargo-lab-test");
    assert!(lab.is_file(), "build it: `cargo build -p cargo-lab-test`");
    lab
}

/// A project, a pool and a shelf of one test's own.
struct Lab {
    project: Project,
}

impl Lab {
    fn new() -> Self {
        static ROOT: OnceLock<PathBuf> = OnceLock::new();
        let root = ROOT.get_or_init(|| {
            let project = Project::new("lab").test_file("lab", TESTS);
            let built = project.cargo(["test", "--no-run", "--test", "lab"]);
            built.run().code(0);
            project.path("")
        });
        let lab = Self {
            project: Project::existing(root),
        };
        fs::create_dir(lab.path("shelf")).expect("a shelf");
        lab.write(
            "target-test.toml",
            "[[targets]]\nname = \"box\"\nplatform = \"lab\"\nshelf = \"shelf\"\n",
        );
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.project.private(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    /// Tells a tool the playbook.
    fn with_playbook(&self, tool: Tool) -> Tool {
        tool.env("TARGET_TEST_PLAYBOOK", self.path("target-test.toml"))
    }

    /// The example's tool.
    #[track_caller]
    fn run(&self, args: &[&str]) -> Outcome {
        let tool = self.project.through(lab_tool()).args(args);
        self.with_playbook(tool.env("TARGET_TEST_TOOL", lab_tool()))
            .run()
    }

    /// Our tool, which knows no platform `lab`.
    #[track_caller]
    fn ours(&self, args: &[&str]) -> Outcome {
        self.project.tool(args).run()
    }

    /// The machines on the shelf.
    fn machines(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("shelf")).expect("the shelf");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let names = entries.map(|entry| name(entry).to_string_lossy().into_owned());
        names.collect()
    }
}

#[test]
fn its_parameters_are_in_the_schema() {
    let lab = Lab::new();
    let shown = lab.run(&["schema"]).code(0);
    shown.says("The folder with the machines, relative to the playbook.");
    let path = format!(
        "{}:{}",
        lab_tool().parent().expect("a folder").display(),
        std::env::var("PATH").expect("PATH")
    );
    let cargo = |args: &[&str]| lab.project.cargo(args).env("PATH", &path).run().code(0);
    cargo(&["lab-test", "schema"]).says("relative to the playbook");
    cargo(&["lab-test", "--help"])
        .says("cargo lab-test [run]")
        .says("cargo lab-test --keep-targets")
        .never_says("cargo target-test --keep-targets");
}

#[test]
fn its_parameters_are_checked() {
    let lab = Lab::new();
    lab.run(&["check"]).code(0).says("shelf = \"shelf\"");
    lab.write(
        "target-test.toml",
        "[[targets]]\nname = \"box\"\nplatform = \"lab\"\nshlef = \"shelf\"\n",
    );
    lab.run(&["check"])
        .code(78)
        .line_with(&["shlef = \"shelf\""])
        .says("did you mean `shelf`?")
        .says("platform `lab` requires `shelf`");
}

/// An aggregator of the tool's own sees each run, and only its runs.
#[test]
fn its_report_names_the_machines_of_failures() {
    let lab = Lab::new();
    lab.run(&["fails", "--run-ignored", "all"]).code(100);
    let runs = feed::folder(&lab.path("target-test.toml"));
    let suspects = fs::read_to_string(runs.join("suspects.txt")).expect("the report");
    assert_eq!(suspects, "fails[box] on box-0\n");
}

#[test]
fn its_instances_are_kept_restarted_and_collected() {
    let lab = Lab::new();
    lab.run(&["restarts", "--keep-targets"])
        .code(0)
        .says("Kept box-0");
    lab.run(&["exec", "box-0", "--", "pwd"])
        .code(0)
        .says("/shelf/");
    lab.run(&["quick", "--keep-targets"])
        .code(0)
        .never_says("recycled");
    // A pool that lost its records.
    let pool = lab.path("pool/pool.json");
    let text = fs::read(&pool).expect("the pool");
    let mut state: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    state["records"] = serde_json::json!({});
    fs::write(&pool, state.to_string()).expect("the pool");
    lab.run(&["gc", "--dry-run"])
        .code(0)
        .says("machine `")
        .says("would be deleted");
    assert_eq!(lab.machines().len(), 1);
    lab.run(&["gc"]).code(0).says("deleted");
    assert!(lab.machines().is_empty());
}

/// A tool that does not know a record's platform leaves the record alone, and names the tool that does.
#[test]
fn two_tools_share_a_pool() {
    let lab = Lab::new();
    lab.run(&["quick", "--keep-targets"]).code(0);
    let before = fs::read_to_string(lab.path("pool/pool.json")).expect("the pool");
    let maker = format!("it was created by `{}`", lab_tool().display());
    lab.ours(&["targets"])
        .code(0)
        .says("box-0")
        .says("its platform `lab` is unknown to this tool")
        .says(&maker);
    lab.ours(&["targets", "--json"])
        .code(0)
        .says(&format!("\"tool\": {:?}", lab_tool()));
    for (args, code) in [
        (&["--delete-targets"][..], 69),
        (&["--delete-targets", "--all", "--force"], 69),
        (&["gc"], 0),
        (&["shell", "box-0"], 69),
        (&["exec", "box-0", "--", "true"], 69),
        (&["logs", "box-0"], 69),
    ] {
        lab.ours(args).code(code).says(&maker);
    }
    assert_eq!(
        fs::read_to_string(lab.path("pool/pool.json")).expect("the pool"),
        before
    );
    // A target of the same name in another playbook goes beside it.
    lab.write(
        "ours.toml",
        "[[targets]]\nname = \"box\"\nplatform = \"local\"\ncount = 1\n",
    );
    let ours = lab.project.tool(["quick", "--no-fail-fast"]);
    ours.env("TARGET_TEST_PLAYBOOK", lab.path("ours.toml"))
        .run()
        .code(100)
        .line_with(&["PASS", "deploy[box-0]"]);
    lab.run(&["quick", "--keep-targets"])
        .code(0)
        .never_says("recycled");
    lab.run(&["--delete-targets"]).code(0).says("deleted box-0");
    assert!(lab.machines().is_empty());
    lab.ours(&["targets"]).code(0).says("no targets");
}

/// A run does not delete what a dead run of another tool left.
#[test]
fn a_run_leaves_what_another_tool_left() {
    let lab = Lab::new();
    let tool = lab.project.through(lab_tool()).args(["quick"]);
    let died = lab
        .with_playbook(tool)
        .env("TARGET_TEST_FAULT", "platform-deployed");
    assert!(!died.run().status.success());
    assert_eq!(lab.machines().len(), 1);
    lab.write(
        "ours.toml",
        "[[targets]]\nname = \"here\"\nplatform = \"local\"\ncount = 1\n",
    );
    let ours = lab.project.tool(["quick", "--no-fail-fast"]);
    ours.env("TARGET_TEST_PLAYBOOK", lab.path("ours.toml"))
        .run()
        .code(100)
        .says("box-0 was left unchanged: its platform `lab` is unknown to this tool");
    assert_eq!(lab.machines().len(), 1);
    lab.run(&["--delete-targets"]).code(0).says("deleted box-0");
    assert!(lab.machines().is_empty());
}

#[test]
fn a_debugger_gets_a_case_of_its() {
    let lab = Lab::new();
    lab.run(&[
        "--debugger",
        "env DEBUGGED=1",
        "--",
        "--exact",
        "quick[box]",
    ])
    .code(0)
    .says("on /");
    lab.run(&["--delete-targets"]).code(0);
}

/// Plain `cargo test` starts the tool of the environment, else of the workspace, each with a broker of its own.
#[test]
fn tests_run_without_the_tool() {
    let lab = Lab::new();
    let one = [
        "test",
        "--test",
        "lab",
        "--",
        "quick",
        "--exact",
        "--nocapture",
    ];
    let cargo = |project: &Project, tool: &Path| {
        let cargo = project.cargo(one).env("TARGET_TEST_TOOL", tool);
        cargo
            .env("TARGET_TEST_PLAYBOOK", lab.path("target-test.toml"))
            .env("TARGET_TEST_POOL", lab.path("pool"))
            .run()
    };
    cargo(&lab.project, &lab_tool()).code(0).says("on /");
    // Ours has another broker on this pool, which does not know the platform.
    let ours = Path::new(env!("CARGO_BIN_EXE_cargo-target-test"));
    cargo(&lab.project, ours)
        .code(101)
        .says("unknown platform `lab`");
    let named = Project::new("lab-named").test_file("lab", TESTS);
    let manifest = fs::read_to_string(named.path("Cargo.toml")).expect("the manifest");
    let metadata = format!("metadata.target-test.tool = {:?}\n", lab_tool());
    let named = named.file("Cargo.toml", &(manifest + &metadata));
    cargo(&named, Path::new("")).code(0).says("on /");
    let manifest = fs::read_to_string(named.path("Cargo.toml")).expect("the manifest");
    let tool = lab_tool();
    let misspelt = manifest.replace(tool.to_str().expect("UTF-8"), "cargo-no-such-tool");
    let named = named.file("Cargo.toml", &misspelt);
    cargo(&named, Path::new(""))
        .code(101)
        .says("no broker: `cargo-no-such-tool` is not installed");
    end_brokers(&lab.path("pool"));
    assert!(lab.machines().is_empty());
}
