//! Compares version 1 of the format with a file of events that was written once, with one event of each kind.

use target_fixtures::{metadata::Metadata, wire::VerdictKind};

use super::*;
use crate::case::{RunsOn, reason::NotRunReason, verdict::CaseResult};

/// Written by the first version: later versions read it and write the same.
const VERSION_1: &str = include_str!("version-1.jsonl");

const MS: Duration = Duration::from_millis(1);

fn attempt() -> Attempt {
    let metadata = Metadata {
        area: Some("xdp".to_owned()),
        ..Metadata::default()
    };
    let runs_on = RunsOn::Target {
        name: "ubuntu".into(),
        label: "nightly/ubuntu".into(),
    };
    let metadata = Some(Arc::new(metadata));
    let case = CaseInfo::new("hello::net", "smoke", runs_on, Some(2), metadata);
    Attempt {
        case: Arc::new(case),
        stress_index: Some(1),
        number: 3,
    }
}

fn instance() -> String {
    "ubuntu-0".to_owned()
}

fn instances() -> Vec<String> {
    vec![instance()]
}

fn error() -> Option<String> {
    Some("no quota".to_owned())
}

/// A time that no line can have: it is cut.
fn took() -> Duration {
    MS + Duration::from_nanos(400)
}

fn lease() -> String {
    "run-7".to_owned()
}

