//! Reports of a run: JUnit, the feed, the output of attempts; and the exit codes that need nextest's own report.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use quick_junit::{Report, TestCase, TestCaseStatus};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{verdicts::alive, world::World};
use crate::support::{SmallDisk, eventually, feed::of_kind, here, repository};

const GOOD: &str = "[[targets]]\nname = \"good\"\nplatform = \"command\"\n";
const BAD: &str = "[[targets]]\nname = \"bad\"\nplatform = \"command\"\n";

fn read(file: &Path) -> Report {
    let text = fs::read_to_string(file).expect("a report");
    Report::deserialize_from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The case of this name in the report, and the name of its suite.
#[track_caller]
fn case<'r>(report: &'r Report, name: &str) -> (&'r str, &'r TestCase) {
    let suites = report.test_suites.iter();
    let mut cases = suites.flat_map(|suite| suite.test_cases.iter().map(move |case| (suite, case)));
    let found = cases.find(|(_, case)| case.name.as_str() == name);
    let (suite, case) = found.unwrap_or_else(|| panic!("no `{name}`: {report:?}"));
    (suite.name.as_str(), case)
}

fn property(case: &TestCase, name: &str) -> Option<String> {
    let mut properties = case.properties.iter();
    let found = properties.find(|property| property.name.as_str() == name)?;
    Some(found.value.as_str().to_owned())
}

/// A disk that fills during the run costs the reports, and neither verdicts nor the exit code.
#[test]
fn a_disk_that_fills_costs_the_reports_alone() {
    let world = World::on_machines(GOOD);
    let target = world.path("target");
    let runs = target.join("target-test");
    fs::create_dir_all(&runs).expect("a folder");
    let builds = Path::new(env!("CARGO_TARGET_TMPDIR")).join("builds");
    fs::create_dir_all(builds.join("debug")).expect("a folder");
    symlink(builds.join("debug"), target.join("debug")).expect("a link");
    let Some(_disk) = SmallDisk::mount(&runs, "400k") else {
        return;
    };
    let fills = format!(
        "cat /dev/zero >'{}/filler' 2>machines/full\n\
         echo '{{\"host\": \"localhost\", \"transport\": \"local\"}}'\n",
        runs.display()
    );
    world.program("up", &fills);
    let run = |names: &[&str]| {
        let tool = world.tool(names).env("CARGO_TARGET_DIR", &target);
        tool.run().says("warning: the feed is incomplete")
    };
    let passed = run(&["passes[good]", "prints[good]"]).code(0);
    passed.says("2 cases: 2 passed, 0 skipped, 0 failed as expected, 0 failed, 0 infra");
    let failed = run(&["passes[good]", "fails[good]"]).code(100);
    failed.says("2 cases: 1 passed, 0 skipped, 0 failed as expected, 1 failed, 0 infra");
    assert!(
        world
            .path("machines/full")
            .metadata()
            .is_ok_and(|said| said.len() > 0)
    );
}

/// Infra is an error, a skip is skipped with its reason, a failure is a failure; lease wait and test time stand apart.
#[test]
fn each_verdict_has_its_element() {
    let world = World::on_machines(&format!("{GOOD}{BAD}"));
    let file = world.path("junit.xml");
    let junit = format!("--junit={}", file.display());
    let names = [
        "passes[",
        "fails[good]",
        "skips[good]",
        "flaky[good]",
        "prints[good]",
    ];
    world.run(&[&names[..], &[&junit]].concat()).code(100);
    let report = read(&file);
    assert_eq!((report.failures, report.errors, report.skipped), (1, 2, 1));
    let (suite, deploy) = case(&report, "deploy[bad-0]");
    assert_eq!(suite, "@target-test");
    let (_, infra) = case(&report, "verdict::passes[bad]");
    for case in [deploy, infra] {
        let TestCaseStatus::NonSuccess { ty, message, .. } = &case.status else {
            panic!("{case:?}");
        };
        assert_eq!(ty.as_ref().map(|ty| ty.as_str()), Some("infra"));
        let message = message
            .as_ref()
            .map(|text| text.as_str())
            .unwrap_or_default();
        assert!(message.contains("bad-0 could not be deployed"), "{message}");
    }
    let (_, skipped) = case(&report, "verdict::skips[good]");
    let TestCaseStatus::Skipped { message, .. } = &skipped.status else {
        panic!("{skipped:?}");
    };
    assert_eq!(
        message.as_ref().map(|text| text.as_str()),
        Some("no such device")
    );
    let (_, flaky) = case(&report, "verdict::flaky[good]");
    let TestCaseStatus::Success { flaky_runs } = &flaky.status else {
        panic!("{flaky:?}");
    };
    assert_eq!(flaky_runs.len(), 2);
    let (_, passed) = case(&report, "verdict::passes[good]");
    for name in ["lease-wait", "test-time"] {
        let seconds = property(passed, name).and_then(|text| text.parse::<f64>().ok());
        assert!(seconds.is_some_and(|seconds| seconds >= 0.0), "{passed:?}");
    }
    assert_eq!(property(passed, "instances").as_deref(), Some("good-0"));
    let (_, printed) = case(&report, "verdict::prints[good]");
    let output = printed
        .system_out
        .as_ref()
        .map(|text| text.as_str().to_owned());
    assert!(
        output.is_some_and(|text| text.contains(&"x".repeat(2000))),
        "{printed:?}"
    );
}

