//! Tests of the author's API: every method of `Target` on every transport; readable errors; declarations of a test,
//! listed and obeyed.

use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt, path::PathBuf};

use serde_json::{Value, json};

use crate::support::{Outcome, Project, Sshd, container::Engine, here};

/// Tests that are started without the tool.
pub(crate) mod without;

/// Every method of `Target`; runs on each transport.
const API: &str = include_str!("crates/author/api.rs");
/// Commands and processes; runs on each transport.
const COMMANDS: &str = include_str!("crates/author/commands.rs");
/// Machines, folders and ports; runs on each transport.
const MACHINE: &str = include_str!("crates/author/machine.rs");
/// Hostile use of the API; runs on each transport.
const HOSTILE: &str = include_str!("crates/author/hostile.rs");
/// Tests that fail, each in its own way.
const FAILS: &str = include_str!("crates/author/fails.rs");
/// Everything that a test can declare.
const DECLARED: &str = include_str!("crates/author/declared.rs");
/// Traffic between machines; runs here and on BusyBox.
const NET: &str = include_str!("crates/author/net.rs");
/// For runs without the tool.
const PLAIN: &str = include_str!("crates/author/plain.rs");

/// The project of all tests here.
fn project() -> Project {
    Project::new("author")
        .file("tests/api.rs", API)
        .file("tests/commands.rs", COMMANDS)
        .file("tests/machine.rs", MACHINE)
        .file("tests/hostile.rs", HOSTILE)
        .file("tests/fails.rs", FAILS)
        .file("tests/declared.rs", DECLARED)
        .file("tests/net.rs", NET)
        .file("tests/plain.rs", PLAIN)
}

/// A program in the project's private folder.
pub(crate) fn program(project: &Project, name: &str, text: &str) -> PathBuf {
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
    let address = sshd.address("real");
    let setting = |key| sshd.setting("real", key);
    let (user, identity, known) = (
        setting("user"),
        setting("identityfile"),
        setting("userknownhostsfile"),
    );
    let data = "\\\"data\\\": {\\\"serial\\\": 7, \\\"tags\\\": [\\\"a\\\"]}";
    let make = |extra: &str| {
        format!("cat >/dev/null; echo \"{{\\\"host\\\": \\\"127.0.0.1\\\", {extra}, {data}}}\"\n")
    };
    let over_ssh = program(
        project,
        "over-ssh",
        &make(&format!("\\\"port\\\": {}", sshd.setting("made", "port"))),
    );
    let here = program(project, "here", &make("\\\"transport\\\": \\\"local\\\""));
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
    let files = ["api", "commands", "machine"]
        .map(|file| ["--test", file])
        .concat();
    let run = project
        .run(&[&files[..], &["--playbook", &playbook]].concat())
        .code(0);
    // `pair` needs two instances, which only `here` has.
    for (file, text, single) in [
        ("api", API, 1),
        ("commands", COMMANDS, 0),
        ("machine", MACHINE, 0),
    ] {
        let cases = (text.matches("#[target_test").count() - single) * 4 + single;
        let passed = run.lines_with(&["PASS", &format!("author::{file}")]);
        assert_eq!(passed, cases, "{run:?}");
    }
}

/// Commands, signals and files on a machine without GNU: a container of busybox alone.
#[test]
fn commands_on_busybox() {
    let Some(engine) = here(Engine::start()) else {
        return;
    };
    let project = project();
    let playbook = playbook(&project, &format!("{}count = 2\n", engine.target("tiny")));
    let chosen = "binary(commands) + test(files_are_written) + test(folders_travel)";
    let run = project
        .run(&["--playbook", &playbook, "-E", chosen])
        .code(0);
    let passed = run.lines_with(&["PASS", "author::"]);
    assert_eq!(
        passed,
        COMMANDS.matches("#[target_test").count() + 2,
        "{run:?}"
    );
}

