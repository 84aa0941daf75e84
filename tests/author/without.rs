//! Tests that are started without `cargo target-test`: by Cargo, by nextest, by an editor, by another test.
//!
//! Ends the broker that each of them starts.

use std::{fs, path::PathBuf};

use super::{playbook, program, project};
use crate::support::{Project, Tool, eventually, processes::end_brokers};

/// For tests without a runner.
const TWO: &str = r#"
[[targets]]
name = "east"
platform = "local"
count = 2

[[targets]]
name = "west"
platform = "local"
count = 1
"#;

/// Ends the project's broker, as its idle time would; what it had deployed goes with it.
pub(crate) fn end_broker(project: &Project) {
    end_brokers(&project.private("pool"));
    project.run(&["targets"]).code(0).says("no targets");
}

/// `cargo test`, `cargo nextest run` and an editor's button, with the playbook that the workspace has.
#[test]
fn tests_run_without_the_tool() {
    let project = project().playbook(TWO);
    let cargo = |words: &[&str]| project.cargo(words).env("TARGET_TEST_LOG", "1");
    cargo(&["test", "--test", "plain", "--", "--nocapture"])
        .run()
        .code(0)
        .says("3 passed")
        .says("first on east-")
        .says("second on west-0");
    cargo(&[
        "nextest",
        "run",
        "--test",
        "plain",
        "--success-output",
        "final",
    ])
    .run()
    .code(0)
    .says("3 passed")
    .says("first on east-")
    .says("second on west-0");
    let tool = PathBuf::from(env!("CARGO_BIN_EXE_cargo-target-test"));
    let path = format!(
        "{}:{}",
        tool.parent().expect("a folder").display(),
        std::env::var("PATH").expect("PATH")
    );
    let one = [
        "test",
        "--package",
        "author",
        "--test",
        "plain",
        "--",
        "first",
        "--exact",
        "--nocapture",
    ];
    let button = || cargo(&one).env("TARGET_TEST_TOOL", "").env("PATH", &path);
    button()
        .run()
        .code(0)
        .says("1 passed")
        .says("first on east-");
    button()
        .env("TARGET_TEST_TARGET", "west")
        .run()
        .code(0)
        .says("first on west-0");
    button()
        .env("TARGET_TEST_TARGET", "east-1")
        .run()
        .code(0)
        .says("first on east-1");
    end_broker(&project);
}

/// As under `cargo target-test`: an expected failure is none, and a pass where one is expected is.
#[test]
fn without_the_tool_expected_failures_are_expected() {
    let playbook = TWO.replace("count = 2", "count = 2\nfeatures = [\"x\"]");
    let project = project().playbook(&playbook);
    let test = |name: &str| {
        let test = [
            "test",
            "--test",
            "declared",
            "--",
            name,
            "--exact",
            "--nocapture",
        ];
        project.cargo(test).run()
    };
    test("known_bug").code(0).says("failed as expected: bug 7");
    test("fixed_bug")
        .code(101)
        .says("passed, but is expected to fail: bug 8");
    end_broker(&project);
}

/// As under `cargo target-test`: what a test declares to be skipped needs no target and is no failure.
#[test]
fn without_the_tool_skips_are_no_failures() {
    let project = project().playbook(TWO);
    project
        .cargo([
            "test",
            "--test",
            "declared",
            "--",
            "never",
            "--exact",
            "--nocapture",
        ])
        .run()
        .code(0)
        .says("skip: never mind")
        .says("1 passed");
    end_broker(&project);
}

/// The error is in the test's own output.
#[test]
fn without_the_tool_errors_say_what_to_do() {
    let project = project().playbook(TWO);
    let one = ["test", "--test", "plain", "--", "first", "--exact"];
    let cargo = |name: &str, value: &str| project.cargo(one).env(name, value).run().code(101);
    cargo("TARGET_TEST_TARGET", "nort")
        .says("infra: no target fits `plain::first`: the playbook has no target `nort`; known: `east`, `west`");
    cargo("TARGET_TEST_TARGET", "east-2")
        .says("no target fits `plain::first`: `east` has 2 instance(s), no `east-2`");
    cargo("TARGET_TEST_TOOL", "/no/tool")
        .says("infra: no broker: `/no/tool broker --ensure` failed to start");
    let wrong = project.private("wrong.toml");
    fs::write(&wrong, "[[targets]]\nname = \"a\"\nplattform = \"local\"\n").expect("a playbook");
    cargo("TARGET_TEST_PLAYBOOK", wrong.to_str().expect("UTF-8"))
        .says("infra: a target has no `platform`")
        .says("wrong.toml:1:1")
        .line_with(&["---------", "did you mean `platform`?"]);
    cargo("TARGET_TEST_PLAYBOOK", "none.toml")
        .says("`none.toml`")
        .says("does not exist");
    let listed = project
        .cargo(["test", "--test", "plain", "--", "--list"])
        .run()
        .code(0);
    let (_, binary) = listed
        .stderr
        .split_once("tests/plain.rs (")
        .expect("the binary");
    let binary = binary.split(')').next().expect("the binary");
    Tool::program(binary, &project.path(""), &project.private(""))
        .env("TARGET_TEST_TOOL", "")
        .env("CARGO_HOME", project.private("none"))
        .env("PATH", "/usr/bin:/bin")
        .run()
        .code(101)
        .says("infra: no broker: `cargo-target-test` is not installed")
        .says("hint: `cargo install cargo-target-test`, or set `TARGET_TEST_TOOL`");
    end_broker(&project);
}

/// A broker outlives a run; what failed in one is tried again in the next.
#[test]
fn a_failed_deploy_is_tried_again() {
    let deploy = "[ -e mended ] || { echo 'out of machines' >&2; exit 1; }; echo '{\"host\": \"h\", \"transport\": \"local\"}'\n";
    let project = project();
    let deploy = program(&project, "deploy", deploy);
    let toml = format!(
        "[[targets]]\nname = \"a\"\nplatform = \"command\"\ndeploy = {deploy:?}\ndelete = \"true\"\n"
    );
    let playbook = playbook(&project, &toml);
    let run = || {
        project
            .cargo(["test", "--test", "plain", "--", "first", "--exact"])
            .env("TARGET_TEST_PLAYBOOK", &playbook)
            .run()
    };
    run().code(101).says("out of machines");
    fs::write(project.private("mended"), "").expect("a file");
    eventually("a deploy of what is mended", || run().status.success());
    end_broker(&project);
}

/// A test that starts another crate's tests keeps its lease to itself, even where those have its name.
#[test]
fn a_nested_test_takes_a_lease_of_its_own() {
    let project = project().playbook(TWO);
    let clone = project.cloned("author-clone");
    project
        .tool(["--test", "plain", "--", "--exact", "nested[east]"])
        .env("NEST_IN", clone.path())
        .run()
        .code(0)
        .line_with(&["PASS", "nested[east]"]);
    end_broker(&project);
}
