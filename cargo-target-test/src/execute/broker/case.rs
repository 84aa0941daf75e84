//! A runner's connection: serves one case (or deploy entry) from its start to its verdict.
//!
//! The lease ends with the runner's process, not with its connection: a forked daemon may keep the connection open.

mod by_runner;
mod environment;
mod events;
mod report;

use std::{io, path::Path, sync::Arc, time::Instant};

use rustix::process::Pid;
use target_fixtures::{
    metadata::Reuse,
    wire::{BrokerRequest, Failure, FailureKind, Reply},
};
use tokio::sync::{Mutex, mpsc};

use super::{
    ActiveLease, Core, LeasingCase, Runnable, TestStart,
    connection::{ClientConnection, request_failure},
    fixtures::Maker,
    infra,
};
use crate::{
    case::{
        CaseInfo,
        reason::SkipReason,
        verdict::{EXIT_INFRA, Verdict},
    },
    execute::{Executor, Launch, Launcher},
    process::Watch,
    provision::{InstanceSet, LeaseEnd, Need, Notices, Request, Requester, Want},
    run_event::{Attempt, AttemptResult, RunEventKind},
};
use by_runner::ByRunner;
pub use environment::BrokerPlace;
pub(in crate::execute) use environment::environment;

/// The attempt that a runner asks for.
pub(super) struct Start {
    /// The test binary's path.
    pub(super) binary: String,
    /// The case or deploy entry.
    pub(super) name: String,
    /// nextest's attempt, from 1.
    pub(super) attempt: u32,
    /// True if nextest makes no further attempt.
    pub(super) last: bool,
    /// nextest's iteration of a stress run, from 0.
    pub(super) stress_index: Option<u32>,
}

impl Start {
    fn of(request: BrokerRequest) -> Option<Self> {
        match request {
            BrokerRequest::Start {
                binary,
                name,
                attempt,
                attempts,
                stress_index,
            } => Some(Self {
                binary,
                name,
                attempt,
                last: attempt >= attempts,
                stress_index,
            }),
            _ => None,
        }
    }

    fn attempt(&self, case: &Arc<CaseInfo>) -> Attempt {
        Attempt {
            case: Arc::clone(case),
            stress_index: self.stress_index,
            number: self.attempt,
        }
    }
}

/// Serves one runner.
pub(super) async fn serve(
    core: &Arc<Core>,
    executor: &dyn Executor,
    connection: &mut ClientConnection,
    pid: u32,
    request: BrokerRequest,
) -> io::Result<()> {
    let Some(start) = Start::of(request) else {
        return Ok(());
    };
    match core.names.get(Path::new(&start.binary), &start.name) {
        Some(Runnable::OnHost { info, start: test }) => {
            run_on_host(core, connection, (test, &start.binary), start.attempt(info)).await
        }
        Some(Runnable::Deploy {
            info,
            instance_set,
            index,
        }) => {
            show_deploy(
                core,
                connection,
                (instance_set, *index),
                start.attempt(info),
            )
            .await
        }
        Some(Runnable::Case(case)) => {
            let key = (case.info.binary_id.as_str(), case.info.name.as_str());
            // A case may run again, for example in a stress run.
            let (count, spends) = (case.count, case.reuse == Reuse::No);
            case.instance_set.expect(key, Need { count, spends });
            let ran = run_case((core, executor), connection, pid, case, &start).await;
            if !ran.as_ref().is_ok_and(|tried_again| *tried_again) {
                case.instance_set.done(key);
                core.let_go(&case.instance_set);
            }
            ran.map(|_| ())
        }
        None => {
            let failure = request_failure(format!("`{}` is not a case of this run", start.name));
            connection.replies.send(&Reply::Refused(failure)).await
        }
    }
}

/// Shows the result of a deploy. The deploy continues if the runner leaves.
async fn show_deploy(
    core: &Arc<Core>,
    connection: &mut ClientConnection,
    (instance_set, index): (&Arc<InstanceSet>, usize),
    attempt: Attempt,
) -> io::Result<()> {
    let (started, instance) = (Instant::now(), instance_set.wanted[index].instance());
    let made = tokio::select! {
        made = core.provisioner.ready(instance_set, index) => made.map_err(|error| infra(&error)),
        _ = connection.requests.recv() => Err(gave_up(core, started, &instance)),
    };
    let (text, code, verdict) = match made {
        Ok(supplied) => (format!("{}\n", supplied.story), 0, Verdict::Pass),
        Err(failure) => (
            infra_block(&failure),
            EXIT_INFRA.into(),
            Verdict::Infra(failure.message),
        ),
    };
    core.sink.emit(RunEventKind::DeployShown {
        attempt,
        instance,
        took: started.elapsed(),
        verdict: events::redacted(verdict),
    });
    connection.replies.send(&Reply::Print { text, code }).await
}

