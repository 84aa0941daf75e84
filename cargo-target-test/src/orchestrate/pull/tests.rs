//! Runs on wrapped and on fake machines.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Barrier;

use super::*;
use crate::{
    connect::Reach,
    provision::{Machine, Wrapped},
    run_event::CleanUp,
};

/// Wrapped machines that record the requests.
struct FakeProvisioner {
    machines: Wrapped,
    wants: Mutex<Vec<(String, bool)>>,
    /// True if fresh machines are available.
    makes_fresh: bool,
    finished: AtomicUsize,
}

impl FakeProvisioner {
    fn new(names: &[&str]) -> Arc<Self> {
        let machine = |name: &&str| Machine::wrap(name, &Reach::local(std::env::temp_dir()));
        Arc::new(Self {
            machines: Wrapped::new(names.iter().map(machine)),
            wants: Mutex::default(),
            makes_fresh: true,
            finished: AtomicUsize::new(0),
        })
    }
}

impl Provisioner for FakeProvisioner {
    fn acquire(&self, mut request: Request) -> BoxFuture<'_, Result<Lease>> {
        let want = &mut request.wants[0];
        self.wants
            .lock()
            .unwrap()
            .push((want.target.clone(), want.fresh));
        want.fresh &= !self.makes_fresh;
        self.machines.acquire(request)
    }

    fn finish(&self, keep: bool) -> BoxFuture<'_, Result<CleanUp>> {
        self.finished.fetch_add(1, Ordering::Relaxed);
        self.machines.finish(keep)
    }
}

/// Gives each attempt the verdict of a function.
struct FakeExecutor<F>(F);

impl<F: Fn(&str) -> BoxFuture<'static, Verdict> + Send + Sync> Executor for FakeExecutor<F> {
    fn run<'a>(
        &'a self,
        attempt: &'a Attempt,
        _lease: &'a Lease,
        _launcher: &'a dyn Launcher,
        _sink: &'a Sink,
    ) -> BoxFuture<'a, AttemptResult> {
        let verdict = self.0(&attempt.case.name);
        Box::pin(async { AttemptResult::new(verdict.await) })
    }
}

fn always(verdict: impl Fn(&str) -> Verdict + Send + Sync + 'static) -> Arc<dyn Executor> {
    Arc::new(FakeExecutor(
        move |name: &str| -> BoxFuture<'static, Verdict> {
            Box::pin(std::future::ready(verdict(name)))
        },
    ))
}

fn case(name: &str, target: Option<&str>) -> Arc<CaseInfo> {
    let runs_on = target.map_or(RunsOn::Any, |name| RunsOn::Target {
        name: name.into(),
        label: name.into(),
    });
    Arc::new(CaseInfo::new("fake", name, runs_on, None, None))
}

/// Runs cases; returns the result, and the events in short.
async fn run(
    pull: Pull,
    cases: &[Arc<CaseInfo>],
    machines: &Arc<FakeProvisioner>,
    executor: Arc<dyn Executor>,
) -> (RunResult, Vec<String>) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let sink = Sink::new(move |kind| heard.lock().unwrap().push(brief(&kind)));
    let machines = Arc::clone(machines);
    let result = pull.run(cases, machines, executor, &sink).await.unwrap();
    let events = events.lock().unwrap().clone();
    (result, events)
}