/// A program of `tests/support/reports.py`, in the environment that `.ci/setup --tests` makes.
fn read_by_others(format: &str, schema: &Path, file: &Path) -> Option<String> {
    let python = repository().join("target/ci/reports/bin/python");
    let found = match python.exists() {
        true => Ok(Command::new(&python)),
        false => Err(format!(
            "{} not found: `.ci/setup --tests` makes it",
            python.display()
        )),
    };
    let mut python = here(found)?;
    python.arg(repository().join("tests/support/reports.py"));
    let output = python.arg(format).arg(schema).arg(file).output();
    let output = output.expect("python");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Other programs read the reports; the feed is on standard output, as it is in the run's folder; notices are sent.
#[test]
fn other_programs_read_the_reports() {
    let notify = "[notify]\non = [\"failure\", \"end\"]\ncommand = \"cat >> notices\"\n";
    let world = World::on_machines(&format!("{GOOD}{BAD}{notify}"));
    let names = [
        "passes[",
        "fails[good]",
        "skips[good]",
        "flaky[good]",
        "prints[good]",
        "has_subtests[good]",
        "--feed=-",
    ];
    let summary = world.path("summary.md");
    let tool = world.tool(&names).env("GITHUB_ACTIONS", "true");
    let run = tool.env("GITHUB_STEP_SUMMARY", &summary).run().code(100);
    let feed = run.stdout.clone();
    run.line_with(&[
        "::error file=tests/cases.rs,line=",
        "title=verdict%3A%3Afails[good]::",
    ])
    .line_with(&["::warning title=verdict%3A%3Apasses[bad]::bad-0 could not be deployed"]);
    let summary = fs::read_to_string(summary).expect("a summary");
    assert!(summary.contains("| `good` | "), "{summary}");
    let folder = world.folder();
    let written = fs::read_to_string(folder.join("feed.jsonl")).expect("the feed");
    assert_eq!(feed, written);

    let notices = world.read("notices");
    let notices: Vec<Value> = notices
        .lines()
        .map(|line| serde_json::from_str(line).expect("a notice"))
        .collect();
    let last = notices.last().expect("notices");
    assert_eq!(
        (&last["on"], &last["cases"]["infra"]),
        (&json!("end"), &json!(1))
    );
    let failed = notices.iter().filter(|one| one["on"] == "failure");
    let names = failed.map(|one| one["event"]["attempt"]["case"]["name"].as_str());
    let names: Vec<_> = names.flatten().collect();
    for name in ["verdict::fails[good]", "verdict::passes[bad]"] {
        assert!(names.contains(&name), "{names:?}");
    }

    let report = read(&folder.join("junit.xml"));
    let (_, fails) = case(&report, "verdict::fails[good]");
    let output = fails.system_err.as_ref().map(|text| text.as_str());
    assert!(
        output.is_some_and(|text| text.contains("panicked")),
        "{fails:?}"
    );
    let schema = repository().join("tests/junit.xsd");
    let Some(counts) = read_by_others("junit", &schema, &folder.join("junit.xml")) else {
        return;
    };
    let expected = [report.tests, report.failures, report.errors, report.skipped];
    assert_eq!(counts, expected.map(|count| count.to_string()).join(" "));
    let schema = world.run(&["schema", "--feed"]).code(0).stdout;
    let schema = world.file("feed.schema.json", &schema);
    let lines = read_by_others("feed", &schema, &folder.join("feed.jsonl"));
    assert_eq!(lines, Some(feed.lines().count().to_string()));
    // The oldest feed is one of this version, too.
    let oldest = repository().join("cargo-target-test/src/run_event/version-1.jsonl");
    read_by_others("feed", &schema, &oldest);
}

/// `report` makes the files of a run again, byte by byte, also after later runs.
#[test]
fn reports_are_made_again_as_they_were() {
    let world = World::on_machines(&format!("{GOOD}{BAD}"));
    let names = [
        "passes[",
        "fails[good]",
        "skips[good]",
        "flaky[good]",
        "prints[good]",
        "fails_once[good]",
        "fails_as_known[good]",
        "parts::has_subtests[good]",
        "results::reports[good]",
    ];
    let files = ["report.html", "junit.xml"];
    let read_all = |folder: &Path| files.map(|file| fs::read(folder.join(file)).expect("a report"));
    let runs: Vec<_> = (0..2)
        .map(|_| {
            world.run(&names).code(100);
            let folder = world.folder();
            let written = read_all(&folder);
            (folder, written)
        })
        .collect();
    for (folder, written) in runs {
        for file in files {
            fs::remove_file(folder.join(file)).expect("a report");
        }
        world
            .run(&["report", &folder.display().to_string()])
            .code(0);
        for ((file, made), written) in files.iter().zip(read_all(&folder)).zip(&written) {
            let at = made
                .iter()
                .zip(written)
                .position(|(one, other)| one != other);
            assert!(
                made == *written,
                "{}/{file} from byte {at:?}",
                folder.display()
            );
        }
    }
}

/// Iterations of a stress run are joined each with its own.
#[test]
fn iterations_are_told_apart() {
    let world = World::new();
    let file = world.path("junit.xml");
    let junit = format!("--junit={}", file.display());
    world
        .run(&["passes[east]", "--stress-count", "2", &junit])
        .code(0);
    let report = read(&file);
    for index in 0..2 {
        let name = format!("run-world::cases@stress-{index}");
        let suite = report
            .test_suites
            .iter()
            .find(|suite| suite.name.as_str() == name);
        let suite = suite.unwrap_or_else(|| panic!("no `{name}`: {report:?}"));
        assert!(
            property(&suite.test_cases[0], "test-time").is_some(),
            "{suite:?}"
        );
    }
}

/// nextest's own settings decide the verdicts, also beside an infra case. The exit code, the page, the history, JUnit and
/// `--rerun-cases` agree.
#[test]
fn only_what_is_all_infra_exits_with_69() {
    let on_timeout = "[[profile.default.overrides]]\nfilter = 'test(around::waits)'\n\
                      slow-timeout = { period = '3s', terminate-after = 1, on-timeout = 'pass' }\n";
    let flaky = "[profile.default]\nflaky-result = 'fail'\n";
    let leaks = "[profile.default]\nleak-timeout = { period = '200ms', result = 'fail' }\n";
    let setup = "experimental = ['setup-scripts']\n[scripts.setup.broken]\ncommand = 'false'\n\
                 [[profile.default.scripts]]\nfilter = 'all()'\nsetup = 'broken'\n";
    let unstarted = "experimental = ['wrapper-scripts']\n[scripts.wrapper.gone]\ncommand = '/nothing/there'\n\
                     target-runner = 'within-wrapper'\n[[profile.default.scripts]]\n\
                     filter = 'test(/passes.good/)'\nrun-wrapper = 'gone'\n";
    for (config, name, verdict, alone, beside) in [
        (on_timeout, "around::waits[good]", "pass", 0, 69),
        (flaky, "verdict::flaky[good]", "fail", 100, 100),
        (leaks, "leaks", "fail", 100, 100),
        (setup, "verdict::passes[good]", "not-run", 105, 105),
        (unstarted, "verdict::passes[good]", "fail", 100, 100),
    ] {
        for (names, code) in [(&[name][..], alone), (&[name, "passes[bad]"], beside)] {
            let world = World::on_machines(&format!("{GOOD}{BAD}")).nextest(config);
            let mut args = names.to_vec();
            if name == "leaks" {
                args.extend(["--run-ignored", "all"]);
            }
            world.run(&args).code(code);
            // Verbs have no such option.
            fs::remove_file(world.path("nextest.toml")).expect("a file");
            for pid in world.read("pids").lines() {
                let pid = pid.parse().ok().and_then(Pid::from_raw);
                pid.map(|pid| kill_process(pid, Signal::KILL));
            }
            assert_eq!(
                verdicts_of(&world, name),
                [verdict; 3],
                "{name} of {names:?}"
            );
            if names.len() > 1 && verdict != "not-run" {
                let infra = verdicts_of(&world, "verdict::passes[bad]");
                assert_eq!(infra, ["infra"; 3], "beside {name}");
            }
            let again = world.run(&["list", "--rerun-cases=failed", "--json"]);
            let fails = verdict == "fail";
            assert_eq!(again.stdout.contains(name), fails, "{name}: {again:?}");
            again.code(if fails { 0 } else { 4 });
        }
    }
}

/// The verdicts of a case in the page, the history and the JUnit report of the newest run.
fn verdicts_of(world: &World, name: &str) -> [String; 3] {
    let page = page(world);
    let cases = page["cases"].as_array().expect("cases").iter();
    let mut row = cases.filter(|case| shown_name(&page, case) == name);
    let row = row.next().unwrap_or_else(|| panic!("no `{name}`: {page}"));
    let history = world.run(&["history", name, "--json"]).code(0);
    let history: Value = serde_json::from_str(&history.stdout).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a verdict").to_owned();
    let report = read(&world.folder().join("junit.xml"));
    let suites = report.test_suites.iter();
    let mut cases = suites.flat_map(|suite| &suite.test_cases);
    let junit = match cases.find(|case| case.name.as_str() == name) {
        None if !not_run(&report, name).is_empty() => "not-run",
        None => "missing",
        Some(case) => match &case.status {
            TestCaseStatus::Success { .. } => "pass",
            TestCaseStatus::Skipped { .. } => "skip",
            TestCaseStatus::NonSuccess { ty, .. } => match ty.as_ref().map(|ty| ty.as_str()) {
                Some("infra") => "infra",
                _ => "fail",
            },
        },
    };
    [
        text(&row["verdict"]),
        text(&history[0]["verdict"]),
        junit.to_owned(),
    ]
}

/// The data of the newest run's page.
fn page(world: &World) -> Value {
    let page = fs::read_to_string(world.folder().join("report.html")).expect("a page");
    let (_, rest) = page.split_once("id=\"data\">").expect("the data");
    let (text, _) = rest.split_once("</script>").expect("its end");
    serde_json::from_str(text).expect("JSON")
}

/// The name of a case of a page.
fn shown_name(page: &Value, case: &Value) -> String {
    let at = |key: &str| usize::try_from(case[key].as_u64().expect("an index")).expect("small");
    let test = page["tests"][at("test")]["name"].as_str().expect("a name");
    let place = &page["places"][at("place")];
    match place["kind"] == "target" {
        true => format!("{test}[{}]", place["label"].as_str().expect("a label")),
        false => test.to_owned(),
    }
}

/// The properties of suites that say that a case has not run.
fn not_run<'r>(report: &'r Report, name: &str) -> Vec<&'r str> {
    let suites = report.test_suites.iter();
    let properties = suites.flat_map(|suite| &suite.properties);
    let properties = properties.filter(|one| one.name.as_str() == "not-run");
    let texts = properties.map(|one| one.value.as_str());
    texts
        .filter(|text| {
            text.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(": "))
        })
        .collect()
}

