//! pass, fail, skip and infra, and the exit codes that they come to.

use std::{thread, time::Duration};

use super::world::{World, summary};
use crate::support::{eventually, feed::of_kind};

const GOOD: &str = "[[targets]]\nname = \"good\"\nplatform = \"command\"\n";
const BAD: &str = "[[targets]]\nname = \"bad\"\nplatform = \"command\"\n";

#[test]
fn failures_and_expected_failures() {
    let world = World::new();
    let run = world
        .run(&["verdict::", "--", "--skip", "west", "--skip", "hangs"])
        .code(100)
        .line_with(&["PASS", "verdict::passes[east]"])
        .line_with(&["FAIL", "verdict::fails[east]"])
        .line_with(&["PASS", "verdict::skips[east]"])
        .line_with(&["target-test: skip: verdict::skips[east]: no such device"])
        .line_with(&["PASS", "verdict::fails_as_known[east]"])
        .line_with(&["FAIL", "verdict::works_again[east]"])
        .line_with(&["passed, but is expected to fail: bug 8"])
        .line_with(&["FLAKY 3/3", "verdict::flaky[east]"])
        .line_with(&["SIGABRT", "verdict::aborts[east]"])
        .line_with(&["PASS", "verdict::prints[east]"]);
    let told =
        "target-test: 9 cases: 4 passed, 1 skipped, 1 failed as expected, 3 failed, 0 infra\n";
    let run = run.says(told);
    assert!(summary(&run).ends_with("3 failed, 0 skipped"), "{run:?}");
}

/// An instance that cannot be had is never a test's failure, and is tried as often as the playbook says, not once more
/// for each test.
#[test]
fn a_target_that_cannot_be_had_is_infra() {
    let world = World::on_machines(&format!("{GOOD}{BAD}"));
    let run = world
        .run(&["passes", "fails_as_known", "--retries", "1"])
        .code(69)
        .line_with(&["PASS", "verdict::passes[good]"])
        .line_with(&["PASS", "verdict::fails_as_known[good]"])
        .line_with(&["FAIL", "deploy[bad-0]"])
        .line_with(&["FAIL", "verdict::passes[bad]"])
        .line_with(&["infra: bad-0 could not be deployed: ", "exited with code 3"])
        .line_with(&["hint: "])
        .line_with(&["hint: see `deploy[bad-0]` for details"])
        .line_with(&["4 cases: 1 passed, 0 skipped, 1 failed as expected, 0 failed, 2 infra"])
        .line_with(&["no such flavour"])
        .line_with(&["exit code 69"]);
    assert!(
        run.lines_with(&["TRY 2 FAIL", "verdict::passes[bad]"]) > 0,
        "{run:?}"
    );
    let deploys = world.read("ledger").matches("deploy bad-0").count();
    assert_eq!(deploys, 2, "{}", world.read("ledger"));
    world.is_clean();
}

/// The cause of a failed deploy is shown in full by its deploy entry, on one line by each case, and on one line at the
/// end.
#[test]
fn a_cause_is_told_once() {
    let world = World::on_machines(BAD);
    let up = "echo no quota >&2; echo no such flavour >&2; exit 3\n";
    world.program("up", &format!("read -r order; {up}"));
    let four = ["passes", "fails_as_known", "quick", "skips"];
    for (cases, count) in [(&four[..1], 1), (&four[..], 4)] {
        let junit = world.path("junit.xml");
        let report = format!("--junit={}", junit.display());
        let run = world.run(&[cases, &[&report]].concat()).code(69);
        let lines = |parts: &[&str]| run.lines_with(parts);
        assert_eq!(
            lines(&["target-test: infra: ", "bad-0 could not", "no such flavour"]),
            1,
            "{run:?}"
        );
        for case in cases {
            assert_eq!(
                lines(&["target-test: infra: ", &format!("verdict::{case}[bad]")]),
                1,
                "{run:?}"
            );
        }
        assert_eq!(
            lines(&[
                "    infra: bad-0 could not",
                "exited with code 3: no such flavour"
            ]),
            count,
            "{run:?}"
        );
        assert_eq!(
            lines(&["    infra: bad-0 could not", "exited with code 3:"]),
            count + 1,
            "{run:?}"
        );
        // Twice as the deploy says it, and once where that failed.
        assert_eq!(lines(&["no quota"]), 3, "{run:?}");
        let report = std::fs::read_to_string(junit).unwrap();
        assert!(
            report.contains("exited with code 3:\nno quota\nno such flavour\n"),
            "{report}"
        );
        assert_eq!(
            report
                .matches("code 3: no such flavour\nhint: see `deploy[bad-0]` for details")
                .count(),
            count,
            "{report}"
        );
    }
    world.is_clean();
}