/// Servers, clients, sniffers and pings; what a machine does not have is skipped.
#[test]
fn traffic_of_machines() {
    let Some(engine) = here(Engine::start()) else {
        return;
    };
    let project = project();
    let here = "[[targets]]\nname = \"here\"\nplatform = \"local\"\ncount = 3\n";
    let playbook = playbook(&project, &format!("{here}{}", engine.target("tiny")));
    let run = project
        .run(&["--playbook", &playbook, "--test", "net"])
        .code(0);
    // `three_machines_talk` needs three.
    let cases = NET.matches("#[target_test").count() * 2 - 1;
    assert_eq!(run.lines_with(&["PASS", "author::net"]), cases, "{run:?}");
    for (skipped, program, package) in [
        ("a_missing_program_skips", "`tcpdump`", "tcpdump"),
        (
            "a_missing_protocol_skips",
            "`nc` with option `-u`",
            "netcat-openbsd",
        ),
    ] {
        let reason = format!(
            "program {program} not found on `tiny-0`: install the Debian package `{package}`"
        );
        let lines = run.lines_with(&[&format!("{skipped}[tiny]"), &reason]);
        assert_eq!(lines, 1, "{run:?}");
    }
}

/// Floods, odd names, odd files, odd times: on here and by SSH, the two ways in which streams travel.
#[test]
fn hostile_use_harms_nobody() {
    let project = project();
    let sshd = Sshd::start(&["real", "made"]);
    let playbook = playbook(&project, &everywhere(&project, &sshd));
    let on = ["--on", "here", "--on", "real"];
    let run = project.run(&[&["--test", "hostile", "--playbook", &playbook][..], &on].concat());
    let cases = HOSTILE.matches("#[target_test").count() * 2;
    let passed = run.code(0).lines_with(&["PASS", "author::hostile"]);
    assert_eq!(passed, cases);
}

