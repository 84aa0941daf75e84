//! Orchestrations: real runs of real descriptions, however they end.

/// Faults that tests cause.
mod faults;
/// Links that break under an event.
mod links;

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::{
    Project, Started, browser::Browser, eventually, examples, feed, here, processes::running,
    repository,
};
use rustix::process::{Pid, Signal, kill_process};

const TIMED: &str = include_str!("crates/orchestrations/timed.rs");
const EVENTS: &str = include_str!("crates/orchestrations/events.rs");

/// Three instances, and the descriptions of all tests.
const PLAYBOOK: &str = "[[targets]]\nname = \"here\"\nplatform = \"local\"\ncount = 3\n\n\
                        [environments.pair.roles.server]\nplatform = \"local\"\n\n\
                        [environments.pair.roles.client]\nplatform = \"local\"\n\n\
                        [orchestration]\ndescriptions = \"descriptions\"\n";

const WORKS: &str = r#"{
    "test_name": "works", // all that an event can take
    "duration": "1s",
    "unref_setup_fixtures": ["linked_device"],
    "events": [
        { "name": "takes", "params": {
            "path": "/clips/a b.mp4", "count": 3, "rate": 2.5, "name": "x", "loud": true, "list": [1, -2],
            "window": { "width": 640 }
        } },
        { "name": "linked", "interval": "400ms" },
        { "name": "plays", "interval": "200ms" },
        { "name": "collects", "at_startup": false, "at_teardown": true },
    ],
}"#;

const PANICS: &str = r#"
test_name = "panics"
duration = "500ms"
events = [{ name = "breaks" }, { name = "plays" }, { name = "collects", at_startup = false, at_teardown = true }]
"#;

const FAILS_FAST: &str = r#"
test_name = "fails_fast"
duration = "10m"
fail = "fast"
events = [{ name = "reports", interval = "1s", at_startup = false }, { name = "plays" }]
"#;

const HANGS: &str = r#"
test_name = "hangs"
duration = "200ms"
grace = "300ms"
events = [{ name = "never_ends" }, { name = "collects", at_startup = false, at_teardown = true }]
"#;

const LATE: &str = r#"
test_name = "late"
duration = "200ms"
grace = "1s"
unref_setup_fixtures = ["device"]
events = [{ name = "is_late" }, { name = "collects", at_startup = false, at_teardown = true }]
"#;

const EXITS: &str = r#"
test_name = "exits"
duration = "10m"
events = [{ name = "exits_the_process" }]
"#;

const SPREADS: &str = r#"
test_name = "spreads"
duration = "200ms"
events = [{ name = "meets" }]
"#;

const LASTS: &str = r#"
test_name = "lasts"
total_hours = 3
grace = "5s"
events = [{ name = "plays" }, { name = "collects", at_startup = false, at_teardown = true }]
"#;

fn project() -> Project {
    let fixtures = repository().join("target-fixtures");
    let manifest = |name: &str, kind: &str, more: &str| {
        format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [{kind}]\ntarget-fixtures = {{ path = {fixtures:?} }}\n{more}"
        )
    };
    let more = "my_events = { path = \"events\" }\n\
                serde = { version = \"1\", features = [\"derive\"] }\n\n\
                [profile.dev]\ndebug = false\n\n[workspace]\n";
    Project::new("timed")
        .file("Cargo.toml", &manifest("timed", "dev-dependencies", more))
        .file(
            "events/Cargo.toml",
            &manifest("my_events", "dependencies", ""),
        )
        .file("events/src/lib.rs", EVENTS)
        // No limit of the user's ends an orchestration.
        .file(
            ".config/nextest.toml",
            "[profile.default]\nslow-timeout = { period = \"1s\", terminate-after = 1 }\nglobal-timeout = \"3s\"\n\n\
             [[profile.default.overrides]]\nfilter = \"all()\"\n\
             slow-timeout = { period = \"500ms\", terminate-after = 1 }\n",
        )
        .file("tests/timed.rs", &format!("{TIMED}\nuse my_events as _;\n"))
        .file("descriptions/works.json", WORKS)
        .file("descriptions/panics.toml", PANICS)
        .file("descriptions/fails_fast.toml", FAILS_FAST)
        .file("descriptions/hangs.toml", HANGS)
        .file("descriptions/late.toml", LATE)
        .file("descriptions/exits.toml", EXITS)
        .file("descriptions/lasts.toml", LASTS)
        .file("descriptions/spreads.toml", SPREADS)
        .playbook(PLAYBOOK)
}

