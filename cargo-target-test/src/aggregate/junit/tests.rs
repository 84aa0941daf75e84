//! Reports of a small run with every verdict: from events alone, and joined with nextest's report.

use std::sync::Arc;

use target_fixtures::wire::Exit;

use super::*;
use crate::{
    case::{
        CaseInfo, RunsOn,
        reason::{ExclusionReason, SkipReason},
    },
    run_event::{OutputFile, TAIL},
};

fn attempt(name: &str, number: u32) -> Attempt {
    let runs_on = RunsOn::Target {
        name: "a".into(),
        label: "a".into(),
    };
    Attempt {
        case: Arc::new(CaseInfo::new("hello", name, runs_on, None, None)),
        stress_index: None,
        number,
    }
}

fn started(name: &str) -> RunEventKind {
    RunEventKind::AttemptStarted {
        attempt: attempt(name, 1),
        instances: Vec::new(),
    }
}

fn ended(name: &str, number: u32, result: AttemptResult) -> RunEventKind {
    RunEventKind::AttemptEnded {
        attempt: attempt(name, number),
        result: Box::new(result),
    }
}

fn result(verdict: Verdict) -> AttemptResult {
    AttemptResult {
        instances: vec!["a-0".to_owned()],
        waited: Duration::from_millis(1500),
        took: Duration::from_millis(250),
        exit: Some(Exit::Code(101)),
        ..AttemptResult::new(verdict)
    }
}

fn timeout() -> AttemptResult {
    AttemptResult {
        timed_out: Some(Duration::from_secs(2)),
        ..result(Verdict::Fail)
    }
}

fn infra() -> Verdict {
    Verdict::Infra("a-0 is gone:\nno route".to_owned())
}

fn deploy(verdict: Verdict) -> RunEventKind {
    RunEventKind::DeployShown {
        attempt: Attempt {
            case: Arc::new(CaseInfo::on_host("@target-test", "deploy[a-0]")),
            stress_index: None,
            number: 1,
        },
        instance: "a-0".to_owned(),
        took: Duration::from_secs(1),
        verdict,
    }
}

/// All verdicts, retries, and a skip of the plan.
fn events() -> Vec<RunEventKind> {
    let skip = SkipReason::Test("no gpu".to_owned());
    let excluded = SkipReason::Plan(ExclusionReason::Declared("broken".to_owned()));
    vec![
        RunEventKind::Skipped {
            case: Arc::new(CaseInfo::on_host("hello", "nowhere")),
            reason: excluded,
        },
        deploy(infra()),
        ended("passes", 1, result(Verdict::Pass)),
        ended("fails", 1, timeout()),
        ended("fails", 2, result(infra())),
        ended("fails", 3, timeout()),
        ended("flaky", 1, result(infra())),
        ended("flaky", 2, result(Verdict::Pass)),
        ended("lost", 1, result(infra())),
        ended(
            "crashes",
            1,
            result(Verdict::Crash("kernel panic".to_owned())),
        ),
        ended("skips", 1, result(Verdict::Skip(skip))),
        // nextest's report marks this test as leaky.
        ended("leaks", 1, result(Verdict::Pass)),
        // nextest counts this test as passed.
        ended("limit", 1, result(Verdict::Fail)),
    ]
}

fn ingest(junit: &mut Junit, events: Vec<RunEventKind>) {
    for kind in events {
        let event = RunEvent::new(0, Duration::ZERO, Duration::ZERO, kind);
        junit.ingest(&event).expect("ingested");
    }
}

fn read(file: &Path) -> Report {
    let text = fs_err::read_to_string(file).expect("a report");
    Report::deserialize_from_str(&text).expect("a JUnit report")
}

/// Formats a report: `tests failures errors skipped`, then each case with its content.
fn shown(file: &Path) -> String {
    let report = read(file);
    let (tests, failures) = (report.tests, report.failures);
    let mut text = format!("{tests} {failures} {} {}\n", report.errors, report.skipped);
    let xml = fs_err::read_to_string(file).expect("a report");
    let mut lines = xml.lines().map(str::trim);
    lines.find(|line| line.starts_with("<testsuite "));
    for line in lines {
        let is = |tag: &str| line.starts_with(tag);
        if is("<testcase") {
            let name = line.split('"').nth(1).unwrap_or_default();
            text += &format!("{name}\n");
        } else if ["<failure", "<error", "<skipped", "<flaky", "<rerun"]
            .iter()
            .any(|tag| is(tag))
        {
            let end = line.find(['>', '/']).unwrap_or(line.len());
            text += &format!("    {}\n", &line[1..end]);
        }
    }
    text
}