/// One of each kind, and each verdict.
fn kinds() -> Vec<RunEventKind> {
    use RunEventKind as Kind;
    let mut kinds = vec![
        Kind::RunStarted {
            run: "r1".to_owned(),
            tool: "0.1.0".to_owned(),
            workspace: "/w".into(),
            playbook: Some("/w/x.toml".into()),
            cases: 2,
            on_host: 1,
            origin: Box::default(),
        },
        Kind::DeployStarted {
            instance: instance(),
            target: None,
        },
        Kind::DeployEnded {
            instance: instance(),
            took: took(),
            reused: false,
            target: None,
            reach: None,
            error: error(),
        },
        Kind::PrepareStarted {
            instance: instance(),
        },
        Kind::RecipeStep {
            instance: instance(),
            step: "run true".to_owned(),
            took: took(),
            error: None,
        },
        Kind::Facts {
            instance: instance(),
            facts: BTreeMap::from([("cores".to_owned(), "2".to_owned())]),
        },
        Kind::PrepareEnded {
            instance: instance(),
            took: took(),
            error: None,
        },
        Kind::DeployShown {
            attempt: attempt(),
            instance: instance(),
            took: took(),
            verdict: Verdict::Infra("no quota".to_owned()),
        },
        Kind::Console {
            instance: instance(),
            text: "booting\n".to_owned(),
            file: None,
        },
        Kind::LeaseWaiting { attempt: attempt() },
        Kind::LeaseGranted {
            lease: lease(),
            attempt: attempt(),
            instances: instances(),
            waited: took(),
        },
        Kind::AttemptStarted {
            attempt: attempt(),
            instances: instances(),
        },
        Kind::AttemptOutput {
            attempt: attempt(),
            stream: Stream::Stderr,
            text: "oh\n".to_owned(),
        },
        Kind::RemoteCommand {
            instance: instance(),
            lease: lease(),
            command: "uname -r".to_owned(),
            took: took(),
            exit: Exit::Code(3),
        },
        Kind::Record {
            attempt: attempt(),
            measurement: Measurement {
                name: "throughput".to_owned(),
                value: 9.5,
                unit: Some("Gbit/s".to_owned()),
            },
        },
        Kind::SubResult {
            attempt: attempt(),
            result: SubResult {
                path: vec!["suite".to_owned(), "one".to_owned()],
                lane: Some(instance()),
                verdict: VerdictKind::Skip,
                started: 1_700_000_000_000_000,
                took: 5,
                message: Some("no gpu".to_owned()),
            },
        },
        Kind::FaultStarted {
            name: "cut".to_owned(),
            instances: instances(),
        },
        Kind::FaultEnded {
            name: "cut".to_owned(),
            error: error(),
        },
        Kind::Fixture {
            name: "hello::db".to_owned(),
            instance: Some(instance()),
            torn_down: true,
            took: took(),
            error: error(),
        },
        Kind::Warning {
            message: "late".to_owned(),
        },
        Kind::Progress {
            message: "pulling".to_owned(),
        },
        Kind::Skipped {
            case: attempt().case,
            reason: SkipReason::Plan(crate::case::reason::ExclusionReason::NotIncluded),
        },
        Kind::LeaseEnded {
            lease: lease(),
            instances: instances(),
            held: took(),
        },
        Kind::Restored {
            instance: instance(),
            took: took(),
            error: None,
        },
        Kind::Dirty {
            instance: instance(),
            reason: DirtyReason::FreshWanted,
        },
        Kind::SetAside {
            instance: instance(),
        },
        Kind::Deleted {
            instance: instance(),
            took: took(),
            error: error(),
        },
    ];
    let notes = || {
        vec![InstanceNote {
            instance: instance(),
            note: "by pid 7".to_owned(),
        }]
    };
    kinds.push(Kind::TargetUsed(TargetTime {
        target: "ubuntu".to_owned(),
        instances: 2,
        time: took(),
        cost: 1.5,
        cases: CaseCounts::default(),
    }));
    kinds.push(Kind::CleanedUp(CleanUp {
        kept: instances(),
        unused: instances(),
        unkept: Vec::new(),
        left: instances(),
        held: notes(),
        dirty: notes(),
        unknown: notes(),
        failed: notes(),
        ..CleanUp::default()
    }));
    let output = OutputFile {
        path: "/w/target/target-test/r1/smoke.stdout".into(),
        length: 70_000,
        tail: "the end\n".to_owned(),
    };
    let result = AttemptResult {
        verdict: Verdict::Fail,
        instances: instances(),
        waited: took(),
        took: 2 * took(),
        fixtures: took(),
        tear_down: Duration::ZERO,
        exit: Some(Exit::Signal("ABRT".to_owned())),
        message: None,
        timed_out: None,
        expected: Some("bug 7".to_owned()),
        stdout: Some(output),
        stderr: None,
        findings: Vec::new(),
        log: None,
        consoles: Vec::new(),
        artifacts: None,
    };
    let ended = |result| Kind::AttemptEnded {
        attempt: attempt(),
        result: Box::new(result),
    };
    kinds.push(ended(result));
    let verdicts = [
        Verdict::Pass,
        Verdict::Crash("panic".to_owned()),
        Verdict::Skip(SkipReason::Test("no gpu".to_owned())),
        Verdict::Infra("gone".to_owned()),
    ];
    kinds.extend(verdicts.map(|verdict| ended(AttemptResult::new(verdict))));
    kinds.push(Kind::RunEnded {
        exit_code: 69,
        interrupted: false,
    });
    let mut counts = CaseCounts::default();
    counts.count(CaseResult::Infra);
    kinds.push(Kind::CasesCounted(counts));
    kinds
}

fn events() -> Vec<RunEvent> {
    let wall = Duration::from_micros(1_700_000_000_000_001);
    let event = |(seq, kind)| RunEvent::new(seq, seq as u32 * MS + (took() - MS), wall, kind);
    (0_u64..).zip(kinds()).map(event).collect()
}

#[test]
fn version_1_is_read_and_written() {
    let events = events();
    let lines = events
        .iter()
        .map(|event| serde_json::to_string(event).expect("JSON"));
    let lines: Vec<_> = lines.collect();
    if std::env::var("SNAPSHOTS").is_ok_and(|wish| wish == "overwrite") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/run_event/version-1.jsonl");
        std::fs::write(path, lines.join("\n") + "\n").expect("written");
        return;
    }
    let golden: Vec<_> = VERSION_1.lines().collect();
    assert_eq!(golden.len(), lines.len());
    for ((golden, line), event) in golden.iter().zip(lines).zip(events) {
        let read: RunEvent = serde_json::from_str(golden).expect(golden);
        assert_eq!(read, event);
        assert_eq!(line, *golden);
    }
}