fn ledger(project: &Project) -> Vec<String> {
    let text = fs::read_to_string(project.private("ledger")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn count(lines: &[String], line: &str) -> usize {
    lines.iter().filter(|one| *one == line).count()
}

/// Several orchestrations share one pool. A plain run starts none of them.
#[test]
fn orchestrations_run_their_events_and_say_how_they_ended() {
    let project = project();
    let run = |arguments: &[&str]| {
        let tool = project
            .tool(arguments)
            .env("LEDGER", project.private("ledger"));
        tool.run()
    };
    project
        .run(&["list"])
        .line_with(&["works[here]", "(ignored)"]);
    run(&[]).code(4);
    assert_eq!(ledger(&project), [""; 0]);
    let listed = project.run(&["list", "--run-orch", "works"]).code(0);
    listed.says("works[here]").never_says("panics[here]");

    let names = [
        "works",
        "panics",
        "fails_fast",
        "hangs",
        "late",
        "exits",
        "spreads",
    ];
    let mut arguments = vec!["--time-scale", "1"];
    arguments.extend(names.iter().flat_map(|name| ["--run-orch", name]));
    let outcome = run(&arguments).code(100);
    let outcome = outcome
        .line_with(&["PASS", "works[here]"])
        .line_with(&["PASS", "spreads[pair]"])
        .line_with(&["FAIL", "panics[here]"])
        .line_with(&["FAIL", "fails_fast[here]"])
        .line_with(&["FAIL", "hangs[here]"])
        .line_with(&["PASS", "late[here]"])
        .line_with(&["FAIL", "exits[here]"])
        .says("orchestration `exits`: the test process exited before the end")
        .says("breaks: panicked: broken on purpose")
        .says("ended by the first error after 1s of 10m")
        .says("reports: a frame is missing")
        .says("events did not end: `never_ends` (for ");
    assert_eq!(outcome.lines_with(&["PASS", "lasts"]), 0);

    let lines = ledger(&project);
    let given = "reported takes: device \"/clips/a b.mp4\" 3 2.5 x true [1, -2] None 640 None";
    assert_eq!(count(&lines, given), 1, "{lines:#?}");
    assert_eq!(count(&lines, "linked"), 3, "{lines:#?}");
    let reported = "reported linked: from another crate";
    let of_linked = (count(&lines, "queued linked"), count(&lines, reported));
    assert_eq!(of_linked, (3, 3), "{lines:#?}");
    assert_eq!(count(&lines, "2 machines"), 1, "{lines:#?}");
    assert_eq!(
        (count(&lines, "plays device"), count(&lines, "played")),
        (3, 3)
    );
    assert_eq!(count(&lines, "collected"), 4, "{lines:#?}");
    // One device for each orchestration. That of the event that never ended is torn down by the broker.
    assert_eq!(
        (count(&lines, "up device"), count(&lines, "down device")),
        (5, 5),
        "{lines:#?}"
    );
    for fixture in ["linked_device", "slow_device"] {
        assert_eq!(count(&lines, &format!("down {fixture}")), 1, "{lines:#?}");
    }

    let again = run(&["repro", "latest", "spreads[pair]"]).code(0);
    again.says(" --time-scale=1 --run-ignored=all -E 'binary_id(=");

    let playbook = project.path("target-test.toml");
    let events = feed::events(&playbook);
    let works = feed::results(&events, "works");
    for line in [
        "takes/pass",
        "takes/info/pass",
        "plays/pass",
        "plays/skipped/skip",
        "collects/pass",
    ] {
        assert_eq!(count(&works, line), 1, "{works:?}");
    }
    for line in ["linked/pass", "linked/info/pass"] {
        assert_eq!(count(&works, line), 3, "{works:?}");
    }
    assert_eq!(count(&feed::results(&events, "panics"), "breaks/fail"), 1);
    assert_eq!(
        count(&feed::results(&events, "fails_fast"), "reports/error/fail"),
        1
    );
    let records = feed::of_kind(&events, "record");
    assert_eq!(records.len(), 1, "{records:?}");
    let report = fs::read_to_string(feed::folder(&playbook).join("report.html"));
    assert!(report.expect("a report").contains("never_ends"));
    let history = |part: &str| {
        let shown = run(&["history", part, "--json"]).code(0).stdout;
        serde_json::from_str::<Value>(&shown).expect("JSON")
    };
    let works = &history("works[here]")[0];
    let count = serde_json::json!({ "name": "count", "value": 3.0 });
    assert_eq!(works["metrics"][0], count, "{works:#}");
    let breaks = &history("panics[here]/breaks")[0];
    assert_eq!(breaks["verdict"], "fail", "{breaks:#}");
    assert!(
        breaks["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("broken on purpose")),
        "{breaks:#}"
    );
}

/// nextest's limits of the user's are for ordinary tests, and `--timeout` is for the set-up of an orchestration.
#[test]
fn limits_of_time_end_what_they_are_for() {
    let project = project();
    let filter = "test(works) | test(late) | test(has_no_end)";
    let arguments = [
        "--run-ignored",
        "all",
        "--timeout",
        "2s",
        "--filterset",
        filter,
    ];
    let run = project.tool(arguments);
    run.env("LEDGER", project.private("ledger"))
        .run()
        .code(100)
        .says("warning: `global-timeout` of nextest does not apply to this run")
        .line_with(&["PASS", "works[here]"])
        .line_with(&["TIMEOUT", "has_no_end[here]"])
        .line_with(&["FAIL", "late[here]"])
        .says("timed out after 2s")
        .says("the time limit of 2s passed during the set-up of fixture `timed::slow_device`");
    assert_eq!(count(&ledger(&project), "collected"), 1);
}

/// Ctrl-C ends an orchestration in order; a kill leaves its fixtures to the broker.
#[test]
fn interrupted_and_killed_orchestrations_are_torn_down() {
    let patient = HANGS.replace("grace = \"300ms\"", "grace = \"1m\"");
    let project = project().file("descriptions/hangs.toml", &patient);
    let start = |name: &str, line: &str| {
        let _ = fs::remove_file(project.private("ledger"));
        let tool = project
            .tool(["--run-orch", name])
            .env("LEDGER", project.private("ledger"));
        let started = tool.start();
        eventually(line, || count(&ledger(&project), line) == 1);
        started
    };
    let ended_with = |message: &str| {
        let events = feed::events(&project.path("target-test.toml"));
        let ended = feed::of_kind(&events, "attempt-ended");
        let found = ended.last().expect("an attempt")["result"]["message"].to_string();
        assert!(found.contains(message), "{ended:?}");
    };
    let interrupted = |started: Started, message: &str| {
        started.signal_group(Signal::INT);
        started.wait().code(130);
        ended_with(message);
    };
    let started = start("late", "sets up slow_device");
    interrupted(
        started,
        "interrupted during the set-up of fixture `timed::slow_device`",
    );
    assert_eq!(
        ledger(&project),
        ["up device", "sets up slow_device", "down device"]
    );
    // nextest kills the test at a second Ctrl-C.
    let mut started = start("hangs", "up device");
    started.signal_group(Signal::INT);
    started.wait_for("Cancel");
    started.signal_group(Signal::INT);
    started.wait().code(130);
    ended_with("interrupted: killed before it ended");
    assert_eq!(ledger(&project), ["up device", "down device"]);
    interrupted(start("lasts", "plays device"), "interrupted after ");
    let up = ["up device", "up player", "plays device"];
    let down = ["down player", "down device"];
    let all = [&up[..], &["played", "collected"], &down].concat();
    assert_eq!(ledger(&project), all);

    let started = start("lasts", "plays device");
    // Another run on the same pool is not disturbed.
    let other = project
        .tool(["--run-orch", "spreads"])
        .env("LEDGER", project.private("other"));
    other.run().code(0).line_with(&["PASS", "spreads[pair]"]);
    let test = test_process(&project, "lasts");
    kill_process(test, Signal::KILL).expect("the test is killed");
    started.wait().code(100).says("SIGKILL");
    assert_eq!(ledger(&project), [&up[..], &down].concat());
    project.run(&["targets"]).code(0).says("no targets");

    let project = project.file(
        "descriptions/lasts.toml",
        &LASTS.replace("total_hours = 3", "duration = \"100ms\""),
    );
    let _ = fs::remove_file(project.private("ledger"));
    let plain = project.cargo([
        "test",
        "--test",
        "timed",
        "--",
        "--ignored",
        "--exact",
        "lasts",
    ]);
    let plain = plain
        .env("LEDGER", project.private("ledger"))
        .env("TARGET_TEST_TARGET", "here");
    plain.run().code(0);
    assert_eq!(ledger(&project), all);
    project.file("descriptions/lasts.toml", LASTS);
}

/// The description of the seed: 3 hours with a run every 300 s are 36 runs, at 600 times the speed.
#[test]
fn the_example_plays_for_three_hours() {
    let project = examples();
    let playbook = repository().join("examples/playback/target-test.toml");
    let playbook = playbook.to_str().expect("a path");
    let arguments = [
        "-p",
        "playback",
        "--playbook",
        playbook,
        "--time-scale",
        "600",
    ];
    let run = project
        .tool(arguments)
        .args(["--test-orch", "my_orchestration_test"]);
    run.run()
        .code(0)
        .line_with(&["PASS", "my_orchestration_test[screen]"])
        .line_with(&[
            "my_orchestration_test: ",
            " of 3h, next: start_playback in ",
        ]);
    let events = feed::events(Path::new(playbook));
    let results = feed::results(&events, "my_orchestration_test");
    let played = count(&results, "start_playback/pass");
    // A busy host may be too slow for some.
    let text = serde_json::to_string(&events).expect("JSON");
    let skipped = (1..=36).find(|number| text.contains(&format!("{number} of 36 runs skipped")));
    assert_eq!(played + skipped.unwrap_or(0), 36, "{results:?}");
    for line in [
        "start_streamer/pass",
        "start_streamer/info/pass",
        "collect_system_report/pass",
    ] {
        assert_eq!(count(&results, line), 1, "{results:?}");
    }
    assert_eq!(feed::of_kind(&events, "record").len(), 2 * played);
    let fixtures = feed::of_kind(&events, "fixture");
    let torn_down = fixtures.iter().filter(|event| event["torn-down"] == true);
    assert_eq!((fixtures.len(), torn_down.count()), (4, 2), "{fixtures:?}");
    project.run(&["--delete-targets"]).code(0);

    let Some(mut browser) = here(Browser::start()) else {
        return;
    };
    let report = feed::folder(Path::new(playbook)).join("report.html");
    browser.open(
        &report,
        "document.documentElement?.dataset.ready === 'true'",
    );
    let lanes = browser.text("timeline.events.map(({ element }) => element.textContent).join()");
    for lane in [
        format!("start_playback{played}×"),
        "start_streamer1×".to_owned(),
        "collect_system_report1×".to_owned(),
    ] {
        assert!(lanes.contains(&lane), "{lanes}");
    }
    let drawn = browser.value("document.querySelectorAll('.lane.event path.pass').length");
    assert_eq!(drawn, 3);
}

/// The process of the project's test with this name.
fn test_process(project: &Project, name: &str) -> Pid {
    let ledger = format!("LEDGER={}", project.private("ledger").display());
    let found = running(|one| {
        let words = one.words();
        words[0].contains("/timed") && words.contains(&name.to_owned()) && one.has_variable(&ledger)
    });
    *found.first().expect("a process of the test")
}

/// Wrong descriptions are errors at their places, before anything is deployed.
#[test]
fn wrong_descriptions_are_refused_before_a_deploy() {
    let sources = format!("{PLAYBOOK}orchestration_sources = \"tests/events.py, more.py\"\n");
    let project = project().playbook(&sources).file(
        "descriptions/spreads.toml",
        &SPREADS.replace(
            "\"meets\"",
            "\"meets\", interval = \"1s\", at_startup = false",
        ),
    );
    project
        .run(&["--load-orch"])
        .code(0)
        .says("`orchestration_sources` is ignored: events are compiled into the tests")
        .says("event `meets` of orchestration `spreads` never runs: its interval is 1s, and the duration 200ms")
        .says("8 orchestrations are valid");
    project
        .run(&["--run-orch", "wroks[here]"])
        .code(2)
        .says("unknown orchestration `wroks[here]`")
        .says("did you mean `works`?");
    let wrong = WORKS
        .replace("\"count\": 3", "\"count\": \"three\"")
        .replace("\"rate\": 2.5, ", "");
    let project = project.file("descriptions/works.json", &wrong);
    for arguments in [&["--load-orch"][..], &["--run-orch", "works"]] {
        project
            .run(arguments)
            .code(78)
            .says("`count` of event `takes`: invalid type: string \"three\", expected u32")
            .says("descriptions/works.json:7:")
            .says("`rate` of event `takes`: missing")
            .never_says("Starting");
    }
    let project = project.file(
        "descriptions/works.json",
        &WORKS.replace("\"works\"", "\"other\""),
    );
    project
        .run(&["--load-orch"])
        .code(78)
        .says("`test_name` is `other`, but the file is named `works.json`");
    // All problems at once.
    let project = project
        .file("descriptions/works.json", &WORKS.replace("plays", "playes"))
        .file(
            "descriptions/other.toml",
            &PANICS.replace("\"panics\"", "\"other\""),
        )
        .file(
            "descriptions/fails_fast.toml",
            &FAILS_FAST.replace("plays", "again"),
        )
        .file("descriptions/more.yaml", "");
    fs::remove_file(project.path("descriptions/spreads.toml")).expect("removed");
    let message = "description `other` has no test: add `orchestration!(\"other\");` to one";
    let missing = "orchestration `spreads` has no description: add `spreads.json`";
    project
        .run(&["--load-orch"])
        .code(78)
        .says(&format!("error: {message}"))
        .says(&format!("error: {missing}"))
        .says("error: unknown event `playes`")
        .says("did you mean `plays`?")
        .says("several events are named `again`: events/src/lib.rs:28, events/src/lib.rs:34")
        .says("descriptions/fails_fast.toml:5:")
        .says("/more.yaml` is ignored: a description is a file `NAME.json` or `NAME.toml`");
    // Perhaps a binary that is not built has the test.
    project
        .run(&["--load-orch", "--test", "timed"])
        .code(78)
        .says(missing)
        .never_says(message);
    // The others still run.
    let project = project.file("descriptions/works.json", WORKS);
    let run = project
        .tool(["--run-orch", "panics"])
        .env("LEDGER", project.private("ledger"));
    let warned = run.run().code(100).says(&format!("warning: {message}"));
    warned.says(&format!("warning: {missing}"));
    for added in ["other.toml", "more.yaml"] {
        fs::remove_file(project.path(&format!("descriptions/{added}"))).expect("removed");
    }
    let project = project.playbook(PLAYBOOK.split("[orchestration]").next().expect("targets"));
    let missing = project.run(&["--load-orch"]).code(78);
    let advice = [
        "orchestrations need the folder of their descriptions",
        "to the playbook",
    ];
    assert_eq!(missing.lines_with(&advice), 1);
    let twice = PLAYBOOK.replace(
        "\"descriptions\"",
        "[\"descriptions\", \"./descriptions/\"]",
    );
    project
        .playbook(&twice)
        .run(&["--load-orch"])
        .code(78)
        .says("descriptions/` is named twice")
        .says("target-test.toml:13:16");
}
