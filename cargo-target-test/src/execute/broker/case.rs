//! A runner's connection: serves one case (or deploy entry) from its start to its verdict.
//!
//! The lease ends with the runner's process, not with its connection: a forked daemon may keep the connection open.

mod environment;
mod events;
mod report;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::Pid;
use target_fixtures::{
    metadata::Reuse,
    wire::{BrokerRequest, Failure, FailureKind, Reply, Run},
};
use tokio::sync::mpsc;

use super::{
    ActiveLease, Core, LeasingCase, Runnable,
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
    process::Watch,
    provision::{InstanceSet, LeaseEnd, Need, Notices, Request, Requester, Want},
    run_event::{Attempt, AttemptResult, RunEventKind},
    secret,
};
pub(super) use environment::environment;
use report::{RunnerReport, output_files, report, report_unless_lost};

/// The limit for the instances of a case that did not pass to answer, before the verdict.
const DECISION: Duration = Duration::from_secs(5);

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
    connection: &mut ClientConnection,
    pid: u32,
    request: BrokerRequest,
) -> io::Result<()> {
    let Some(start) = Start::of(request) else {
        return Ok(());
    };
    match core.names.get(Path::new(&start.binary), &start.name) {
        Some(Runnable::OnHost { info, run }) => {
            run_on_host(core, connection, run, start.attempt(info)).await
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
            let ran = run_case(core, connection, pid, case, &start).await;
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
    run: &Run,
    attempt: Attempt,
) -> io::Result<()> {
    let told = Reply::Run(Box::new(run.clone()));
    connection.replies.send(&told).await?;
    let started = || core.attempt_started(&attempt, &[]);
    let report = report(&mut connection.requests, started).await;
    let verdict = report.judge(run.expect_fail.as_deref(), None, None);
    let told = tell(connection, &verdict).await;
    let result = AttemptResult {
        took: report.took,
        expected: run.expect_fail.clone(),
        exit: report.exit,
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
    core: &Arc<Core>,
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
    let (end, result) = run_leased(core, connection, case, start, &held).await;
    let again = again(&result.verdict);
    core.attempt_ended(attempt, AttemptResult { waited, ..result });
    // The verdict is out: from here on, only the next lease of the instances waits.
    if let Some(runner) = runner {
        runner.gone().await;
    }
    give_back(core, case, start, held, end, granted).await;
    Ok(again)
}

/// Runs a case on its lease, and tells the runner the verdict. Returns the way in which the lease ends, and the result.
async fn run_leased(
    core: &Arc<Core>,
    connection: &mut ClientConnection,
    case: &LeasingCase,
    start: &Start,
    held: &ActiveLease,
) -> (LeaseEnd, AttemptResult) {
    let output = core.output_of(&start.attempt(&case.info));
    let report = run_on(core, connection, case, (start, output.clone()), held).await;
    let lost = match report.succeeded() && case.run.expect_fail.is_none() {
        true => None,
        false => held.find_loss(DECISION).await,
    };
    if lost.is_some() {
        // Now: a lost instance may be deleted soon after its lease.
        held.machines()
            .for_each(|machine| machine.emit_console(&core.sink));
    }
    let expect_fail = case.run.expect_fail.as_deref();
    let verdict = report.judge(expect_fail, held.skipped().as_deref(), lost.as_deref());
    // A runner that was killed does not hear it.
    let _ = tell(connection, &verdict).await;
    let (expected, fixtures) = held.said();
    let [stdout, stderr] = output_files(output.as_deref());
    let result = AttemptResult {
        instances: names(held),
        took: report.took,
        fixtures: fixtures.min(report.took),
        expected: case.run.expect_fail.clone().or(expected),
        exit: report.exit.clone(),
        stdout,
        stderr,
        ..AttemptResult::new(verdict)
    };
    (report.lease_end(), result)
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
        prefix: case.run.prefix.clone(),
        test: case.run.test.clone(),
        full_name: case.full_name.clone(),
        again: start.attempt > 1,
    };
    (request, maker)
}

/// Lets the runner run the test on the instances of a lease. Returns the runner's report.
async fn run_on(
    core: &Arc<Core>,
    connection: &mut ClientConnection,
    case: &LeasingCase,
    (start, output): (&Start, Option<PathBuf>),
    held: &ActiveLease,
) -> RunnerReport {
    let run = Run {
        env: environment(core, (&start.binary, &case.full_name), held),
        lease: Some(held.id.clone()),
        secrets: secret::registered(),
        output,
        ..case.run.clone()
    };
    let told = connection.replies.send(&Reply::Run(Box::new(run))).await;
    let instances = names(held);
    let started = || core.attempt_started(&start.attempt(&case.info), &instances);
    match told {
        Ok(()) => report_unless_lost(connection, held, started).await,
        Err(_) => RunnerReport::default(),
    }
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
