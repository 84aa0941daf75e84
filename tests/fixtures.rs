//! Fixtures: shared where they say so, torn down in reverse order whatever becomes of the test; verdicts at run time.

use std::{fs, path::Path};

use rustix::process::Signal;

use crate::support::{Outcome, Project, eventually, feed, repository};

const SCOPES: &str = include_str!("crates/fixtures/scopes.rs");
const BESIDE: &str = include_str!("crates/fixtures/beside.rs");
const FAILING: &str = include_str!("crates/fixtures/failing.rs");
const LASTING: &str = include_str!("crates/fixtures/lasting.rs");
const VERDICTS: &str = include_str!("crates/fixtures/verdicts.rs");

/// Two instances.
const PLAYBOOK: &str = "[[targets]]\nname = \"here\"\nplatform = \"local\"\ncount = 2\n";

fn project() -> Project {
    let fixtures = repository().join("target-fixtures");
    let manifest = format!(
        "[package]\nname = \"fixed\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [dev-dependencies]\ntarget-fixtures = {{ path = {fixtures:?}, features = [\"tokio\"] }}\n\
         serde = {{ version = \"1\", features = [\"derive\"] }}\n\
         tokio = {{ version = \"1\", features = [\"net\", \"rt\", \"time\"] }}\n\n\
         [profile.dev]\ndebug = false\n\n[workspace]\n"
    );
    Project::new("fixed")
        .file("Cargo.toml", &manifest)
        .file("tests/scopes.rs", SCOPES)
        .file("tests/beside.rs", BESIDE)
        .file("tests/failing.rs", FAILING)
        .file("tests/lasting.rs", LASTING)
        .file("tests/verdicts.rs", VERDICTS)
        .playbook(PLAYBOOK)
}

/// Runs tests, and returns what they wrote down.
#[track_caller]
fn run(project: &Project, arguments: &[&str], code: i32) -> (Outcome, Vec<String>) {
    let ledger = project.private("ledger");
    let tool = project.tool(arguments).env("LEDGER", &ledger);
    let outcome = tool.run().code(code);
    (outcome, lines(project))
}