/// The deploy of the first instance passed, and says nothing of why it could not be replaced. The summary says it once,
/// with the cases.
#[test]
fn a_replacement_that_cannot_be_had_is_told_once_in_full() {
    let spends = "[[overrides]]\nname = \"/./\"\nreuse = false\n";
    let world = World::on_machines(&format!("{GOOD}{spends}"));
    let up = std::fs::read_to_string(world.path("up")).unwrap();
    let once = "[ -e once ] && { read -r order; echo no quota >&2; echo call 4711 >&2; exit 3; }; : >once\n";
    world.program("up", &up.replacen("#!/bin/sh\n", once, 1));
    let run = world
        .run(&["passes", "quick", "skips"])
        .code(69)
        .line_with(&["PASS", "deploy[good-0]"])
        .line_with(&[
            "    infra: good-0 could not be deployed: ",
            "code 3: call 4711",
        ])
        .line_with(&[
            "hint: fix this, ",
            "; the whole cause is shown after the last test",
        ])
        .line_with(&[
            "target-test: infra: verdict::",
            "[good], verdict::",
            "[good]: good-0",
            "code 3:",
        ])
        .never_says("for details");
    assert_eq!(run.lines_with(&["    no quota"]), 1, "{run:?}");
    world.is_clean();
}

/// A failure on a machine that does not answer any more is infra: for nextest, for the summary and in the feed.
#[test]
fn a_failure_on_a_lost_machine_is_infra() {
    let dying = format!("{GOOD}exec = \"./exec\"\n");
    let world = World::on_machines(&dying);
    world.program("up", "echo '{\"host\": \"box\"}'\n");
    world.program(
        "exec",
        "[ ! -e dead ] || { echo 'no route to box' >&2; exit 1; }\nexec sh -c \"$1\"\n",
    );
    world
        .run(&["around::breaks"])
        .code(69)
        .line_with(&["no answer"])
        .line_with(&["exit code 69"])
        .line_with(&["    infra: ", "good-0"])
        .line_with(&["target-test: infra: around::breaks[good]: ", "good-0"]);
    let events = world.events();
    let ended = of_kind(&events, "attempt-ended");
    assert!(
        ended[0]["result"]["verdict"]["infra"].is_string(),
        "{events:?}"
    );
    assert_eq!(ended[0]["result"]["exit"]["code"], 101, "{events:?}");
    world.is_clean();
}

/// `git bisect run` takes 125 for "cannot be tested", and every other code for "bad".
#[test]
fn the_exit_code_of_infra_can_be_chosen() {
    let world = World::on_machines(&format!("{GOOD}{BAD}"));
    let code = "--infra-exit-code=125";
    world.run(&[code, "passes"]).code(125);
    world.run(&[code, "passes[good]"]).code(0);
    world.run(&[code, "passes", "fails[good]"]).code(100);
    world.run(&["--infra-exit-code=0", "passes"]).code(2);
    let playbook = world.read("target-test.toml");
    let mode = "[modes.bisect]\noptions = [\"--infra-exit-code=9\"]\n";
    world.file("target-test.toml", &format!("{playbook}{mode}"));
    world.run(&["--mode=bisect", "passes"]).code(9);
    world.run(&["--mode=bisect", code, "passes"]).code(125);
    let events = world.events();
    assert_eq!(
        of_kind(&events, "run-ended")[0]["exit-code"],
        125,
        "{events:?}"
    );
}