#[test]
fn the_target_of_an_instance_is_read_and_written() {
    let target = InstanceTarget {
        name: "ubuntu".to_owned(),
        label: "nightly/ubuntu".to_owned(),
        platform: "qemu".to_owned(),
    };
    let ended = RunEventKind::DeployEnded {
        instance: instance(),
        took: MS,
        reused: true,
        target: Some(target),
        reach: Some("ssh -p 2222 -- root@127.0.0.1".to_owned()),
        error: None,
    };
    let json = serde_json::to_value(&ended).expect("JSON");
    assert_eq!(json["target"]["label"], "nightly/ubuntu");
    assert_eq!(json["reach"], "ssh -p 2222 -- root@127.0.0.1");
    let read: RunEventKind = serde_json::from_value(json).expect("an event");
    assert_eq!(read, ended);
}

#[test]
fn what_no_attempt_says_is_read_and_written() {
    let attempt = attempt();
    let case = || Arc::clone(&attempt.case);
    for (event, kind) in [
        (RunEventKind::Planned { case: case() }, "planned"),
        (
            RunEventKind::NotRun {
                case: case(),
                reason: NotRunReason::SetupScript("db".to_owned()),
            },
            "not-run",
        ),
        (
            RunEventKind::Overruled {
                attempt: attempt.clone(),
                verdict: Verdict::Fail,
                reason: "leaked handles".to_owned(),
            },
            "overruled",
        ),
        (
            RunEventKind::FlakyFailed {
                attempt: attempt.clone(),
            },
            "flaky-failed",
        ),
    ] {
        let json = serde_json::to_value(&event).expect("JSON");
        assert_eq!(json["event"], kind);
        let read: RunEventKind = serde_json::from_value(json).expect("an event");
        assert_eq!(read, event);
    }
}

#[test]
fn a_time_limit_is_read_and_written() {
    let result = AttemptResult {
        timed_out: Some(2 * MS),
        ..AttemptResult::new(Verdict::Fail)
    };
    let json = serde_json::to_value(&result).expect("JSON");
    assert_eq!(json["timed-out"], 2000);
    let read: AttemptResult = serde_json::from_value(json).expect("a result");
    assert_eq!(read, result);
}

#[test]
fn a_failure_has_the_best_reason_that_is_known() {
    let mut result = AttemptResult {
        exit: Some(Exit::Code(101)),
        ..AttemptResult::new(Verdict::Fail)
    };
    assert_eq!(result.reason(), Some(Exit::Code(101).to_string()));
    result.findings = vec!["BUG: soft lockup".to_owned()];
    assert_eq!(result.reason().as_deref(), Some("BUG: soft lockup"));
    result.timed_out = Some(Duration::from_secs(90));
    assert_eq!(result.reason().as_deref(), Some("timed out after 1m 30s"));
    result.message = Some("no answer".to_owned());
    assert_eq!(result.reason().as_deref(), Some("no answer"));
    result.verdict = Verdict::Crash("kernel panic".to_owned());
    assert_eq!(result.reason().as_deref(), Some("kernel panic"));
    result.verdict = Verdict::Pass;
    assert_eq!(result.reason(), None);
    result.expected = Some("issue 7".to_owned());
    assert_eq!(result.reason().as_deref(), Some("issue 7"));
}

#[test]
fn only_output_and_progress_may_be_dropped() {
    let kinds = kinds();
    let dropped = kinds.iter().filter(|kind| kind.may_be_dropped());
    let names: Vec<_> = dropped
        .map(|kind| serde_json::to_value(kind).expect("JSON")["event"].clone())
        .collect();
    assert_eq!(names, ["console", "attempt-output", "progress"]);
}