/// Cases that fail-fast keeps from running are named in each report, with the reason; they are nothing that a comparison
/// of runs calls fixed.
#[test]
fn cases_that_never_ran_are_named() {
    let world = World::on_machines(GOOD);
    let names = [
        "verdict::fails[good]",
        "verdict::flaky[good]",
        "verdict::passes[good]",
    ];
    let args = [&names[..], &["--retries=0", "-j1"]].concat();
    world
        .run(&[&args[..], &["--no-fail-fast"]].concat())
        .code(100);
    world
        .run(&[&args[..], &["--max-fail=1"]].concat())
        .code(100);
    let page = page(&world);
    let cases = page["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), names.len(), "{page}");
    let missing: Vec<_> = cases
        .iter()
        .filter(|case| case["verdict"] == "not-run")
        .collect();
    assert!(!missing.is_empty(), "{page}");
    assert_eq!(page["counts"]["not-run"], missing.len(), "{page}");
    for case in missing {
        let name = shown_name(&page, case);
        let reason = case["reason"].as_str().expect("a reason");
        assert!(reason.contains("fail-fast"), "{reason}");
        assert_eq!(verdicts_of(&world, &name), ["not-run"; 3]);
    }
    let history = world.run(&["history", "passes[good]"]).code(0);
    history.line_with(&["not run", "(fail-fast)"]);
    let changes = page["changes"].clone();
    assert_eq!(
        (&changes["fixed"], &changes["failing"]),
        (&json!([]), &json!([])),
        "{changes}"
    );
    let runs = world.run(&["history", "passes[good]", "--json"]).code(0);
    let runs: Value = serde_json::from_str(&runs.stdout).expect("JSON");
    let run = |index: usize| runs[index]["run"].as_str().expect("an id").to_owned();
    let (old, new) = (run(1), run(0));
    for [before, after] in [[&old, &new], [&new, &old]] {
        let compared = world.run(&["report", "--compare", before, after, "--json"]);
        let compared: Value = serde_json::from_str(&compared.code(0).stdout).expect("JSON");
        for list in ["newly-failing", "fixed"] {
            assert_eq!(compared[list], json!([]), "{compared}");
        }
    }
}

/// Subtests have results of their own in the report and in the feed; the summary counts their case.
#[test]
fn subtests_are_entries_of_their_own() {
    let world = World::new();
    let file = world.path("junit.xml");
    let junit = format!("--junit={}", file.display());
    let run = world.run(&["parts::", "--on=east", &junit]).code(100);
    let run = run.says("2 of 6 subtests failed");
    let run = run.says("3 cases: 1 passed, 0 skipped, 1 failed as expected, 1 failed");
    assert!(
        run.lines_with(&["subtest outer/panics ... FAILED: by itself"]) >= 1,
        "{run:?}"
    );
    assert_eq!(world.read("parts"), "ended\n");
    let report = read(&file);
    let part = |path: &str| case(&report, &format!("parts::has_subtests[east]/{path}")).1;
    for (path, expected) in [
        ("passes", None),
        ("fails", Some("no such link")),
        ("skips", Some("no link")),
        ("outer/panics", Some("by itself")),
        ("outer/adds", None),
        ("outer/finds", Some("slow")),
        ("outer", Some("1 of 3 subtests failed")),
    ] {
        let (found, is_failure) = match &part(path).status {
            TestCaseStatus::Success { .. } => (None, false),
            TestCaseStatus::Skipped { message, .. } => (message.as_ref(), false),
            TestCaseStatus::NonSuccess { message, .. } => (message.as_ref(), true),
        };
        let found = found.map(|text| text.as_str());
        let fits = expected.map_or(found.is_none(), |expected| {
            found.is_some_and(|found| found.contains(expected))
        });
        assert!(fits, "{path}: {found:?}");
        assert_eq!(
            is_failure,
            ["fails", "outer/panics", "outer"].contains(&path),
            "{path}"
        );
    }
    // Of the last attempt only.
    let (_, passed) = case(&report, "parts::has_ktap[east]/first attempt");
    assert!(
        matches!(passed.status, TestCaseStatus::Success { .. }),
        "{passed:?}"
    );
    case(&report, "parts::has_ktap[east]/list/adds");
    let events = world.events();
    let results = of_kind(&events, "sub-result");
    let failed = results
        .iter()
        .find(|event| event["result"]["path"] == json!(["outer", "panics"]));
    assert_eq!(
        failed.expect("a result")["result"]["verdict"],
        "fail",
        "{events:?}"
    );
}

/// Of very many sub-results, reports leave out some that passed, and say how many.
#[test]
fn a_report_of_thousands_of_results_is_bounded() {
    let world = World::new();
    let run = world.run(&["has_thousands[east]"]).code(100);
    run.says("1 of 10003 subtests failed");
    let report = read(&world.folder().join("junit.xml"));
    let name = "thousands::has_thousands[east]";
    let more = property(case(&report, name).1, "more-sub-results");
    assert_eq!(more.as_deref(), Some("3"));
    case(&report, &format!("{name}/n0"));
    case(&report, &format!("{name}/last"));
    let page = fs::read_to_string(world.folder().join("report.html")).expect("a page");
    assert!(page.contains("\"moreSubtests\":3"));
}

/// A run that is killed leaves what it knew: a report that says that it is incomplete, and the feed.
#[test]
fn a_killed_run_has_a_report() {
    let world = World::on_machines(GOOD);
    let file = world.path("junit.xml");
    let junit = format!("--junit={}", file.display());
    let run = world
        .tool(&["around::waits", "verdict::passes", &junit])
        .start();
    eventually("the case's start", || !world.read("waiting").is_empty());
    eventually("the report", || {
        let begun = "<testcase name=\"around::waits[good]\"";
        fs::read_to_string(&file).is_ok_and(|text| text.contains(begun))
    });
    eventually("the feed", || {
        !of_kind(&world.events(), "attempt-started").is_empty()
    });
    run.signal(Signal::KILL);
    for pid in world.read("pids").lines() {
        eventually("the end of the test", || !alive(pid));
    }
    drop(run);
    let report = read(&file);
    let name = report.name.as_ref().map(|name| name.as_str().to_owned());
    assert!(
        name.is_some_and(|name| name.contains("incomplete")),
        "{report:?}"
    );
    let (_, waits) = case(&report, "around::waits[good]");
    assert!(
        matches!(waits.status, TestCaseStatus::NonSuccess { .. }),
        "{waits:?}"
    );
    let killed = ["verdict::passes[good]: the run was killed"];
    assert_eq!(not_run(&report, "verdict::passes[good]"), killed);
    let events = world.events();
    assert!(
        !of_kind(&events, "attempt-started").is_empty(),
        "{events:?}"
    );
    let history = world.run(&["history", "verdict::passes"]).code(0);
    history.line_with(&["verdict::passes[good]", "not run", "the run was killed"]);
    world.run(&["--delete-targets"]).code(0);
}

/// The output of a case is in a separate file, and events are in the feed, in order.
#[test]
fn a_runs_folder_has_output_and_feed() {
    let world = World::new();
    world.run(&["prints[east]"]).code(0);
    let events = world.events();
    let kinds: Vec<_> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap_or(""))
        .collect();
    assert!(
        kinds.starts_with(&["run-started"]) && kinds.ends_with(&["run-ended"]),
        "{kinds:?}"
    );
    let started = &events[0];
    for key in ["repository", "rustc", "host", "playbook-hash"] {
        let known = started[key].as_str().is_some_and(|text| !text.is_empty());
        assert!(known, "{key}: {started}");
    }
    let [target] = &started["targets"].as_array().expect("targets")[..] else {
        panic!("{started}");
    };
    assert_eq!(
        (&target["name"], &target["count"]),
        (&json!("east"), &json!(2))
    );
    let [binary] = &started["binaries"].as_array().expect("binaries")[..] else {
        panic!("{started}");
    };
    assert_eq!(binary["id"], "run-world::cases");
    assert_eq!(binary["package"], "run-world");
    assert!(binary["digest"].is_string(), "{binary}");
    let mut expected = [
        "lease-waiting",
        "lease-granted",
        "attempt-started",
        "attempt-ended",
        "lease-ended",
    ]
    .iter();
    let mut next = expected.next();
    for kind in &kinds {
        if Some(kind) == next {
            next = expected.next();
        }
    }
    assert_eq!(next, None, "{kinds:?}");
    let ended = of_kind(&events, "attempt-ended")[0];
    let stdout = &ended["result"]["stdout"];
    let path = stdout["path"].as_str().expect("a file");
    let bytes = fs::read(path).expect("the output");
    assert_eq!(stdout["length"], bytes.len());
    assert!(
        bytes.ends_with(
            stdout["tail"]
                .as_str()
                .expect("a tail")
                .lines()
                .next_back()
                .expect("a line")
                .as_bytes()
        ) || bytes
            .windows(2000)
            .any(|window| window.iter().all(|byte| *byte == b'x'))
    );
    let log = ended["result"]["log"].as_str().expect("a log");
    assert_eq!(fs::read(log).expect("the log"), bytes);
    let folder = world.folder();
    assert!(Path::new(path).starts_with(&folder));
    let latest = fs::read_link(folder.with_file_name("latest")).expect("a link");
    // Of this run, or of a later one of another test, which may have no file yet.
    assert!(folder.with_file_name(latest).is_dir());
    let report = read(&folder.join("junit.xml"));
    let (_, printed) = case(&report, "verdict::prints[east]");
    assert_eq!(property(printed, "platform").as_deref(), Some("local"));
    assert_eq!(property(printed, "target").as_deref(), Some("east"));
    assert_eq!(property(printed, "attempt").as_deref(), Some("1"));
    let facts = printed.properties.iter().map(|one| one.name.as_str());
    assert!(
        facts.filter(|name| name.starts_with("fact.")).count() > 1,
        "{printed:?}"
    );
    assert_eq!(ended["attempt"]["case"]["test"], "verdict::prints");
    assert_eq!(ended["result"]["verdict"], "pass");
    let ready = of_kind(&events, "deploy-ended")[0];
    let target = json!({ "name": "east", "label": "east", "platform": "local" });
    assert_eq!(
        (&ready["target"], &ready["reused"]),
        (&target, &json!(false))
    );
    let reach = ready["reach"].as_str().unwrap_or_default();
    assert!(reach.starts_with("cd /"), "{ready}");
}

