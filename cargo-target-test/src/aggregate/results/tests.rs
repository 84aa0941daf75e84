//! Results of synthetic runs.

use std::time::Duration;

use target_fixtures::wire::{Exit, Stream};

use super::*;
use crate::{case::RunsOn, run_event::ConsoleEnd};

const MS: Duration = Duration::from_millis(1);

/// Feeds events at the given milliseconds.
fn results(events: impl IntoIterator<Item = (u32, RunEventKind)>) -> Results {
    let mut results = Results::default();
    for ((at, kind), seq) in events.into_iter().zip(0..) {
        results.ingest(&RunEvent::new(seq, MS * at, MS * at, kind));
    }
    results.close();
    results
}

fn case(name: &str) -> Arc<CaseInfo> {
    let runs_on = RunsOn::Target {
        name: "a".into(),
        label: "a".into(),
    };
    Arc::new(CaseInfo::new("x", name, runs_on, None, None))
}

fn ended(attempt: &Attempt, result: AttemptResult) -> RunEventKind {
    RunEventKind::AttemptEnded {
        attempt: attempt.clone(),
        result: Box::new(result),
    }
}

fn granted(attempt: &Attempt) -> RunEventKind {
    RunEventKind::LeaseGranted {
        lease: "l".to_owned(),
        attempt: attempt.clone(),
        instances: vec!["a-0".to_owned()],
        waited: MS * 5,
    }
}

fn started(attempt: &Attempt) -> RunEventKind {
    RunEventKind::AttemptStarted {
        attempt: attempt.clone(),
        instances: vec!["a-0".to_owned()],
    }
}

#[test]
fn the_parts_of_an_attempt_are_in_the_lane_of_its_instance() {
    let attempt = Attempt::first(&case("t"));
    let lane = || "a-0".to_owned();
    let result = AttemptResult {
        took: MS * 50,
        fixtures: MS * 15,
        tear_down: MS * 5,
        instances: vec![lane()],
        ..AttemptResult::new(Verdict::Pass)
    };
    let results = results([
        (
            0,
            RunEventKind::DeployStarted {
                instance: lane(),
                target: None,
            },
        ),
        (20, RunEventKind::PrepareStarted { instance: lane() }),
        (
            30,
            RunEventKind::PrepareEnded {
                instance: lane(),
                took: MS * 10,
                error: None,
            },
        ),
        (
            30,
            RunEventKind::LeaseWaiting {
                attempt: attempt.clone(),
            },
        ),
        (40, granted(&attempt)),
        (41, started(&attempt)),
        (
            60,
            RunEventKind::RemoteCommand {
                instance: lane(),
                lease: "l".to_owned(),
                command: "true".to_owned(),
                took: MS,
                exit: Exit::Code(0),
            },
        ),
        (92, ended(&attempt, result)),
        (
            95,
            RunEventKind::LeaseEnded {
                lease: "l".to_owned(),
                instances: vec![lane()],
                held: MS * 55,
            },
        ),
        (
            120,
            RunEventKind::Deleted {
                instance: lane(),
                took: MS * 10,
                error: None,
            },
        ),
    ]);
    let spans = &results.instances[0].spans;
    let spans: Vec<_> = spans
        .iter()
        .map(|span| (span.kind, span.start.as_millis(), span.end.as_millis()))
        .collect();
    let expected = [
        (SpanKind::Deploy, 0, 20),
        (SpanKind::Prepare, 20, 30),
        (SpanKind::SetUp, 41, 51),
        (SpanKind::Call, 51, 86),
        (SpanKind::TearDown, 86, 91),
        (SpanKind::Lease, 40, 95),
        (SpanKind::Delete, 110, 120),
    ];
    assert_eq!(spans, expected);
    let attempt = &results.cases[0].attempts[0];
    assert_eq!(attempt.commands.len(), 1);
    assert_eq!((attempt.requested, attempt.waited), (Some(MS * 30), MS * 5));
    assert_eq!(results.cases[0].result(), CaseResult::Passed);
}

