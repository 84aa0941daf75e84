//! The examples, as a reader of README runs them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::process::{Signal, kill_process};

use crate::support::{Outcome, Project, Sshd, Tool, eventually, examples, repository};

/// Two targets that are this machine.
const TWO_LOCAL: &str = r#"
[[targets]]
name = "east"
platform = "local"

[[targets]]
name = "west"
platform = "local"
"#;

/// README's first command: no playbook, no server.
#[test]
fn hello_runs_on_the_embedded_default() {
    let project = examples();
    project
        .run(&["target-test", "-p", "hello"])
        .code(0)
        .line_with(&["PASS", "deploy[local-0]"])
        .line_with(&["PASS", "hello::hello", "answers[local]"])
        .line_with(&["PASS", "installs[local]"])
        .line_with(&["PASS", "failures_are_errors[local]"]);
    project.run(&["--delete-targets"]).code(0);
}

/// Each `cargo run` of README means one program. The compiler is `false`: Cargo chooses the program before it builds.
#[test]
fn readmes_commands_name_one_program() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("README.md");
    let commands: Vec<_> = readme
        .lines()
        .filter_map(|line| line.split_once("cargo run "))
        .map(|(_, arguments)| arguments.split(" #").next().unwrap_or_default())
        .collect();
    assert!(!commands.is_empty());
    for command in commands {
        let arguments = ["run"].into_iter().chain(command.split_whitespace());
        let chosen = examples().cargo(arguments).env("RUSTC", "false").run();
        chosen.says("process didn't exit successfully: `false ");
    }
}

/// Without the tool's command the tests start what they need by themselves.
#[test]
fn hello_runs_under_plain_cargo_test() {
    let project = examples();
    project
        .cargo(["test", "-p", "hello", "--test", "hello"])
        .run()
        .code(0)
        .says("3 passed");
    project
        .cargo(["nextest", "run", "-p", "hello"])
        .run()
        .code(0)
        .says("3 passed");
}

/// Fixtures: shared, of one test, and none of either left.
#[test]
fn fixtures_are_shared_and_gone() {
    let project = examples();
    let mut run = project.run(&["-p", "fixtures"]).code(0);
    for test in ["greets", "writes_what_it_hears", "is_known_to_fail"] {
        run = run.line_with(&["PASS", &format!("{test}[local]")]);
    }
    run.says("failed as expected: is_known_to_fail[local]: nobody has written it yet");
}

/// README's second example: every test on both targets, each reaching the machine it was given.
#[test]
fn matrix_reaches_the_right_machines() {
    let project = examples();
    let lab = Lab::up(project.private("lab").as_path());
    let run = project
        .run(&["-p", "matrix", "--playbook", &lab.playbook])
        .code(0);
    for target in ["alpha", "beta"] {
        for test in ["smoke", "files", "pair"] {
            assert_eq!(
                run.lines_with(&["PASS", &format!("{test}[{target}]")]),
                1,
                "{run:?}"
            );
        }
        for index in 0..2 {
            let entry = format!("deploy[{target}-{index}]");
            assert_eq!(run.lines_with(&["PASS", &entry]), 1, "{run:?}");
        }
    }
}

/// The matrix example's sshd, by the example's own script.
struct Lab {
    directory: String,
    playbook: String,
}

impl Lab {
    fn up(directory: &Path) -> Self {
        let directory = directory.to_str().expect("UTF-8").to_owned();
        let playbook = Self::script(&[&directory])
            .code(0)
            .stdout
            .trim_end()
            .to_owned();
        Self {
            directory,
            playbook,
        }
    }

    fn script(args: &[&str]) -> Outcome {
        let root = repository();
        Tool::program(root.join("examples/matrix/up"), &root, &root.join("target"))
            .args(args)
            .run()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = Self::script(&["--down", &self.directory]);
    }
}

/// A crate that knows nothing of us: each test on every target, told so by its environment.
#[test]
fn an_untouched_crate_is_multiplied() {
    let project = examples();
    let playbook = project.private("two.toml");
    fs::write(&playbook, TWO_LOCAL).expect("a playbook");
    let playbook = playbook.to_str().expect("UTF-8");
    let shown = [
        "-p",
        "untouched",
        "--playbook",
        playbook,
        "--success-output",
        "final",
    ];
    let run = project.run(&shown).code(0);
    for target in ["east", "west"] {
        for test in [
            "address::tests::ipv6_gets_brackets",
            "address::tests::comes_from_the_environment",
            "query::tests::encoding::ends_the_line",
            "query::tests::nothing_is_refused",
        ] {
            let case = format!("{test}[{target}]");
            assert!(run.lines_with(&["PASS", &case]) >= 1, "no {case}: {run:?}");
        }
        assert!(
            run.lines_with(&[&format!("tested on {target}: localhost")]) >= 1,
            "{run:?}"
        );
    }
}