/// Each delete of an instance is told: of one that is replaced, and of those that are left at the end.
#[test]
fn deletes_are_in_the_feed() {
    let spends = "[[overrides]]\nname = \"/./\"\nreuse = false\n";
    let world = World::on_machines(&format!("{GOOD}{spends}"));
    world.run(&["passes", "quick"]).code(0);
    let events = world.events();
    let deleted = of_kind(&events, "deleted");
    let deletes = world.read("ledger").matches("delete good-0").count();
    assert_eq!((deleted.len(), deletes), (2, 2), "{events:?}");
    for event in deleted {
        let (instance, error) = (event["instance"].as_str(), event.get("error"));
        assert_eq!((instance, error), (Some("good-0"), None));
    }
    world.is_clean();

    let world = World::on_machines(GOOD);
    let down = fs::read_to_string(world.path("down")).expect("a script");
    world.program("down", "echo 'still busy' >&2; exit 3\n");
    world.run(&["passes"]).code(69);
    let events = world.events();
    let deleted = of_kind(&events, "deleted");
    assert!(!deleted.is_empty(), "{events:?}");
    for event in deleted {
        let error = event["error"].as_str().unwrap_or_default();
        assert!(error.contains("still busy"), "{events:?}");
    }
    let failed = &of_kind(&events, "cleaned-up")[0]["failed"];
    assert_eq!(failed.as_array().map(Vec::len), Some(1), "{events:?}");
    world.program("down", &down);
    world.run(&["--delete-targets"]).code(0);
    world.is_clean();
}