/// A command that kills its own shell failed by that signal, whatever started the shell: the machine is well.
#[test]
fn a_killed_shell_is_a_failure() {
    let world = World::on_machines(&format!("{GOOD}exec = \"./exec\"\n"));
    world.program("up", "echo '{\"host\": \"box\"}'\n");
    for exec in ["exec sh -c \"$1\"\n", "sh -c \"$1\"\nexit $?\n"] {
        world.program("exec", exec);
        world
            .run(&["around::is_killed"])
            .code(100)
            .line_with(&["kill -9 $PPID", "signal KILL"])
            .never_says("infra: ");
    }
}

/// Only the failure that is expected is expected.
#[test]
fn another_failure_than_the_expected_one_counts() {
    let world = World::new();
    world
        .run(&["fails_by_a_bug[east]"])
        .code(0)
        .line_with(&["failed as expected: around::fails_by_a_bug[east]: bug 10"]);
    world
        .run(&["fails_by_a_bug[west]", "fails_by_another[east]"])
        .code(100)
        .line_with(&["failed, but not as expected: bug 9"])
        .line_with(&["failed, but not as expected: bug 11"])
        .line_with(&["2 failed, 0 skipped"]);
}

/// The word on the screen is the one that counts: a connection that was lost under a test is infra, even if the machine
/// answers again, unless the test failed by something else.
#[test]
fn a_lost_connection_is_told_as_it_counts() {
    let world = World::on_machines(&format!("{GOOD}exec = \"./exec\"\n"));
    world.program("up", "echo '{\"host\": \"box\"}'\n");
    world.program(
        "exec",
        "case $1 in *'sleep 1000'*) ;; *) exec sh -c \"$1\";; esac\n\
         sh -c \"$1\" & until [ -e cut ]; do sleep 0.01; done\n\
         rm cut; kill -KILL $!; echo 'broken pipe' >&2; exit 255\n",
    );
    let lost = world.run(&["around::loses_its_connection"]).code(69);
    lost.line_with(&["target-test: infra: around::loses_its_connection[good]: `good-0`"]);
    world
        .run(&["around::fails_beside_a_loss"])
        .code(100)
        .never_says("target-test: infra: ");
}

/// nextest exits with 0 where only some iterations failed.
#[test]
fn a_failed_iteration_of_a_stress_run_is_a_failure() {
    for partitions in ["1", "2"] {
        let world = World::new();
        let several = ["--partitions", partitions];
        world
            .run(&[&["--stress-count", "4", "fails_once"], &several[..]].concat())
            .code(100)
            .line_with(&["2 cases: 1 passed, 0 skipped, 0 failed as expected, 1 failed, 0 infra"]);
    }
}

/// One real failure, of a case or of a plain test, is a failure.
#[test]
fn infra_does_not_hide_failures() {
    let world = World::on_machines(&format!("{GOOD}{BAD}"));
    world
        .run(&["passes", "fails[good]"])
        .code(100)
        .line_with(&["target-test: infra: verdict::passes[bad]"]);
    world
        .tool(&["passes[bad]", "plain"])
        .env("SCRATCH", "/nonexistent")
        .run()
        .code(100)
        .line_with(&["FAIL", "run-world::cases plain"]);
}

/// A declared timeout ends the test, what it started here, and what it runs on its target.
#[test]
fn a_declared_timeout_leaves_nothing() {
    let world = World::new();
    let junit = format!("--junit={}", world.path("junit.xml").display());
    world
        .run(&["verdict::hangs[east]", &junit])
        .code(100)
        .line_with(&["timed out after 300ms"]);
    let report = world.read("junit.xml");
    let failure = "<failure message=\"timed out after 300ms\" type=\"test timeout\"";
    assert!(report.contains(failure), "{report}");
    let pids = world.read("pids");
    assert_eq!(pids.lines().count(), 2, "{pids}");
    for pid in pids.lines() {
        eventually("the end of what the test started", || !alive(pid));
    }
    world.is_clean();
}