#[test]
fn a_killed_run_ends_with_its_last_event() {
    let attempt = Attempt::first(&case("t"));
    let message = String::new();
    let results = results([
        (10, granted(&attempt)),
        (20, started(&attempt)),
        (90, RunEventKind::Progress { message }),
    ]);
    let spans = &results.instances[0].spans;
    let spans: Vec<_> = spans
        .iter()
        .map(|span| (span.kind, span.start.as_millis(), span.end.as_millis()))
        .collect();
    assert_eq!(spans, [(SpanKind::Lease, 10, 90), (SpanKind::Call, 20, 90)]);
    assert_eq!(results.cases[0].result(), CaseResult::Unfinished);
    assert!(results.end.is_none());
}

#[test]
fn the_outcome_is_the_worst_of_the_last_attempts() {
    let infra = || Verdict::Infra("gone".to_owned());
    let crash = || Verdict::Crash("panic".to_owned());
    for (attempts, expected) in [
        (vec![(0, Verdict::Pass)], CaseResult::Passed),
        (
            vec![(0, Verdict::Fail), (0, Verdict::Pass)],
            CaseResult::Flaky,
        ),
        (vec![(0, infra()), (0, Verdict::Pass)], CaseResult::Flaky),
        (vec![(0, Verdict::Fail), (0, infra())], CaseResult::Infra),
        (vec![(0, crash()), (1, Verdict::Pass)], CaseResult::Crashed),
        (
            vec![(0, Verdict::Pass), (1, Verdict::Fail)],
            CaseResult::Failed,
        ),
    ] {
        let shown = format!("{attempts:?}");
        let events = attempts
            .into_iter()
            .zip(1..)
            .map(|((iteration, verdict), number)| {
                let attempt = Attempt {
                    case: case("t"),
                    stress_index: Some(iteration),
                    number,
                };
                (number, ended(&attempt, AttemptResult::new(verdict)))
            });
        assert_eq!(results(events).cases[0].result(), expected, "{shown}");
    }
}

/// nextest's settings decide; what never ran is neither passed nor failed, in a killed run because the run was killed.
#[test]
fn a_case_has_the_result_that_counts() {
    let attempt = |name, number| Attempt {
        number,
        ..Attempt::first(&case(name))
    };
    let overruled = |name, verdict| RunEventKind::Overruled {
        attempt: attempt(name, 1),
        verdict,
        reason: "by nextest".to_owned(),
    };
    let ended = |name, number, verdict| ended(&attempt(name, number), AttemptResult::new(verdict));
    let planned = |name| RunEventKind::Planned { case: case(name) };
    let not_run = RunEventKind::NotRun {
        case: case("late"),
        reason: NotRunReason::FailFast,
    };
    let flaky_failed = RunEventKind::FlakyFailed {
        attempt: attempt("flaky", 2),
    };
    let events = [
        planned("late"),
        planned("killed"),
        ended("leaks", 1, Verdict::Pass),
        ended("limited", 1, Verdict::Fail),
        ended("flaky", 1, Verdict::Fail),
        ended("flaky", 2, Verdict::Pass),
        overruled("leaks", Verdict::Fail),
        overruled("limited", Verdict::Pass),
        overruled("unstarted", Verdict::Fail),
        flaky_failed,
        not_run,
    ];
    let results = results((0..).zip(events));
    let found: Vec<_> = results
        .cases
        .iter()
        .map(|one| (&*one.case.test, one.result()))
        .collect();
    let expected = [
        ("late", CaseResult::NotRun),
        ("killed", CaseResult::NotRun),
        ("leaks", CaseResult::Failed),
        ("limited", CaseResult::Passed),
        ("flaky", CaseResult::Failed),
        ("unstarted", CaseResult::Failed),
    ];
    assert_eq!(found, expected);
    let absences = results.cases.iter().filter_map(TestedCase::absence);
    let absences: Vec<_> = absences.collect();
    let expected = [NotRunReason::FailFast, NotRunReason::RunKilled];
    assert_eq!(absences, expected.map(|reason| reason.to_string()));
}

