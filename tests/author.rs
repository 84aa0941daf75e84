//! What a test's author gets: every method of `Target`, on every transport; errors that read well; what
//! a test declares, listed and obeyed; and tests that are started without `cargo target-test`.

use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt, path::PathBuf};

use serde_json::{Value, json};

use crate::support::{Outcome, Project, Sshd, Tool, eventually};

/// Every method of `Target`; runs on each transport.
const API: &str = include_str!("author/api.rs.txt");
/// Tests that fail, each in its own way.
const FAILS: &str = include_str!("author/fails.rs.txt");
/// Everything that a test can declare.
const DECLARED: &str = include_str!("author/declared.rs.txt");
/// For runs without the tool.
const PLAIN: &str = include_str!("author/plain.rs.txt");

/// The project of all tests here.
fn project() -> Project {
    Project::new("author")
        .test_file("api", API)
        .test_file("fails", FAILS)
        .test_file("declared", DECLARED)
        .test_file("plain", PLAIN)
}

/// A program in the project's private folder.
fn program(project: &Project, name: &str, text: &str) -> PathBuf {
    let path = project.private(name);
    fs::write(&path, format!("#!/bin/sh\n{text}")).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
    path
}

/// Writes a playbook where no lookup finds it.
fn playbook(project: &Project, toml: &str) -> String {
    let path = project.private("playbook.toml");
    fs::write(&path, toml).expect("a playbook");
    path.to_str().expect("UTF-8").to_owned()
}

/// Four targets, one for each way in which commands travel.
fn everywhere(project: &Project, sshd: &Sshd) -> String {
    let (address, port) = (sshd.address("real"), sshd.setting("real", "port"));
    let setting = |key| sshd.setting("real", key);
    let (user, identity, known) = (setting("user"), setting("identityfile"), setting("userknownhostsfile"));
    let data = "\\\"data\\\": {\\\"serial\\\": 7, \\\"tags\\\": [\\\"a\\\"]}";
    let make = |extra: &str| format!("cat >/dev/null; echo \"{{\\\"host\\\": \\\"127.0.0.1\\\", {extra}, {data}}}\"\n");
    let over_ssh = program(project, "over-ssh", &make(&format!("\\\"port\\\": {}", sshd.setting("made", "port"))));
    let here = program(project, "here", &make("\\\"transport\\\": \\\"local\\\""));
    let _ = port;
    format!(
        "[[targets]]\nname = \"here\"\nplatform = \"local\"\ncount = 2\nfeatures = [\"x\", \"y\"]\nenv = {{ GIVEN = \"by the playbook\" }}\n\
         [[targets]]\nname = \"real\"\nplatform = \"ssh\"\nhosts = [{address:?}]\nuser = {user:?}\nidentity = {identity:?}\nknown-hosts = {known:?}\nfeatures = [\"x\"]\n\
         [[targets]]\nname = \"made-here\"\nplatform = \"command\"\ndeploy = {here:?}\ndelete = \"true\"\nparams = {{ size = 3 }}\n\
         [[targets]]\nname = \"made-ssh\"\nplatform = \"command\"\ndeploy = {over_ssh:?}\ndelete = \"true\"\nuser = {user:?}\nidentity = {identity:?}\nparams = {{ size = 4 }}\n"
    )
}

/// All of `Target` on `local`, `ssh` and both transports of `command`.
#[test]
fn every_method_on_every_transport() {
    let project = project();
    let sshd = Sshd::start(&["real", "made"]);
    let playbook = playbook(&project, &everywhere(&project, &sshd));
    let run = project.run(&["--test", "api", "--playbook", &playbook]).code(0);
    let tests = API.matches("#[target_test").count();
    // `pair` needs two instances, which only `here` has.
    let cases = (tests - 1) * 4 + 1;
    assert_eq!(run.lines_with(&["PASS", "author::api"]), cases, "{run:?}");
}

/// What a failed test prints, as its author reads it.
#[test]
fn errors_read_well() {
    let project = project();
    let playbook = playbook(&project, "[[targets]]\nname = \"here\"\nplatform = \"local\"\n");
    let run = project.run(&["--test", "fails", "--playbook", &playbook, "-j1"]).code(100);
    let mut shown = String::new();
    for test in ["command", "file", "foreign", "local_file", "panics", "text", "timeout"] {
        let case = format!("author::fails {test}[here]");
        let _ = writeln!(shown, "{test}\n{}", said_by(&run, &case));
    }
    let redactions = snapbox::Redactions::new();
    let assert = snapbox::Assert::new().redact_with(redactions).action_env("TARGET_TEST_SNAPSHOTS");
    assert.eq(shown, snapbox::str![[r#""#]]);
}

/// The standard error of a failed case, without what the test harness adds.
fn said_by(run: &Outcome, case: &str) -> String {
    let text = run.stderr.lines().skip_while(|line| !(line.contains("FAIL [") && line.ends_with(case)));
    let text = text.skip_while(|line| line.trim() != "stderr ───").skip(1);
    let text = text.take_while(|line| !["FAIL [", "PASS [", "────", "running 1 test"].iter().any(|end| line.contains(end)));
    text.map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect()
}