#[test]
fn infra_is_an_error_and_a_skip_is_skipped() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, nextest) = (
        folder.path().join("all.xml"),
        folder.path().join("nextest.xml"),
    );
    let mut junit = Junit::new(&file, std::slice::from_ref(&nextest));
    ingest(&mut junit, events());
    let mut alone = String::new();
    for with_nextest in [false, true] {
        if with_nextest {
            fs_err::write(&nextest, NEXTEST).expect("written");
        }
        junit.finish().expect("a report");
        let name = read(&file).name.map(|name| name.as_str().to_owned());
        let text = shown(&file);
        match with_nextest {
            false => alone = text,
            true => {
                snapbox::assert_data_eq!(text, snapbox::file!["joined.txt"]);
                assert_eq!(name.as_deref(), Some("nextest-run"));
                continue;
            }
        }
        assert_eq!(name.as_deref(), Some("nextest-run (incomplete)"));
    }
    snapbox::assert_data_eq!(alone, snapbox::file!["alone.txt"]);
    let text = fs_err::read_to_string(&file).expect("a report");
    for property in [
        r#"<property name="lease-wait" value="1.500"/>"#,
        r#"<property name="test-time" value="0.250"/>"#,
        r#"<property name="instances" value="a-0"/>"#,
        "no route",
        "output as nextest has it",
    ] {
        assert!(text.contains(property), "{property}: {text}");
    }
}

/// A run that is killed half-way has a report, regardless of the tests' output.
#[test]
fn a_report_is_there_before_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, output) = (
        folder.path().join("all.xml"),
        folder.path().join("x.stdout"),
    );
    let bytes = b"\xff\x00\x1b[31m ]]> <&\x0b\xef\xbf\xbf end";
    fs_err::write(&output, bytes).expect("written");
    let mut junit = Junit::new(&file, &[folder.path().join("none")]);
    let failed = AttemptResult {
        stdout: Some(OutputFile {
            path: output,
            length: bytes.len() as u64,
            tail: String::new(),
        }),
        ..result(Verdict::Fail)
    };
    junit.next = Instant::now();
    ingest(&mut junit, vec![ended("fails", 1, failed)]);
    let text = shown(&file);
    assert!(text.starts_with("1 1 0 0\nfails[a]\n"), "{text}");
    junit.next = Instant::now() + Duration::from_secs(60);
    ingest(&mut junit, vec![started("hangs")]);
    assert_eq!(read(&file).tests, 1);
    junit.idle().expect("written");
    let report = read(&file);
    assert_eq!((report.tests, report.failures, report.errors), (2, 1, 1));
    let text = fs_err::read_to_string(&file).expect("a report");
    assert!(text.contains("the run ended before the test did"), "{text}");
    assert!(
        text.contains(r#"<property name="incomplete" value="true"/>"#),
        "{text}"
    );
    assert!(
        text.contains("]]&gt; &lt;&amp;") && text.contains(" end"),
        "{text}"
    );
}