fn lines(project: &Project) -> Vec<String> {
    let text = fs::read_to_string(project.private("ledger")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn count(lines: &[String], line: &str) -> usize {
    lines.iter().filter(|one| *one == line).count()
}

/// Processes that a shared fixture started run for all tests that share it, however the lease of its set-up ends.
#[test]
fn processes_of_a_shared_fixture_outlive_its_maker() {
    let project = project();
    for first in ["forwards", "lets_go", "hangs"] {
        let filter = format!("test(/^({first}|finds_it)\\[/)");
        let arguments = ["--test", "lasting", "--set", "targets.here.count=1"];
        let run = project.run(&[&arguments[..], &["-E", &filter]].concat());
        run.line_with(&["PASS", "finds_it[here]"]);
    }
}

/// A value of the run is made once for all processes, one of an instance once for each; the run's is the last to go.
#[test]
fn values_are_shared_as_far_as_they_say() {
    let project = project();
    let (outcome, lines) = run(
        &project,
        &["--test", "scopes", "-E", "test(/^(t[0-9]|both)\\[/)"],
        0,
    );
    assert_eq!(count(&lines, "test"), 7, "{outcome:?}");
    assert_eq!(
        (count(&lines, "up token"), count(&lines, "down token")),
        (1, 1),
        "{lines:?}"
    );
    let instances = ["here-0", "here-1"].map(|instance| {
        let [up, down] =
            ["up", "down"].map(|what| count(&lines, &format!("{what} db on {instance}")));
        assert_eq!(up, down, "{lines:?}");
        up
    });
    assert!(
        instances.iter().all(|times| *times <= 1) && instances.contains(&1),
        "{lines:?}"
    );
    assert_eq!(lines.last().map(String::as_str), Some("down token"));
    assert_eq!(
        outcome.lines_with(&["target-test: fixtures took "]),
        1,
        "{outcome:?}"
    );
    let at = |line: &str| lines.iter().position(|one| one == line);
    assert!(
        at("down file") < at("down folder")
            && at("up folder") < at("up file")
            && at("up token") < at("up file"),
        "{lines:?}"
    );
    // Nothing of it stays in the tests' environment, and kept instances do not keep it.
    let (_, again) = run(&project, &["--test", "scopes", "t1[", "--keep-targets"], 0);
    assert_eq!(count(&again, "down token"), 2, "{again:?}");
}

/// The set-up and the tear-down of each fixture are in the feed, with instance and error.
#[test]
fn fixtures_are_in_the_feed() {
    let project = project();
    let steps = || {
        let events = feed::events(&project.path("target-test.toml"));
        let step = |event: &&serde_json::Value| {
            let text = |key: &str| event[key].as_str().unwrap_or("-").to_owned();
            assert!(event["took"].is_u64(), "{event}");
            let what = if event["torn-down"] == true {
                "down"
            } else {
                "up"
            };
            let error = text("error").lines().next().unwrap_or("-").to_owned();
            format!("{what} {} on {}: {error}", text("name"), text("instance"))
        };
        let of_kind = feed::of_kind(&events, "fixture");
        of_kind.iter().map(step).collect::<Vec<_>>()
    };
    let here = ["--set", "targets.here.count=1"];
    let (outcome, _) = run(
        &project,
        &[&["--test", "scopes", "both["][..], &here].concat(),
        0,
    );
    // The folder is set up before the file, which needs it; the token before the database.
    let expected = [
        "up scopes::folder on here-0: -",
        "up scopes::token on -: -",
        "up scopes::db on here-0: -",
        "up scopes::file on here-0: -",
        "down scopes::file on here-0: -",
        "down scopes::folder on here-0: -",
        "down scopes::db on here-0: -",
        "down scopes::token on -: -",
    ];
    assert_eq!(steps(), expected, "{outcome:?}");
    let filter = ["-E", "test(/^(one_without|tear_down_fails)\\[/)"];
    let failing = [&["--test", "failing"][..], &filter, &here].concat();
    let (outcome, _) = run(&project, &failing, 100);
    let mut steps = steps();
    steps.sort();
    let expected = [
        "down failing::sticky on here-0: failed to tear down fixture `failing::sticky`: it sticks",
        "up failing::broken on -: no licence left",
        "up failing::sticky on here-0: -",
    ];
    assert_eq!(steps, expected, "{outcome:?}");
}

/// A panic, a timeout, a killed test, a killed runner: all is torn down, last first.
#[test]
fn the_end_comes_whatever_happens() {
    for test in ["panics", "hangs", "killed", "orphaned"] {
        let project = project();
        let (outcome, lines) = run(
            &project,
            &["--test", "scopes", &format!("dying::{test}")],
            100,
        );
        let expected = [
            "up folder",
            "up token",
            "up db on here-0",
            "up file",
            "test",
            "down file",
            "down folder",
            "down db on here-0",
            "down token",
        ];
        let lines: Vec<_> = lines
            .iter()
            .map(|line| line.replace("here-1", "here-0"))
            .collect();
        assert_eq!(lines, expected, "{test}: {outcome:?}");
    }
}

/// The verdict is out before the lease has ended: a tear-down may take its time.
#[test]
fn a_verdict_does_not_wait_for_the_lease_to_end() {
    let project = project();
    let ledger = project.private("ledger");
    let tool = project.tool(["--test", "scopes", "slow::dies"]);
    let mut started = tool.env("LEDGER", &ledger).start();
    eventually("the tear-down", || !lines(&project).is_empty());
    started.wait_for("SIGKILL");
    let kinds = || {
        let events = feed::events(&project.path("target-test.toml"));
        let kinds = events.iter().map(|event| event["event"].clone());
        let ends = |kind: &serde_json::Value| *kind == "attempt-ended" || *kind == "lease-ended";
        kinds.filter(ends).collect::<Vec<_>>()
    };
    eventually("the verdict", || kinds() == ["attempt-ended"]);
    fs::write(project.private("ledger.go"), "").expect("a file");
    started.wait().code(100);
    assert_eq!(kinds(), ["attempt-ended", "lease-ended"]);
}

/// Fixtures stay for the shell on a failure, and are torn down after it.
#[test]
fn they_stay_for_the_shell_on_a_failure() {
    let project = project();
    let test = ["--test", "scopes", "dying::panics", "--shell-on-failure"];
    let (outcome, lines) = run(&project, &test, 100);
    assert!(outcome.stderr.contains("no shell on here-"), "{outcome:?}");
    assert_eq!(
        (count(&lines, "down file"), count(&lines, "down folder")),
        (1, 1),
        "{lines:?}"
    );
    assert_eq!(lines.last().map(String::as_str), Some("down token"));
}

/// A tear-down that fails fails its test, and no other test gets the instance; a set-up that fails is tried once.
#[test]
fn what_goes_wrong_is_told_once() {
    let project = project();
    let (outcome, lines) = run(
        &project,
        &[
            &["--test", "failing", "-j1"][..],
            &["--set", "targets.here.count=1"],
            &["-E", "not test(/^endless_ends/)"],
        ]
        .concat(),
        100,
    );
    let said = format!("{outcome:?}");
    assert!(
        said.contains("failed to tear down fixture `failing::sticky`: it sticks"),
        "{said}"
    );
    assert!(
        said.contains("failed to set up fixture `failing::broken`: no licence left"),
        "{said}"
    );
    assert!(said.contains("as before: no licence left"), "{said}");
    assert!(
        said.contains(
            "fixtures depend on each other in a cycle: `failing::chicken` -> `failing::egg` -> `failing::chicken`"
        ),
        "{said}"
    );
    assert_eq!(
        outcome.lines_with(&["skip: ", "skipped_by_its_fixture", "no gpu here"]),
        1,
        "{said}"
    );
    assert_eq!(
        outcome.lines_with(&["PASS", "uses_the_next_one"]),
        1,
        "{said}"
    );
    for once in ["broken", "exploding", "down bomb", "down under", "down odd"] {
        assert_eq!(count(&lines, once), 1, "{once}: {said}");
    }
    assert!(
        said.contains("failed to tear down fixture `failing::bomb`: panicked: tick"),
        "{said}"
    );
    assert!(
        said.contains("fixture `failing::large`: failed to save its value: larger than 32 MiB"),
        "{said}"
    );
    // A test that is to panic ends its fixtures as any other.
    assert!(count(&lines, "down shared") > 0, "{said}");
    assert!(
        !said.contains("tear down fixture `failing::shared`"),
        "{said}"
    );
}

/// Instances are torn down side by side, each in reverse order, before what all of them used: at the end of a run and of a
/// lease on both.
#[test]
fn instances_are_torn_down_side_by_side() {
    for tests in ["one|two", "one|two|pair"] {
        let project = project();
        let filter = format!("test(/^({tests})\\[/)");
        let (outcome, lines) = run(&project, &["--test", "beside", "-E", &filter], 0);
        assert!(!outcome.stderr.contains("tear down"), "{outcome:?}");
        let mut expected = vec!["test", "test"];
        expected.extend(tests.contains("pair").then_some("pair"));
        expected.extend([
            "down cup",
            "down cup",
            "down table",
            "down table",
            "down house",
        ]);
        assert_eq!(lines, expected, "{outcome:?}");
    }
}

/// Who has no patience does not wait for a tear-down that hangs.
#[test]
fn two_interrupts_leave_a_tear_down_behind() {
    let project = project();
    let ledger = project.private("ledger");
    let tool = project.tool(["--test", "failing", "endless_ends::"]);
    let mut started = tool.env("LEDGER", &ledger).start();
    eventually("the tear-down", || !lines(&project).is_empty());
    started.signal(Signal::INT);
    started.wait_for("interrupt again to leave the instances behind");
    // The same signal, sent again at once, would be the same wish.
    started.signal(Signal::TERM);
    started.wait().code(130);
    let line = lines(&project).remove(0);
    let pid = line.strip_prefix("down endless ").expect("its process");
    eventually("its end", || !Path::new("/proc").join(pid).exists());
}

/// A tear-down that hangs does not outlive the tool, which would have ended it.
#[test]
fn a_tear_down_dies_with_the_tool() {
    let project = project();
    let ledger = project.private("ledger");
    let tool = project.tool(["--test", "failing", "endless_ends::"]);
    let started = tool.env("LEDGER", &ledger).start();
    eventually("the tear-down", || !lines(&project).is_empty());
    started.signal(Signal::KILL);
    let line = lines(&project).remove(0);
    let pid = line.strip_prefix("down endless ").expect("its process");
    eventually("its end", || !Path::new("/proc").join(pid).exists());
}

/// Fixtures of two packages may have the same path: they are two.
#[test]
fn packages_share_nothing_by_name() {
    let fixtures = repository().join("target-fixtures");
    let package = |name: &str| {
        format!(
            "[package]\nname = {name:?}\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [dev-dependencies]\ntarget-fixtures.path = {fixtures:?}\n"
        )
    };
    let test = |ty: &str, value: &str| {
        format!(
            "use target_fixtures::prelude::*;\n\
             #[target_fixture(scope = \"run\")]\nfn db() -> {ty} {{ {value}.into() }}\n\
             #[target_test]\nfn uses(_target: &Target, db: &{ty}) {{ assert_eq!(*db, {value}); }}\n"
        )
    };
    let workspace = "[workspace]\nresolver = \"3\"\nmembers = [\"one\", \"two\"]\n\n\
                     [profile.dev]\ndebug = false\n";
    let outcome = Project::new("fixed-twice")
        .file("Cargo.toml", workspace)
        .file("one/Cargo.toml", &package("fixed-one"))
        .file("one/src/lib.rs", "")
        .file("one/tests/it.rs", &test("u32", "7_u32"))
        .file("two/Cargo.toml", &package("fixed-two"))
        .file("two/src/lib.rs", "")
        .file("two/tests/it.rs", &test("String", "\"seven\""))
        .playbook(PLAYBOOK)
        .run(&["--workspace"])
        .code(0);
    assert_eq!(
        outcome.lines_with(&["PASS", "uses[here]"]),
        2,
        "{outcome:?}"
    );
}

/// Without the tool the broker that is started sees to it.
#[test]
fn without_the_tool_all_is_torn_down_too() {
    let project = project();
    let ledger = project.private("ledger");
    let cargo = |test: &str| {
        let arguments = ["test", "--quiet", "--test", "scopes", "--", "--exact", test];
        project.cargo(arguments).env("LEDGER", &ledger).run()
    };
    cargo("both").code(0);
    assert!(lines(&project).ends_with(&[
        "test".to_owned(),
        "down file".to_owned(),
        "down folder".to_owned()
    ]));
    cargo("dying::killed").code(101);
    eventually("the end of what the killed test had", || {
        count(&lines(&project), "down folder") == 2
    });
    // What was shared goes with the broker.
    eventually("the broker's end", || {
        count(&lines(&project), "down token") == 1
    });
    assert_eq!(
        lines(&project).last().map(String::as_str),
        Some("down token")
    );
}

/// Verdicts that a test gives itself are told as such.
#[test]
fn verdicts_at_run_time() {
    let project = project();
    let (outcome, _) = run(&project, &["--test", "verdicts"], 100);
    for (case, words) in [
        (
            "skips_from_anywhere[here]",
            "skip: skips_from_anywhere[here]: nothing for here",
        ),
        (
            "fails_as_said[here]",
            "failed as expected: fails_as_said[here]: bug 7",
        ),
        (
            "panics_as_said[here]",
            "failed as expected: panics_as_said[here]: bug 8",
        ),
    ] {
        assert_eq!(outcome.lines_with(&["PASS", case]), 1, "{outcome:?}");
        assert!(outcome.stderr.contains(words), "{words}: {outcome:?}");
    }
    assert!(
        outcome
            .stderr
            .contains("passed, but is expected to fail: bug 9"),
        "{outcome:?}"
    );
    assert_eq!(
        outcome.lines_with(&["PASS", "asynchronous[here]"]),
        1,
        "{outcome:?}"
    );
    assert!(
        outcome.lines_with(&["FAIL", "asynchronous_failure[here]"]) > 0,
        "{outcome:?}"
    );
}