/// Memory does not grow with the length of outputs: what passed is shortened first, at boundaries of characters.
#[test]
fn long_outputs_are_bounded() {
    let tail = "é".repeat(30_000);
    let events = (0..2000).map(|number| {
        let verdict = match number % 10 {
            0 => Verdict::Fail,
            _ => Verdict::Pass,
        };
        let file = OutputFile {
            path: "/run/out".into(),
            length: 1 << 20,
            tail: tail.clone(),
        };
        let attempt = Attempt::first(&case(&format!("t{number}")));
        let result = AttemptResult {
            stdout: Some(file),
            ..AttemptResult::new(verdict)
        };
        (number, ended(&attempt, result))
    });
    let results = results(events);
    let kept = |failed: bool| {
        let attempts = results.cases.iter().flat_map(|case| &case.attempts);
        let attempts = attempts.filter(move |one| (one.verdict == Some(Verdict::Fail)) == failed);
        attempts.map(|one| one.stdout.as_ref().expect("an output"))
    };
    let sum = |failed| kept(failed).map(|one| one.tail.len()).sum::<usize>();
    assert!(
        sum(false) < 6 << 20 && sum(true) < 8 << 20,
        "{} {}",
        sum(false),
        sum(true)
    );
    let (passed, failed) = (kept(false).next(), kept(true).next());
    let length = |one: Option<&KeptOutput>| one.map_or(0, |one| one.tail.len());
    assert!(length(passed) > 1000 && length(failed) > 4 * length(passed));
    assert!(kept(true).all(|one| one.length == 1 << 20 && one.path.is_some()));
}

#[test]
fn output_that_comes_in_pieces_keeps_its_end() {
    let attempt = Attempt::first(&case("t"));
    let pieces = (0..100).map(|number| {
        let kind = RunEventKind::AttemptOutput {
            attempt: attempt.clone(),
            stream: Stream::Stdout,
            text: format!("{number:02}{}\n", "x".repeat(997)),
        };
        (number, kind)
    });
    let results = results(pieces);
    let output = results.cases[0].attempts[0].stdout.as_ref();
    let output = output.expect("an output");
    assert_eq!(output.length, 100_000);
    assert!(output.tail.len() <= 32 << 10);
    assert!(output.tail.contains("\n99xxx") && !output.tail.contains("\n50xxx"));
}

#[test]
fn a_console_belongs_to_the_attempt_that_held_its_instance() {
    let attempt = Attempt::first(&case("t"));
    let console = |instance: &str, text: &str| RunEventKind::Console {
        instance: instance.to_owned(),
        text: text.to_owned(),
        file: Some("/run/consoles/a-0.log".into()),
    };
    let after = ConsoleEnd {
        instance: "a-0".to_owned(),
        output: OutputFile {
            path: "/run/output/t.console".into(),
            length: 9,
            tail: "all of it".to_owned(),
        },
    };
    let result = AttemptResult {
        consoles: vec![after],
        ..AttemptResult::new(Verdict::Crash("panic".to_owned()))
    };
    let results = results([
        (10, granted(&attempt)),
        (20, console("a-0", "of it")),
        (30, ended(&attempt, result)),
        (40, console("b-0", "did not boot")),
    ]);
    let consoles = &results.cases[0].attempts[0].consoles;
    let texts: Vec<_> = consoles.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(texts, ["all of it"]);
    let [held, failed] = &results.instances[..] else {
        panic!("{:?}", results.instances);
    };
    assert!(held.console.is_none());
    let failed = failed.console.as_ref().expect("a console");
    assert_eq!(failed.text, "did not boot");
}