/// A failed, a flaky and a passed case, with and without events, have the end of their output and the path of the whole.
#[test]
fn long_outputs_are_shortened_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (output, nextest) = ("0123456789\n".repeat(10_000), path("nextest.xml"));
    let result = |name: &str, verdict| {
        let path = path(name);
        fs_err::write(&path, &output).expect("written");
        let (length, tail) = (output.len() as u64, String::new());
        AttemptResult {
            stdout: Some(OutputFile { path, length, tail }),
            ..result(verdict)
        }
    };
    let mut junit = Junit::new(&path("all.xml"), std::slice::from_ref(&nextest));
    let attempts = [
        ("passes", 1, Verdict::Pass),
        ("fails", 1, Verdict::Fail),
        ("fails", 2, Verdict::Fail),
        ("flaky", 1, Verdict::Fail),
        ("flaky", 2, Verdict::Pass),
    ];
    let events = attempts.clone().map(|(name, number, verdict)| {
        ended(name, number, result(&format!("{name}-{number}"), verdict))
    });
    ingest(&mut junit, events.into());
    let xml = |name: &str| fs_err::read_to_string(path(name)).expect("a report");
    let expected = |name: &str| {
        let shown = format!("; the whole output is in `{}`]\n0123", path(name).display());
        xml("all.xml").contains(&shown)
    };
    for with_nextest in [false, true] {
        if with_nextest {
            let out = format!("<system-out>{output}</system-out>");
            let alone = |name: &str| {
                format!(r#"<testcase name="{name}" classname="hello">{out}</testcase>"#)
            };
            let with = |name: &str, element: &str, run: &str| {
                format!(
                    r#"<testcase name="{name}" classname="hello">{element}<{run} type="x">{out}</{run}>{out}</testcase>"#
                )
            };
            let cases = [
                alone("passes[a]"),
                alone("unseen[a]"),
                with("fails[a]", r#"<failure type="x"/>"#, "rerunFailure"),
                with("flaky[a]", "", "flakyFailure"),
            ];
            let report = format!(
                r#"<testsuites name="nextest-run" tests="4" failures="1" errors="0"><testsuite name="hello" tests="4" disabled="0" errors="0" failures="1">{}</testsuite></testsuites>"#,
                cases.concat()
            );
            fs_err::write(&nextest, report).expect("written");
        }
        junit.finish().expect("a report");
        for (name, number, _) in &attempts {
            assert!(expected(&format!("{name}-{number}")), "{name}-{number}");
        }
        assert_eq!(expected("nextest.xml"), with_nextest);
        let most = (attempts.len() + 1) * (TAIL + 1000);
        assert!(xml("all.xml").len() < most, "{}", xml("all.xml").len());
    }
}

/// A report in nextest's format.
const NEXTEST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="11" failures="8" errors="1" uuid="3286ead8-08a6-4035-8735-af41b4c994e6" timestamp="2026-01-02T03:04:05.678+00:00" time="3.5">
    <testsuite name="@setup-script:prepare" tests="1" disabled="0" errors="0" failures="1">
        <testcase name="prepare" classname="@setup-script:prepare" time="0.1">
            <failure type="script failure with exit code 1"/>
        </testcase>
    </testsuite>
    <testsuite name="@target-test" tests="1" disabled="0" errors="0" failures="1">
        <testcase name="deploy[a-0]" classname="@target-test" time="0.1">
            <failure type="test failure with exit code 69"/>
        </testcase>
    </testsuite>
    <testsuite name="hello" tests="9" disabled="0" errors="1" failures="6">
        <testcase name="passes[a]" classname="hello" time="0.1">
            <system-out>output as nextest has it</system-out>
        </testcase>
        <testcase name="fails[a]" classname="hello" time="0.1">
            <failure type="test failure with exit code 101"/>
            <rerunFailure time="0.1" type="test failure with exit code 69"/>
            <rerunFailure time="0.1" type="test failure with exit code 101"/>
        </testcase>
        <testcase name="flaky[a]" classname="hello" time="0.1">
            <flakyFailure time="0.1" type="test failure with exit code 69"/>
        </testcase>
        <testcase name="lost[a]" classname="hello" time="0.1">
            <failure type="test failure with exit code 69"/>
        </testcase>
        <testcase name="crashes[a]" classname="hello" time="0.1">
            <failure type="test failure with exit code 101"/>
        </testcase>
        <testcase name="skips[a]" classname="hello" time="0.1"/>
        <testcase name="leaks[a]" classname="hello" time="0.1">
            <error type="test passed but leaked handles"/>
        </testcase>
        <testcase name="limit[a]" classname="hello" time="0.1"/>
        <testcase name="unseen[a]" classname="hello" time="0.1">
            <error type="execution failure"/>
        </testcase>
    </testsuite>
</testsuites>
"#;

/// A report goes where a program that writes to the path would write.
#[test]
fn a_report_is_written_as_by_cp() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let report = |name: &str| {
        let mut junit = Junit::without_nextest(path(name));
        ingest(&mut junit, events());
        junit.finish().expect("a report");
    };
    let length = |name: &str| path(name).metadata().expect("a file").len();
    std::fs::create_dir(path("in")).expect("a folder");
    for name in ["in/all.xml", "link.new", "in/all.xml.new"] {
        fs_err::write(path(name), "x").expect("written");
    }
    std::fs::hard_link(path("in/all.xml"), path("other")).expect("a link");
    std::os::unix::fs::symlink("in/all.xml", path("link")).expect("a link");
    report("link");
    assert!(path("link").is_symlink());
    assert!(read(&path("in/all.xml")).tests > 0);
    assert_eq!(length("other"), length("in/all.xml"));
    assert_eq!((length("link.new"), length("in/all.xml.new")), (1, 1));

    // A new file has the mode of any new file.
    report("new");
    let mode = |name: &str| path(name).metadata().expect("a file").permissions();
    assert_eq!(mode("new"), mode("link.new"));

    // A FIFO gets one report.
    let fifo = path("fifo");
    let (kind, bits) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, bits, 0).expect("a FIFO");
    let reader = std::thread::spawn(move || fs_err::read_to_string(fifo).expect("a report"));
    report("fifo");
    let text = reader.join().expect("a report");
    assert_eq!(text.matches("<?xml").count(), 1);
}