/// The flag goes before the variable, that before the playbook; what a test declares goes before all.
#[test]
fn a_test_without_a_timeout_has_that_of_the_run() {
    let target = "[[targets]]\nname = \"box\"\nplatform = \"command\"\n";
    let world = World::on_machines(&format!("[defaults]\ntimeout = \"400ms\"\n{target}"));
    let waits = |args: &[&str], variable: &str| {
        let tool = world.tool(&["around::waits"]).args(args);
        tool.env("TARGET_TEST_TIMEOUT", variable).run().code(100)
    };
    waits(&[], "").line_with(&["timed out after 400ms"]);
    waits(&[], "300ms").line_with(&["timed out after 300ms"]);
    waits(&["--timeout", "200ms"], "300ms").line_with(&["timed out after 200ms"]);
    let own = world.run(&["verdict::quick", "--timeout", "1ms", "--durations", "1"]);
    own.code(0).says("target-test: slowest cases:").line_with(&[
        "s (set-up 0.000, test ",
        "run-world::cases verdict::quick[box]",
    ]);
    world
        .run(&["--timeout", "0s"])
        .code(2)
        .says("greater than zero");
}

/// Waiting for a machine is not the test's time.
#[test]
fn a_declared_timeout_counts_from_the_lease_on() {
    let world = World::on_machines("[[targets]]\nname = \"box\"\nplatform = \"command\"\n");
    let first = world.tool(&["around::waits"]).start();
    eventually("the machine to be leased", || {
        !world.read("waiting").is_empty()
    });
    let mut second = world.tool(&["verdict::quick", "--no-capture"]).start();
    second.wait_for("waiting for box: 1 of 1 leased (pid ");
    // Longer than it may take, however much of it has passed before this was said.
    thread::sleep(Duration::from_secs(2));
    world.file("go", "");
    first.wait().code(0);
    let second = second.wait().code(0);
    second.line_with(&["PASS", "verdict::quick[box]"]);
}

/// nextest's own limit, while the case still waits, is nobody's failure.
#[test]
fn a_limit_that_fires_during_the_wait_is_infra() {
    let world = World::on_machines("[[targets]]\nname = \"slow\"\nplatform = \"command\"\n")
        .nextest(
            "[[profile.default.overrides]]\nfilter = 'all()'\n\
         slow-timeout = { period = '500ms', terminate-after = 2, grace-period = '5s' }\n",
        );
    world
        .run(&["passes"])
        .code(69)
        .line_with(&[
            "skip: nextest ended this entry after ",
            " s; the deploy goes on",
        ])
        .line_with(&["infra: nextest ended the case while it waited for `slow`"])
        .never_says("waited for `slow-0`")
        .never_says("panicked");
    world.is_clean();
}

/// A user's limit is for tests. For a whole profile it does not end the entry of a slow deploy; where an override ends
/// the entry, the deploy goes on and its cases pass.
#[test]
fn a_limit_of_nextest_ends_no_deploy() {
    let limit = "slow-timeout = { period = '400ms', terminate-after = 1, grace-period = '5s' }\n";
    let targets = "[[targets]]\nname = \"late\"\nplatform = \"command\"\n";
    for (nextest, ended) in [
        (format!("[profile.default]\n{limit}"), 0),
        (
            format!("[[profile.default.overrides]]\nfilter = 'test(/^deploy/)'\n{limit}"),
            1,
        ),
    ] {
        let world = World::on_machines(targets).nextest(&nextest);
        let up = world.read("up");
        // Ends once the entry has been ended, or would have been.
        world.program("up", &up.replacen("#!/bin/sh\n", "sleep 1.5\n", 1));
        let junit = world.path("junit.xml");
        let run = world
            .run(&["verdict::passes", &format!("--junit={}", junit.display())])
            .code(0)
            .line_with(&["PASS", "verdict::passes[late]"]);
        let said = "target-test: skip: deploy[late-0]: nextest ended this entry after ";
        assert_eq!(run.lines_with(&[said]), ended, "{run:?}");
        let report = std::fs::read_to_string(junit).unwrap();
        assert_eq!(report.matches("<skipped").count(), ended, "{report}");
        assert!(!report.contains("<failure"), "{report}");
        assert_eq!(world.read("ledger").matches("deploy").count(), 1);
        world.is_clean();
    }
}

pub(crate) fn alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