/// Runs a test that needs no instance. Its runner stays connected to notice the broker's end.
async fn run_on_host(
    core: &Core,
    connection: &mut ClientConnection,
    (test, binary): (&TestStart, &str),
    attempt: Attempt,
) -> io::Result<()> {
    let launcher = ByRunner {
        runner: Mutex::new(connection),
        expect_fail: test.expect_fail.as_deref(),
        on_start: &|| core.attempt_started(&attempt, &[]),
    };
    let launch = Launch {
        limit: test.timeout,
        ..test.command(Path::new(binary)).into()
    };
    let ended = launcher.launch(launch).await.unwrap_or_default();
    let verdict = ended.verdict(test.expect_fail.as_deref(), None, None);
    let told = tell(connection, &verdict).await;
    let result = AttemptResult {
        took: ended.took,
        expected: test.expect_fail.clone(),
        exit: ended.exit,
        ..AttemptResult::new(verdict)
    };
    core.attempt_ended(attempt, result);
    told
}

/// Tells the runner the verdict, so that it can end.
async fn tell(connection: &mut ClientConnection, verdict: &Verdict) -> io::Result<()> {
    let (verdict, reason) = verdict.to_wire();
    let judged = Reply::Judged { verdict, reason };
    connection.replies.send(&judged).await
}

/// Returns true if nextest will try again.
async fn run_case(
    (core, executor): (&Arc<Core>, &dyn Executor),
    connection: &mut ClientConnection,
    pid: u32,
    case: &LeasingCase,
    start: &Start,
) -> io::Result<bool> {
    let asked = Instant::now();
    // Watched from the start, so that the pid cannot be reused unnoticed.
    let runner = Pid::from_raw(pid.cast_signed()).map(Watch::new);
    let (request, maker) = request(pid, case, start);
    let attempt = start.attempt(&case.info);
    core.sink.emit(RunEventKind::LeaseWaiting {
        attempt: attempt.clone(),
    });
    let held = wait_for_lease(core, connection, &case.instance_set, request, maker).await;
    let waited = asked.elapsed();
    let again = |verdict: &Verdict| !verdict.is_final() && !start.last;
    let held = match held {
        Ok(held) => held,
        Err(failure) => {
            let told = core.told(&case.instance_set, &failure);
            let result = AttemptResult {
                waited,
                ..AttemptResult::new(refusal(&failure))
            };
            let again = again(&result.verdict);
            let replied = refuse(connection, failure, told).await;
            core.attempt_ended(attempt, result);
            return replied.map(|()| again);
        }
    };
    let granted = Instant::now();
    core.lease_granted(&attempt, &held, waited);
    let instances = names(&held);
    let launcher = ByRunner {
        runner: Mutex::new(connection),
        expect_fail: case.start.expect_fail.as_deref(),
        on_start: &|| core.attempt_started(&attempt, &instances),
    };
    let result = executor
        .run(&attempt, held.lease(), &launcher, &core.sink)
        .await;
    // Fails if the runner was killed.
    let _ = tell(connection, &result.verdict).await;
    let end = lease_end(&result);
    let again = again(&result.verdict);
    let result = AttemptResult {
        waited,
        instances,
        ..result
    };
    core.attempt_ended(attempt, result);
    // The verdict is out: from here on, only the next lease of the instances waits.
    if let Some(runner) = runner {
        runner.gone().await;
    }
    give_back(core, case, start, held, end, granted).await;
    Ok(again)
}

/// Returns the way in which the lease of an attempt ends.
fn lease_end(result: &AttemptResult) -> LeaseEnd {
    match &result.exit {
        Some(exit) if exit.success() => LeaseEnd::Done,
        Some(_) => LeaseEnd::Failed,
        None if result.verdict.is_final() => LeaseEnd::Done,
        None => LeaseEnd::Abandoned,
    }
}