/// Packages that only other platforms need may not be here: Cargo is asked about as many as by nextest.
#[test]
fn cargo_is_asked_as_nextest_asks() {
    let project = examples();
    let (asked, cargo) = (project.private("asked"), project.private("a-cargo"));
    let script = format!(
        "#!/bin/sh\necho \"$@\" >>{}\nexec cargo \"$@\"\n",
        asked.display()
    );
    fs::write(&cargo, script).expect("a script");
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("a script");
    let list = ["list", "-p", "hello"];
    let ours = project.tool(list);
    let theirs = project
        .through("cargo-nextest")
        .args(["nextest"])
        .args(list);
    for tool in [ours, theirs] {
        tool.env("CARGO", &cargo).run().code(0);
    }
    let asked = fs::read_to_string(asked).expect("what Cargo was asked");
    let whole = |line: &&str| line.contains("metadata") && !line.contains("--no-deps");
    let platforms: Vec<_> = asked
        .lines()
        .filter(whole)
        .filter_map(|line| line.split_once("--filter-platform"))
        .map(|(_, rest)| rest[1..].split(' ').next())
        .collect();
    assert!(platforms.len() > 1, "{asked}");
    assert!(platforms.iter().all(|one| *one == platforms[0]), "{asked}");
    assert_eq!(
        platforms.len(),
        asked.lines().filter(whole).count(),
        "{asked}"
    );
}

/// The same with a crate as its authors published it, from Cargo's own cache: a dependency of ours
/// (`shlex`) that has tests and no dev-dependencies.
#[test]
fn a_published_crate_is_multiplied() {
    let project = Project::new("published").playbook(TWO_LOCAL);
    let config = cargo_config2::Config::load().expect("Cargo's configuration");
    let platform = format!("--filter-platform={}", config.host_triple().expect("rustc"));
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(repository().join("Cargo.toml"))
        .other_options(["--offline".to_owned(), platform])
        .exec()
        .expect("cargo metadata");
    let package = metadata
        .packages
        .iter()
        .find(|package| package.name == "shlex")
        .expect("shlex");
    let source = package
        .manifest_path
        .parent()
        .expect("a folder")
        .as_std_path();
    let copy = project.private("shlex");
    copy_folder(source, &copy);

    let manifest = copy.join("Cargo.toml");
    let playbook = project.path("target-test.toml");
    let run = project
        .tool(["--manifest-path"])
        .args([&manifest])
        .args(["--playbook"])
        .args([&playbook])
        .run()
        .code(0);
    let east = run.lines_with(&["PASS", "[east]"]);
    assert!(east > 0, "{run:?}");
    assert_eq!(east, run.lines_with(&["PASS", "[west]"]), "{run:?}");
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder's entries") {
        let path = entry.expect("an entry").path();
        let copy = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_folder(&path, &copy);
        } else {
            fs::copy(&path, &copy).expect("a copied file");
        }
    }
}

/// The harness itself: four sshd, each with an identity of its own.
#[test]
fn sshd_have_identities() {
    let sshd = Sshd::start(&["alpha-0", "beta-0"]);
    for name in ["alpha-0", "beta-0"] {
        let ssh = std::process::Command::new("ssh")
            .arg("-F")
            .arg(sshd.config())
            .args([name, "echo $TARGET_IDENTITY"])
            .output()
            .expect("ssh");
        assert_eq!(
            String::from_utf8_lossy(&ssh.stdout).trim_end(),
            name,
            "{ssh:?}"
        );
    }
}

/// A binary of `examples/adhoc`, which the workspace's default members have Cargo build beside ours.
fn adhoc(name: &str) -> PathBuf {
    let ours = Path::new(env!("CARGO_BIN_EXE_cargo-target-test"));
    let path = ours.with_file_name(name);
    assert!(path.is_file(), "build it: `cargo build -p adhoc`");
    path
}

/// A copy of the folders and the playbook of `examples/adhoc`, with a pool of its own.
struct Adhoc {
    project: Project,
    folder: PathBuf,
}

impl Adhoc {
    fn new() -> Self {
        let project = examples();
        let folder = project.private("adhoc");
        let ours = repository().join("examples/adhoc");
        for name in ["smoke", "network"] {
            copy_folder(&ours.join(name), &folder.join(name));
        }
        let playbook = "target-test.toml";
        fs::copy(ours.join(playbook), folder.join(playbook)).expect("a copied playbook");
        Self { project, folder }
    }