/// The measurements and the results that a test reports are in the feed, each with its attempt.
#[test]
fn records_and_sub_results_are_in_the_feed() {
    let world = World::new();
    world.run(&["results::reports[east]"]).code(0);
    let events = world.events();
    let [record] = of_kind(&events, "record")[..] else {
        panic!("{events:?}");
    };
    assert_eq!(
        (&record["name"], &record["value"], &record["unit"]),
        (&json!("throughput"), &json!(9.5), &json!("Gbit/s"))
    );
    let [one, two] = of_kind(&events, "sub-result")[..] else {
        panic!("{events:?}");
    };
    let lane = one["result"]["lane"].as_str().expect("a lane");
    assert!(lane.starts_with("east-"), "{one}");
    let result = |name: &str, verdict: &str| {
        json!({
            "path": ["suite", name],
            "lane": lane,
            "verdict": verdict,
            "started": 1_700_000_000_000_000_u64,
            "took": 250,
        })
    };
    assert_eq!(one["result"], result("one", "pass"));
    let mut skipped = result("two", "skip");
    skipped["message"] = json!("no gpu");
    assert_eq!(two["result"], skipped);
    for event in [record, one, two] {
        let attempt = &event["attempt"];
        assert_eq!(attempt["case"]["test"], "results::reports", "{event}");
        assert_eq!(attempt["number"], 1, "{event}");
    }
}