/// Ends the lease of a case whose runner has ended.
async fn give_back(
    core: &Arc<Core>,
    case: &LeasingCase,
    start: &Start,
    held: Arc<ActiveLease>,
    end: LeaseEnd,
    granted: Instant,
) {
    let end = match end {
        LeaseEnd::Failed if case.retry_fresh && !start.last => LeaseEnd::WantFresh,
        end => end,
    };
    // Before the instances are replaced: replacements may not be needed.
    if start.last || end == LeaseEnd::Done {
        let key = (case.info.binary_id.as_str(), case.info.name.as_str());
        case.instance_set.done(key);
    }
    if core.stays(case, start, end) {
        core.keep_failed(case, start, held);
        return;
    }
    core.end_lease(&held, end).await;
    core.lease_ended(held.id.clone(), names(&held), granted.elapsed());
}

/// Returns the names of a lease's instances.
fn names(held: &ActiveLease) -> Vec<String> {
    let instances = held.instances.iter();
    instances.map(|instance| instance.name.clone()).collect()
}

/// Returns the lease request of a case, and the process that tears down its fixtures.
fn request(pid: u32, case: &LeasingCase, start: &Start) -> (Request, Maker) {
    let want = Want {
        fresh: case.retry_fresh && start.attempt > 1,
        ..case.want()
    };
    let request = Request {
        wants: vec![want],
        requester: Requester {
            pid,
            ..Requester::this_process(&start.name)
        },
        after: case.after(),
        ..Request::default()
    };
    let maker = Maker {
        binary: start.binary.clone(),
        prefix: case.start.prefix.clone(),
        test: case.start.test.clone(),
        full_name: case.full_name.clone(),
        again: start.attempt > 1,
    };
    (request, maker)
}

/// Returns the verdict of a case that gets no instance. The case is skipped if no instance meets its needs.
fn refusal(failure: &Failure) -> Verdict {
    match failure.kind {
        FailureKind::Skip => Verdict::Skip(SkipReason::Instances(failure.message.clone())),
        _ => Verdict::Infra(failure.message.clone()),
    }
}

/// Replies to the runner of a case that gets no instance; `told` is the failure as the case's log shows it.
async fn refuse(
    connection: &mut ClientConnection,
    failure: Failure,
    told: Failure,
) -> io::Result<()> {
    let reply = match failure.kind {
        FailureKind::Skip => Reply::Print {
            text: format!("skip: {}\n", failure.message),
            code: 0,
        },
        _ => Reply::Refused(told),
    };
    connection.replies.send(&reply).await
}

/// Waits for a lease and passes notices to the client. If nextest's time limit ends the runner, the runner closes its
/// connection; the verdict is then infra, because the test never ran.
pub(super) async fn wait_for_lease(
    core: &Arc<Core>,
    connection: &mut ClientConnection,
    set: &Arc<InstanceSet>,
    request: Request,
    maker: Maker,
) -> Result<Arc<ActiveLease>, Failure> {
    let (send, mut notes) = mpsc::unbounded_channel();
    let started = Instant::now();
    let says = Arc::clone(core);
    let notices = Notices::new(move |notice| {
        says.waiting(notice);
        let _ = send.send(notice.text.clone());
    });
    let lease = core.lease(set, Request { notices, ..request }, maker);
    tokio::pin!(lease);
    let ClientConnection {
        requests, replies, ..
    } = connection;
    loop {
        tokio::select! {
            held = &mut lease => return held.map_err(|error| infra(&error)),
            Some(text) = notes.recv() => { let _ = replies.send(&Reply::Note { text }).await; }
            _ = requests.recv() => return Err(gave_up(core, started, set.target())),
        }
    }
}

/// Returns the reason a runner stopped waiting: nextest's time limit or the end of the run.
fn gave_up(core: &Core, started: Instant, what: &str) -> Failure {
    let message = match core.provisioner.is_cancelled() {
        true => "the run was interrupted".to_owned(),
        false => {
            let waited = started.elapsed().as_secs_f32();
            format!("waited {waited:.1} s for `{what}`")
        }
    };
    Failure {
        kind: FailureKind::Infra,
        message,
        hint: None,
    }
}

fn infra_block(failure: &Failure) -> String {
    let hint = failure
        .hint
        .as_ref()
        .map_or(String::new(), |hint| format!("hint: {hint}\n"));
    format!("\ninfra: {}\n{hint}", failure.message)
}
