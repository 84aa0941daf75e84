//! Tests of running events, with events that are functions of a test.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Map;

use super::*;
use crate::{
    fixture::Registered,
    orchestration::{ReportQueue, result_reporter},
    wire::PlannedEvent,
};

type Body = fn(&Fixtures) -> Result<(), FixtureFailure>;

/// An event with a function of a test.
struct Event(&'static str, Body);

impl TargetEvent for Event {
    fn name(&self) -> &'static str {
        self.0
    }

    fn source(&self) -> &'static str {
        self.0
    }

    fn needs(&self) -> Vec<&'static dyn Registered> {
        Vec::new()
    }

    fn check(&self, _params: &EventParams) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn run(
        &self,
        fixtures: &Fixtures,
        _targets: &[Target],
        _params: &EventParams,
    ) -> Result<(), FixtureFailure> {
        (self.1)(fixtures)
    }
}

fn planned(name: &str) -> PlannedEvent {
    PlannedEvent {
        name: name.to_owned(),
        interval: None,
        at_startup: true,
        at_teardown: false,
        params: Map::new(),
    }
}

fn every(millis: u64, name: &str) -> PlannedEvent {
    PlannedEvent {
        interval: Some(Duration::from_millis(millis)),
        ..planned(name)
    }
}

fn at_teardown(name: &str) -> PlannedEvent {
    PlannedEvent {
        at_startup: false,
        at_teardown: true,
        ..planned(name)
    }
}

/// Runs events for a time. Returns the end, and the results as `name/verdict`.
fn run_for(
    millis: u64,
    fails_fast: bool,
    events: Vec<(PlannedEvent, Body)>,
) -> (OrchestrationEnd, Vec<String>) {
    let results = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&results);
    let tell = move |request| match request {
        BrokerRequest::SubResult(result) => {
            let line = format!("{}/{}", result.path.join("/"), result.verdict.name());
            told.lock().expect("results").push(line);
        }
        BrokerRequest::Record(value) => {
            told.lock()
                .expect("results")
                .push(format!("{} = {}", value.name, value.value));
        }
        BrokerRequest::Progress { text } => told.lock().expect("results").push(text),
        other => panic!("{other:?}"),
    };
    let end = runner(millis, fails_fast, events, tell).run();
    let results = results.lock().expect("results").clone();
    (end, results)
}

/// A runner of events for a time, with a function that receives the requests to the broker.
fn runner(
    millis: u64,
    fails_fast: bool,
    events: Vec<(PlannedEvent, Body)>,
    tell: impl Fn(BrokerRequest) + Send + Sync + 'static,
) -> Arc<Runner> {
    let fixtures = Fixtures::new(None, &[]);
    fixtures.provide::<result_reporter>(Reporter::printing(&ReportQueue::default()));
    let (plans, bodies): (Vec<_>, Vec<_>) = events.into_iter().unzip();
    let leaked = plans.iter().zip(bodies).map(|(plan, body)| {
        let name = String::leak(plan.name.clone());
        let event: &'static dyn TargetEvent = Box::leak(Box::new(Event(name, body)));
        event
    });
    Arc::new(Runner {
        events: leaked.collect(),
        names: names_of(&plans),
        needs: Vec::new(),
        plan: OrchestrationPlan {
            name: "test".to_owned(),
            set_up_limit: None,
            duration: Duration::from_millis(millis),
            grace: Duration::from_secs(2),
            link_grace: Duration::from_secs(60),
            time_scale: 1.0,
            fails_fast,
            setup_fixtures: Vec::new(),
            events: plans,
        },
        fixtures: Arc::new(fixtures),
        targets: Vec::new(),
        tell: Box::new(tell),
        state: Mutex::default(),
        changed: Condvar::new(),
    })
}

fn until_killed(fixtures: &Fixtures) -> Result<(), FixtureFailure> {
    let ended = fixtures.get::<kill_switch>()?.wait(Duration::from_secs(60));
    assert!(ended, "the switch is set");
    Ok(())
}

fn report(fixtures: &Fixtures) -> Result<(), FixtureFailure> {
    let reporter = fixtures.get::<result_reporter>()?;
    reporter.info("started");
    reporter.record("frames", 25.0, "1/s");
    Ok(())
}

fn fails(_fixtures: &Fixtures) -> Result<(), FixtureFailure> {
    Err(FixtureFailure::Error("no file".to_owned()))
}

#[test]
fn events_run_until_the_end_and_all_their_reports_are_told() {
    let (end, mut results) = run_for(
        300,
        false,
        vec![
            (planned("play"), until_killed),
            (planned("report"), report),
            (at_teardown("collect"), |_| Ok(())),
        ],
    );
    results.sort();
    let expected = [
        "collect/pass",
        "frames = 25",
        "play/pass",
        "report/info/pass",
        "report/pass",
    ];
    assert_eq!(results, expected);
    assert_eq!((end.failure, end.is_stuck), (None, false));
}