    /// Writes a file: a shell test, or the playbook.
    fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.folder.join(name), text).expect("a shell test");
        self
    }

    fn script(&self) -> Tool {
        let private = self.project.private("");
        Tool::program(adhoc("adhoc"), &self.folder, &private)
    }

    fn run(&self) -> Outcome {
        self.script().run()
    }

    fn junit(&self) -> String {
        fs::read_to_string(self.folder.join("junit.xml")).expect("the JUnit report")
    }

    /// True if no instance is left in the pool.
    fn is_empty(&self) -> bool {
        let records = fs::read_to_string(self.project.private("pool/pool.json"));
        records.is_ok_and(|text| !text.contains("box"))
    }
}

/// Whatever machine is free takes the next case: two tests that wait for each other run on both machines.
#[test]
fn adhoc_pulls_by_free_machines() {
    let adhoc = Adhoc::new();
    let meeting = adhoc.folder.join("meeting");
    fs::create_dir(&meeting).expect("a folder");
    let meet = format!(
        "touch {0}/$TARGET_TEST_INSTANCE\nuntil [ -e {0}/box-0 ] && [ -e {0}/box-1 ]; do sleep 0.01; done\n",
        meeting.display()
    );
    let adhoc = adhoc.file("smoke/a", &meet).file("smoke/b", &meet);
    adhoc.run().code(0).says("6 passed, 0 failed");
    let report = adhoc.junit();
    for machine in ["box-0", "box-1"] {
        let instances = format!("name=\"instances\" value=\"{machine}\"");
        assert!(report.contains(&instances), "{report}");
    }
    assert!(
        report.contains("tests=\"6\"") && !report.contains("incomplete"),
        "{report}"
    );
    assert!(adhoc.is_empty());
}

/// A case that fails once passes on a fresh machine; one that always fails is a failure with its output.
#[test]
fn adhoc_retries_on_a_fresh_machine() {
    let adhoc = Adhoc::new();
    let used = adhoc.folder.join("used");
    // The only instance's folder is new on the second attempt.
    let flaky = format!(
        "[ ! -e ../mine ] || exit 9\ntouch ../mine\n[ -e {0} ] || {{ touch {0}; exit 3; }}\n",
        used.display()
    );
    let adhoc = adhoc
        .file("target-test.toml", ONE_BOX)
        .file("network/flaky", &flaky)
        .file("network/broken", "echo no route; exit 4\n");
    adhoc.run().code(100).says("5 passed, 1 failed");
    let report = adhoc.junit();
    for part in [
        "<flakyFailure ",
        "test failure with exit code 3",
        "<failure type=\"test failure with exit code 4\"",
        "<rerunFailure ",
        "no route",
    ] {
        assert!(report.contains(part), "no `{part}`: {report}");
    }
    assert!(adhoc.is_empty());
}

/// The playbook with one machine.
const ONE_BOX: &str = "[[targets]]\nname = \"box\"\nplatform = \"local\"\ncount = 1\n";

/// An interrupt stops the tests, and deletes the machines. The report names the tests that did not run, also the one that
/// waited for a machine.
#[test]
fn adhoc_is_interrupted() {
    let adhoc = Adhoc::new();
    let begun = adhoc.folder.join("begun");
    let hang = format!("touch {}; sleep 600", begun.display());
    let adhoc = adhoc
        .file("target-test.toml", ONE_BOX)
        .file("smoke/hang", &hang)
        .file("smoke/waits", "true");
    let run = adhoc.script().start();
    eventually("the test", || begun.exists());
    kill_process(run.pid(), Signal::INT).expect("a signal");
    run.wait().code(130);
    let report = adhoc.junit();
    let not_run = "name=\"not-run\" value=\"smoke/waits: the run was interrupted\"";
    assert!(report.contains(not_run), "{report}");
    assert!(!report.contains("infra"), "{report}");
    assert!(adhoc.is_empty());
}

/// The second script: an SSH host that is there anyway, by its alias.
#[test]
fn adhoc_wraps_a_host() {
    let project = examples();
    let sshd = Sshd::start(&["rack"]);
    let bin = project.private("bin");
    fs::create_dir(&bin).expect("a folder");
    let real = which::which("ssh").expect("ssh");
    let config = sshd.config();
    let script = format!(
        "#!/bin/sh\nexec {} -F {} \"$@\"\n",
        real.display(),
        config.display()
    );
    fs::write(bin.join("ssh"), script).expect("a script");
    fs::set_permissions(bin.join("ssh"), fs::Permissions::from_mode(0o755)).expect("a script");
    let path = std::env::var("PATH").expect("PATH");
    Tool::program(adhoc("adhoc-wrap"), &repository(), &project.private(""))
        .env("PATH", format!("{}:{path}", bin.display()))
        .args(["rack", "echo", "on $TARGET_IDENTITY"])
        .run()
        .code(0)
        .says("on rack");
}