fn brief(kind: &RunEventKind) -> String {
    let of = |attempt: &Attempt| format!("{} {}", attempt.case.name, attempt.number);
    match kind {
        RunEventKind::RunStarted { cases, .. } => format!("run of {cases}"),
        RunEventKind::Planned { case } => format!("planned {}", case.name),
        RunEventKind::LeaseWaiting { attempt } => format!("waiting {}", of(attempt)),
        RunEventKind::LeaseGranted {
            attempt, instances, ..
        } => {
            format!("granted {} {}", of(attempt), instances.join(","))
        }
        RunEventKind::AttemptStarted { attempt, .. } => format!("started {}", of(attempt)),
        RunEventKind::AttemptEnded { attempt, result } => {
            let verdict = format!("{:?}", result.verdict);
            let verdict = verdict.split('(').next().unwrap().to_lowercase();
            format!("{verdict} {}", of(attempt))
        }
        RunEventKind::LeaseEnded { instances, .. } => format!("returned {}", instances.join(",")),
        RunEventKind::CleanedUp(_) => "cleaned up".to_owned(),
        RunEventKind::RunEnded { exit_code, .. } => format!("ended {exit_code}"),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn events_come_in_order() {
    let machines = FakeProvisioner::new(&["a"]);
    let cases = [case("one", None)];
    let (result, events) = run(
        Pull::default(),
        &cases,
        &machines,
        always(|_| Verdict::Pass),
    )
    .await;
    assert_eq!((result.passed, result.exit_code()), (1, 0));
    assert_eq!(
        events,
        [
            "run of 1",
            "planned one",
            "waiting one 1",
            "granted one 1 a",
            "started one 1",
            "pass one 1",
            "returned a",
            "cleaned up",
            "ended 0",
        ]
    );
    assert_eq!(machines.finished.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn whatever_machine_is_free_takes_the_next_case() {
    let machines = FakeProvisioner::new(&["a", "b"]);
    let cases: Vec<_> = ["1", "2", "3", "4"].map(|name| case(name, None)).into();
    // Two cases run at a time, or the test would never end.
    let barrier = Arc::new(Barrier::new(2));
    let executor = FakeExecutor(move |_: &str| -> BoxFuture<'static, Verdict> {
        let barrier = Arc::clone(&barrier);
        Box::pin(async move {
            barrier.wait().await;
            Verdict::Pass
        })
    });
    let (result, events) = run(Pull::default(), &cases, &machines, Arc::new(executor)).await;
    assert_eq!(result.passed, 4);
    for machine in ["a", "b"] {
        let returned = format!("returned {machine}");
        assert!(events.contains(&returned), "{events:?}");
    }
}

#[tokio::test]
async fn a_busy_target_does_not_hold_up_another() {
    let machines = FakeProvisioner::new(&["a", "b"]);
    let cases = [
        case("1", Some("a")),
        case("2", Some("a")),
        case("3", Some("b")),
    ];
    // The first case ends after the case of the other machine.
    let (done, _) = watch::channel(false);
    let executor = FakeExecutor(move |name: &str| -> BoxFuture<'static, Verdict> {
        let (name, done) = (name.to_owned(), done.clone());
        Box::pin(async move {
            if name == "3[b]" {
                done.send_replace(true);
            }
            let _ = done.subscribe().wait_for(|done| *done).await;
            Verdict::Pass
        })
    });
    let (result, _) = run(Pull::default(), &cases, &machines, Arc::new(executor)).await;
    assert_eq!(result.passed, 3);
}

#[tokio::test]
async fn a_retry_gets_a_fresh_machine() {
    let machines = FakeProvisioner::new(&["a"]);
    let tried = AtomicUsize::new(0);
    let executor = always(move |name| match name {
        "flaky" if tried.fetch_add(1, Ordering::Relaxed) == 0 => Verdict::Fail,
        "broken" => Verdict::Crash("panic".to_owned()),
        _ => Verdict::Pass,
    });
    let cases = ["fine", "flaky", "broken"].map(|name| case(name, None));
    let (result, events) = run(Pull::default().retries(1), &cases, &machines, executor).await;
    assert_eq!(
        (result.passed, result.failed, result.exit_code()),
        (2, 1, 100)
    );
    let ended: Vec<_> = events
        .iter()
        .filter(|event| {
            ["pass", "fail", "crash"]
                .iter()
                .any(|verdict| event.starts_with(verdict))
        })
        .collect();
    assert_eq!(ended.len(), 5, "{events:?}");
    let wants = machines.wants.lock().unwrap();
    assert_eq!(
        wants.iter().filter(|(_, fresh)| *fresh).count(),
        2,
        "{wants:?}"
    );
}

#[tokio::test]
async fn where_none_is_fresh_any_machine_will_do() {
    let mut machines = FakeProvisioner::new(&["a"]);
    Arc::get_mut(&mut machines).unwrap().makes_fresh = false;
    let cases = [case("broken", None)];
    let (result, events) = run(
        Pull::default().retries(2),
        &cases,
        &machines,
        always(|_| Verdict::Fail),
    )
    .await;
    assert_eq!((result.failed, result.exit_code()), (1, 100));
    assert!(events.contains(&"fail broken 3".to_owned()), "{events:?}");
}

#[tokio::test]
async fn an_executor_that_panics_is_infra_and_the_run_goes_on() {
    let machines = FakeProvisioner::new(&["a"]);
    let executor = always(|name| match name {
        "bad" => panic!("on purpose"),
        _ => Verdict::Pass,
    });
    let cases = ["bad", "good"].map(|name| case(name, None));
    let (result, events) = run(Pull::default(), &cases, &machines, executor).await;
    assert_eq!(
        (result.passed, result.infra, result.exit_code()),
        (1, 1, 69)
    );
    assert!(events.contains(&"infra bad 1".to_owned()), "{events:?}");
}

#[tokio::test]
async fn a_case_without_a_fitting_machine_is_skipped() {
    let machines = FakeProvisioner::new(&["a"]);
    let cases = [case("1", Some("none")), case("2", Some("a"))];
    let (result, _) = run(
        Pull::default(),
        &cases,
        &machines,
        always(|_| Verdict::Pass),
    )
    .await;
    assert_eq!(
        (result.passed, result.skipped, result.exit_code()),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn a_case_of_the_host_is_refused() {
    let cases = [Arc::new(CaseInfo::on_host("fake", "one"))];
    let (machines, executor) = (FakeProvisioner::new(&["a"]), always(|_| Verdict::Pass));
    let (pull, sink) = (Pull::default(), Sink::discard());
    let ran = pull.run(&cases, machines, executor, &sink).await;
    assert_eq!(ran.unwrap_err().kind(), ErrorKind::Usage);
}