#[test]
fn a_run_that_is_still_going_skips_the_next_ones() {
    let (end, mut results) = run_for(1050, false, vec![(every(100, "play"), until_killed)]);
    results.sort();
    let skipped = "test: play: 10 of 11 runs skipped: the previous run was still going";
    assert_eq!(results, ["play/pass", "play/skipped/skip", skipped]);
    assert_eq!(end.failure, None);
}

#[test]
fn events_of_one_name_have_results_of_their_own_and_tell_why_they_skipped_themselves() {
    let skips: Body = |_| Err(FixtureFailure::Skip("no such fault".to_owned()));
    let events = vec![(planned("play"), report as Body), (planned("play"), skips)];
    let (end, mut results) = run_for(100, false, events);
    results.sort();
    let expected = [
        "frames = 25",
        "play#2/skip",
        "play/info/pass",
        "play/pass",
        "test: play#2: 1 of 1 runs skipped: no such fault",
    ];
    assert_eq!(results, expected);
    assert_eq!(end.failure, None);
}

#[test]
fn invalid_records_are_errors() {
    let records: Body = |fixtures| {
        let reporter = fixtures.get::<result_reporter>()?;
        reporter.record("rate", f64::NAN, "1/s");
        reporter.record(" ", 1.0, "");
        reporter.record("rate", 1.0, "1/s\n");
        Ok(())
    };
    let (end, mut results) = run_for(100, false, vec![(planned("records"), records)]);
    results.sort();
    let failed = "records/error/fail";
    assert_eq!(results, [failed, failed, failed, "records/pass"]);
    let failure = end.failure.expect("a failure");
    for text in [
        "`rate`: NaN is not a finite number",
        "\" \": invalid name",
        "invalid unit \"1/s\\n\"",
    ] {
        assert!(failure.contains(text), "{failure}");
    }
}

#[test]
fn start_up_events_begin_in_the_order_of_the_file() {
    static BEGUN: Mutex<Vec<u32>> = Mutex::new(Vec::new());
    fn begins<const NUMBER: u32>(_: &Fixtures) -> Result<(), FixtureFailure> {
        BEGUN.lock().expect("numbers").push(NUMBER);
        Ok(())
    }
    for _ in 0..30 {
        let bodies: [Body; 5] = [
            begins::<0>,
            begins::<1>,
            begins::<2>,
            begins::<3>,
            begins::<4>,
        ];
        let events = bodies.map(|body| (planned("begins"), body));
        let (end, _) = run_for(1, false, events.into());
        assert_eq!(end.failure, None);
    }
    let begun = BEGUN.lock().expect("numbers");
    // A thread may lose its processor just before the call: hardly ever, but then for long.
    let in_order = begun
        .chunks(5)
        .filter(|numbers| numbers.is_sorted())
        .count();
    assert!(in_order >= 29, "{begun:?}");
}

#[test]
fn runs_due_at_once_are_counted() {
    // A run is due each 1.7 µs.
    let mut runner = runner(60_000, false, vec![(every(1, "ticks"), |_| Ok(()))], |_| {});
    Arc::get_mut(&mut runner)
        .expect("not shared")
        .plan
        .time_scale = 600.0;
    let end = runner.run();
    assert_eq!(end.failure, None);
    let text = runner.state().tally.skipped(0).expect("skipped runs");
    assert!(text.contains(" of 60000 runs skipped: "), "{text}");
    assert!(text.contains("too slow to start them"), "{text}");
}