/// Checks the output of a failed test, as its author reads it.
#[test]
fn errors_read_well() {
    let project = project();
    let playbook = playbook(
        &project,
        "[[targets]]\nname = \"here\"\nplatform = \"local\"\n",
    );
    let run = project
        .run(&["--test", "fails", "--playbook", &playbook, "-j1"])
        .code(100);
    let mut shown = String::new();
    for test in [
        "command",
        "file",
        "foreign",
        "local_file",
        "panics",
        "text",
        "timeout",
    ] {
        let case = format!("author::fails {test}[here]");
        let _ = writeln!(shown, "{test}\n{}", said_by(&run, &case));
    }
    snapbox::Assert::new().eq(
        shown,
        snapbox::str![[r#"
command
Error: failed to run `echo building; echo 'cannot open x' >&2; exit 3` on `here-0`: exit code 3
--- stdout
building
--- stderr
cannot open x
at tests/fails.rs:9:12

file
Error: failed to read `/etc/none` on `here-0`: file not found
at tests/fails.rs:24:12

foreign
Error: invalid digit found in string
at tests/fails.rs:36:5

local_file
Error: failed to read `/none/here`: No such file or directory (os error 2)
at tests/fails.rs:30:12

panics
panicked at tests/fails.rs:51:5:
an old kernel: 5.10
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace

text
Error: the moon is wrong
at tests/fails.rs:42:29

timeout
Error: failed to run `echo started; sleep 1000` on `here-0`: timed out after 300ms and was killed
--- stdout
started
at tests/fails.rs:18:10


"#]],
    );
}

/// The standard error of a failed case, without what the test harness adds.
fn said_by(run: &Outcome, case: &str) -> String {
    let text = run
        .stderr
        .lines()
        .skip_while(|line| !(line.contains("FAIL [") && line.ends_with(case)));
    let text = text.skip_while(|line| line.trim() != "stderr ───").skip(1);
    let text = text.take_while(|line| {
        !["FAIL [", "PASS [", "────", "running 1 test"]
            .iter()
            .any(|end| line.contains(end))
    });
    let text = text
        .map(|line| line.strip_prefix("    ").unwrap_or(line))
        .filter(|line| !line.is_empty());
    let text = text.map(|line| match line.split_once(" (") {
        // A thread's number, which is another each time.
        Some(("thread 'panics'", rest)) => rest.split_once(") ").map_or(line, |(_, rest)| rest),
        _ => line,
    });
    text.fold(String::new(), |text, line| text + line + "\n")
}

/// A target that has everything and one that has little.
const RICH_AND_POOR: &str = r#"
[[targets]]
name = "here"
platform = "local"
count = 2
features = ["x"]
capabilities = { memory = "16 GiB", "cpu.model" = "AMD EPYC 9" }

[[targets]]
name = "poor"
platform = "command"
deploy = ["sh", "-c", 'cat >&2; echo "{\"host\": \"h\", \"transport\": \"local\"}"']
delete = "true"
capabilities = { memory = "1 GiB" }
"#;

/// Declarations are listed by key, and excluded tests with a reason.
#[test]
fn declarations_are_listed() {
    let project = project();
    let playbook = playbook(&project, RICH_AND_POOR);
    let arguments = ["list", "--test", "declared", "--playbook", &playbook];
    let printed = project
        .tool(arguments)
        .args(["--json"])
        .run()
        .code(0)
        .stdout;
    let listing: Value = serde_json::from_str(&printed).expect("JSON");
    let case = |name: &str| {
        let mut cases = listing["cases"].as_array().expect("cases").iter();
        cases
            .find(|case| case["case"] == name)
            .unwrap_or_else(|| panic!("no {name}: {listing:#}"))
    };
    assert_eq!(
        *case("everything[here]"),
        json!({
            "case": "everything[here]", "binary": "author::declared", "test": "everything", "target": "here",
            "platform": "local", "count": 1, "doc": "Everything that can be said.\n\nWith a second paragraph.",
            "category": "functional", "area": "deploy", "priority": 0, "tags": ["a", "b"], "owner": "me",
            "features": ["x"], "requirements": {"cpu.model": "~ .*EPYC", "memory": ">= 2 GiB"},
            "timeout": "30s", "retries": 2, "reuse": false
        })
    );
    assert_eq!(case("pair[here]")["count"], 2);
    assert_eq!(case("known_bug[here]")["expect-fail"], "bug 7");
    assert_eq!(case("known_bug[poor]")["expect-fail"], Value::Null);
    let inherits = case("net::inherits[here]");
    assert_eq!(
        (&inherits["area"], &inherits["tags"]),
        (&"net".into(), &json!(["slow", "own"]))
    );
    case("frames::case_1_small[here]");
    case("frames::deep::case_2_f_0[here]");
    let mut excluded: Vec<_> = listing["excluded"]
        .as_array()
        .expect("excluded")
        .iter()
        .map(reason)
        .collect();
    excluded.sort();
    assert_eq!(
        excluded,
        [
            "everything[poor]: only on platform `local`, `poor` is on `command`",
            "frames::case_1_small[poor]: only on `here`",
            "frames::deep::case_2_f_0[poor]: only on `here`",
            "frames[poor]: only on `here`",
            "large[poor]: needs memory >= 8 GiB, `poor` offers 1 GiB",
            "net::deeper::nowhere[here]: skip: not on this one",
            "net::deeper::nowhere[poor]: skip: no route",
            "net::inherits[poor]: skip: no route",
            "never: skip: never mind",
            "pair[poor]: needs 2 instances, `poor` has 1",
        ]
    );
    assert_eq!(
        listing["plain"],
        json!([{"binary": "author::declared", "test": "ordinary", "ignored": false}])
    );
    project
        .run(&arguments)
        .code(0)
        .line_with(&["everything[here]", "Everything that can be said."])
        .line_with(&["known_bug[here]", "(expected to fail: bug 7)"])
        .says("never: skip: never mind");
}

/// `never: skip: never mind`
fn reason(line: &Value) -> String {
    let text = |key: &str| line[key].as_str().unwrap_or_default();
    let target = line["target"]
        .as_str()
        .map(|target| format!("[{target}]"))
        .unwrap_or_default();
    format!("{}{target}: {}", text("test"), text("reason"))
}

/// Declarations take effect.
#[test]
fn declarations_are_obeyed() {
    let project = project();
    let playbook = playbook(&project, RICH_AND_POOR);
    let run = project
        .run(&[
            "--test",
            "declared",
            "--playbook",
            &playbook,
            "--success-output",
            "immediate",
        ])
        .code(100);
    let run = run
        .says("failed as expected: bug 7")
        .says("passed, but is expected to fail: bug 8")
        .says("skip: at_run_time[here]: has an x")
        .line_with(&["PASS", "declared ordinary"]);
    for (case, verdict) in [
        ("known_bug[here]", "PASS"),
        ("known_bug[poor]", "PASS"),
        ("fixed_bug[here]", "FAIL"),
        ("fixed_bug[poor]", "PASS"),
        ("net::inherits[here]", "PASS"),
        ("frames::deep::case_2_f_0[here]", "PASS"),
        ("pair[here]", "PASS"),
        ("at_run_time[poor]", "PASS"),
    ] {
        assert!(
            run.lines_with(&[verdict, case]) >= 1,
            "{verdict} {case}: {run:?}"
        );
    }
    for case in ["never", "nowhere", "net::inherits[poor]", "large[poor]"] {
        assert_eq!(run.lines_with(&["declared ", case]), 0, "{case}: {run:?}");
    }
}