#[test]
fn an_early_end_has_a_reason() {
    for (reason, text) in [
        (EarlyEnd::Interrupted, "interrupted"),
        (
            EarlyEnd::TimedOut(Duration::from_secs(4)),
            "the time limit of 4s passed",
        ),
    ] {
        let events: Vec<(_, Body)> = vec![
            (planned("play"), fails),
            (at_teardown("collect"), |_| Ok(())),
        ];
        let told = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&told);
        let runner = runner(60_000, false, events, move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        runner.stop(Stop::Told(reason));
        let stuck = runner.stuck_set_up().expect("a set-up that goes on");
        assert_eq!(
            stuck,
            format!("orchestration `test`: {text} during the set-up of fixture ``")
        );
        runner.set_up().expect("no fixture");
        assert_eq!(runner.stuck_set_up(), None);
        let failure = runner.run().failure.expect("a failure");
        let expected = format!("orchestration `test`: {text} after ");
        assert!(failure.starts_with(&expected), "{failure}");
        // Only the tear-down event ran.
        assert_eq!(told.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn progress_names_events_that_are_still_to_come() {
    let events = vec![
        (every(1000, "play"), report as Body),
        (every(3000, "collect"), report),
    ];
    let runner = runner(4000, false, events, |_| {});
    let mut schedule = Schedule::new(&runner.plan);
    let at = Duration::from_secs(2);
    schedule.take_due(at);
    let line = runner.progress(&schedule, at);
    assert_eq!(line, "2s of 4s, next: play in 1s, collect in 1s");
}

#[test]
fn errors_and_panics_fail_the_test_at_its_end() {
    let reports: Body = |fixtures| {
        fixtures.get::<result_reporter>()?.error("stalled");
        Ok(())
    };
    let (end, mut results) = run_for(
        100,
        false,
        vec![
            (planned("fails"), fails),
            (planned("panics"), |_| panic!("on purpose")),
            (planned("reports"), reports),
            (at_teardown("collect"), until_killed),
        ],
    );
    results.sort();
    let expected = [
        "collect/pass",
        "fails/fail",
        "panics/fail",
        "reports/error/fail",
        "reports/pass",
    ];
    assert_eq!(results, expected);
    let failure = end.failure.expect("a failure");
    assert!(failure.contains("3 errors reported:"), "{failure}");
    for error in [
        "fails: no file",
        "panics: panicked: on purpose",
        "reports: stalled",
    ] {
        assert!(failure.contains(error), "{failure}");
    }
    assert!(!end.is_stuck);
}

#[test]
fn the_first_error_ends_an_orchestration_that_fails_fast() {
    let started = Instant::now();
    let events: Vec<(_, Body)> = vec![
        (planned("play"), until_killed),
        (planned("fails"), fails),
        (at_teardown("collect"), |_| Ok(())),
    ];
    let (end, results) = run_for(60_000, true, events);
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(results.last().map(String::as_str), Some("collect/pass"));
    let failure = end.failure.expect("a failure");
    assert!(
        failure.contains("ended by the first error after"),
        "{failure}"
    );
}

#[test]
fn an_event_that_never_ends_is_named() {
    let forever: Body = |_| loop {
        thread::park();
    };
    let events = vec![
        (planned("hangs"), forever),
        (at_teardown("collect"), forever),
    ];
    let (end, _) = run_for(50, false, events);
    let failure = end.failure.expect("a failure");
    assert!(end.is_stuck);
    for name in ["`hangs` (for ", "`collect` (tear-down)"] {
        assert!(failure.contains(name), "{failure}");
    }
}

/// The resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

#[test]
fn memory_does_not_grow_with_the_number_of_reports() {
    let reports: Body = |fixtures| {
        let reporter = fixtures.get::<result_reporter>()?;
        // The first reports fill what is reused later.
        let mut before = 0;
        for number in 0..100_000 {
            reporter.record("frames", f64::from(number), "1/s");
            if number % 100 == 99 {
                // The queue is as long as the monitor is slow.
                thread::yield_now();
            }
            if number == 20_000 {
                before = resident();
            }
        }
        let grown = resident().saturating_sub(before);
        assert!(grown < 32 << 10, "{grown} KiB");
        Ok(())
    };
    let told = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&told);
    let tell = move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    };
    let end = runner(1000, false, vec![(planned("reports"), reports)], tell).run();
    assert_eq!(end.failure, None);
    let told = told.load(Ordering::Relaxed);
    assert_eq!(told, 100_001);
}

#[test]
fn memory_does_not_grow_with_the_number_of_runs() {
    const RUNS: u64 = 100_000;
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static BEFORE: AtomicU64 = AtomicU64::new(0);
    let counts: Body = |_| match COUNT.fetch_add(1, Ordering::Relaxed) + 1 {
        20_000 => {
            BEFORE.store(resident(), Ordering::Relaxed);
            Ok(())
        }
        RUNS => {
            let grown = resident().saturating_sub(BEFORE.load(Ordering::Relaxed));
            Err(FixtureFailure::Error(format!("{grown} KiB")))
        }
        _ => Ok(()),
    };
    let event = PlannedEvent {
        interval: Some(Duration::from_micros(20)),
        ..planned("counts")
    };
    let end = runner(3_600_000, true, vec![(event, counts)], |_| {}).run();
    let failure = end.failure.expect("the last run fails");
    let grown = failure
        .split("counts: ")
        .nth(1)
        .and_then(|text| text.strip_suffix(" KiB"));
    let grown: u64 = grown.and_then(|text| text.parse().ok()).expect("a number");
    assert!(grown < 8 << 10, "{grown} KiB");
}

#[test]
fn a_host_that_slept_is_noticed_and_the_orchestration_goes_on() {
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let tell = move |request| {
        if let BrokerRequest::Progress { text } = request {
            heard.lock().expect("lines").push(text);
        }
    };
    let runner = runner(300, false, vec![(every(100, "play"), |_| Ok(()))], tell);
    let end = runner.run_by(&mut Clock::after_sleep(Duration::from_millis(600_500)));
    assert_eq!(end.failure, None);
    let slept = "test: this host slept for 10m, or its clock was set: the orchestration goes on";
    assert_eq!(*said.lock().expect("lines"), [slept]);
}

#[test]
fn durations_are_short() {
    for (millis, text) in [
        (0, "0s"),
        (300, "300 ms"),
        (59_000, "59s"),
        (60_000, "1m"),
        (754_000, "12m 34s"),
        (10_800_000, "3h"),
        (11_100_000, "3h 5m"),
    ] {
        // Less than a unit is not shown.
        let duration = Duration::from_millis(millis) + Duration::from_micros(300);
        assert_eq!(text_of(duration), text);
    }
}
