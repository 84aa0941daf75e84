//! A runner's connection: serves one case (or deploy entry) from its start to its verdict.
//!
//! The lease ends with the runner's process, not with its connection: a forked daemon may keep the connection open.

mod by_runner;
mod events;

use std::{
    io,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use rustix::process::Pid;
use target_fixtures::{
    metadata::Reuse,
    wire::{Exit, Failure, FailureKind, Reply, StartRequest},
};
use tokio::sync::Mutex;

use super::{
    Server,
    active_lease::ActiveLease,
    artifacts,
    case_table::{LeasingCase, Runnable, TestStart},
    connection::{ClientConnection, failure_of, request_failure},
    tear_down::Maker,
};
use crate::{
    case::{
        CaseInfo,
        reason::SkipReason,
        verdict::{Evidence, Verdict, judge},
    },
    error::one_line,
    execute::{Executor, Launch, Launcher},
    process::Watch,
    provision::{InstanceSet, LeaseEnd, Need, Request, Requester, Want},
    run_event::{Attempt, AttemptResult, RunEventKind},
};
use by_runner::ByRunner;

/// Returns the attempt that a runner asks for.
fn attempt_of(start: &StartRequest, case: &Arc<CaseInfo>) -> Attempt {
    Attempt {
        case: Arc::clone(case),
        stress_index: start.stress_index,
        number: start.attempt,
    }
}

/// True if nextest makes no further attempt.
fn is_last(start: &StartRequest) -> bool {
    start.attempt >= start.attempts
}

impl Server {
    /// Serves one runner.
    pub(super) async fn serve_runner(
        self: &Arc<Self>,
        executor: &dyn Executor,
        connection: &mut ClientConnection,
        pid: u32,
        start: StartRequest,
    ) -> io::Result<()> {
        match self.setup.table.get(Path::new(&start.binary), &start.name) {
            Some(Runnable::OnHost { info, start: test }) => {
                self.run_on_host(connection, (test, &start.binary), attempt_of(&start, info))
                    .await
            }
            Some(Runnable::Deploy {
                info,
                instance_set,
                index,
            }) => {
                let attempt = attempt_of(&start, info);
                self.show_deploy(connection, instance_set, *index, attempt)
                    .await
            }
            Some(Runnable::Case(case)) => {
                let key = case.key();
                // A case may run again, for example in a stress run.
                let (count, spends) = (case.count, case.reuse == Reuse::No);
                case.instance_set.expect(key, Need { count, spends });
                let ran = self
                    .run_case(executor, connection, pid, (case, &start))
                    .await;
                if !ran.as_ref().is_ok_and(|tried_again| *tried_again) {
                    case.instance_set.done(key);
                    self.let_go(&case.instance_set);
                }
                ran.map(|_| ())
            }
            None => {
                let failure =
                    request_failure(format!("`{}` is not a case of this run", start.name));
                connection.replies.send(&Reply::Refused(failure)).await
            }
        }
    }

    /// Shows the result of a deploy. The deploy continues if the runner leaves.
    async fn show_deploy(
        &self,
        connection: &mut ClientConnection,
        set: &Arc<InstanceSet>,
        index: usize,
        attempt: Attempt,
    ) -> io::Result<()> {
        let (started, instance) = (Instant::now(), set.wanted[index].instance());
        let made = tokio::select! {
            made = self.setup.pool.ready(set, index) => {
                Some(made.map_err(|error| failure_of(&error)))
            }
            _ = connection.requests.recv() => match self.setup.pool.is_cancelled() {
                true => Some(Err(self.gave_up(&instance))),
                false => None,
            },
        };
        let (text, code, verdict) = match made {
            Some(Ok(supplied)) => (format!("{}\n", supplied.story), 0, Verdict::Pass),
            // A limit of the user's: only the entry ends.
            None => {
                let reason = SkipReason::EntryEnded(started.elapsed());
                (format!("skip: {reason}\n"), 0, Verdict::Skip(reason))
            }
            Some(Err(failure)) => {
                let verdict = Verdict::of_deploy(&failure);
                (block(&failure), verdict.exit_code().into(), verdict)
            }
        };
        self.setup.sink.emit(RunEventKind::DeployShown {
            attempt,
            instance,
            took: started.elapsed(),
            verdict: events::redacted(verdict),
        });
        connection.replies.send(&Reply::Print { text, code }).await
    }

    /// Runs a test that needs no instance. Its runner stays connected to notice the broker's end.
    async fn run_on_host(
        &self,
        connection: &mut ClientConnection,
        (test, binary): (&TestStart, &str),
        attempt: Attempt,
    ) -> io::Result<()> {
        let launcher = ByRunner {
            runner: Mutex::new(connection),
            has_launched: AtomicBool::new(false),
            expect_fail: &test.expect_fail,
            orchestrates: None,
            on_start: &|| events::attempt_started(&self.setup.sink, &attempt, &[]),
        };
        let running = self.on_host.add(&attempt);
        let mut command = test.command(Path::new(binary));
        command.envs(self.setup.place.variables_on_host(binary, &running.id));
        let launch = Launch {
            limit: test.timeout,
            ..command.into()
        };
        let ended = launcher.launch(launch).await.unwrap_or_default();
        let evidence = Evidence {
            expect_fail: &test.expect_fail,
            ..ended.evidence()
        };
        let expected = evidence.expected().map(|one| one.reason.clone());
        let result = AttemptResult {
            took: ended.took,
            expected,
            exit: ended.exit.clone(),
            timed_out: test.timeout.filter(|_| ended.timed_out),
            ..AttemptResult::new(judge(&evidence))
        };
        let told = tell(connection, &result).await;
        events::attempt_ended(&self.setup.sink, attempt, result);
        told
    }

    /// Runs a case from the wait for its lease to the end of the lease. Returns true if nextest will try again.
    async fn run_case(
        self: &Arc<Self>,
        executor: &dyn Executor,
        connection: &mut ClientConnection,
        pid: u32,
        (case, start): (&LeasingCase, &StartRequest),
    ) -> io::Result<bool> {
        let asked = Instant::now();
        // Watched from the start, so that the pid cannot be reused unnoticed.
        let runner = Pid::from_raw(pid.cast_signed()).map(Watch::new);
        let (request, maker) = request(pid, case, start);
        let attempt = attempt_of(start, &case.info);
        self.setup.sink.emit(RunEventKind::LeaseWaiting {
            attempt: attempt.clone(),
        });
        let set = &case.instance_set;
        let leased = self.lease(connection, set, request, maker).await;
        let waited = asked.elapsed();
        let (result, replied, leased) = match leased {
            Ok(held) => {
                self.setup.sink.emit(RunEventKind::LeaseGranted {
                    lease: held.id.clone(),
                    attempt: attempt.clone(),
                    instances: held.names(),
                    waited,
                });
                held.granted_to(attempt.clone());
                case.orchestration
                    .iter()
                    .for_each(|plan| held.orchestrates(plan));
                // Before the test starts: a build takes long.
                held.build(&case.programs).await;
                let result = self
                    .run_leased(executor, connection, case, &attempt, &held)
                    .await;
                held.lease.judged(&result.verdict);
                if self.setup.place.keeps_failed && is_last(start) && result.verdict.is_failure() {
                    held.lease.keep_machines();
                }
                (result, Ok(()), Some(held))
            }
            Err(failure) => {
                let verdict = refusal(&failure);
                let told = self.setup.table.shortened(set, &failure);
                let replied = refuse(connection, failure, told).await;
                (AttemptResult::new(verdict), replied, None)
            }
        };
        let (again, end) = (
            !result.verdict.is_final() && !is_last(start),
            lease_end(&result),
        );
        let was_killed = matches!(result.exit, Some(Exit::Signal(_)));
        let folder = result.artifacts.clone();
        let wanted = case.artifacts.after(&result.verdict);
        let result = AttemptResult { waited, ..result };
        events::attempt_ended(&self.setup.sink, attempt.clone(), result);
        if let Some(held) = leased {
            if was_killed {
                // Its own `ssh` may have left processes running.
                held.begin();
            }
            // The verdict is out: from here on, only the next lease of the instances waits.
            if let Some(runner) = runner {
                runner.gone().await;
            }
            if let Some(folder) = folder {
                let collected = artifacts::collect(&held, &wanted, &folder).await;
                self.setup.sink.emit(RunEventKind::Collected {
                    attempt,
                    folder,
                    artifacts: collected,
                });
            }
            self.give_back(case, start, held, end).await;
        }
        replied.map(|()| again)
    }

    /// Runs a case on its lease, and tells the runner the verdict.
    async fn run_leased(
        &self,
        executor: &dyn Executor,
        connection: &mut ClientConnection,
        case: &LeasingCase,
        attempt: &Attempt,
        held: &ActiveLease,
    ) -> AttemptResult {
        let instances = held.names();
        let launcher = ByRunner {
            runner: Mutex::new(connection),
            has_launched: AtomicBool::new(false),
            expect_fail: &case.start.expect_fail,
            orchestrates: case.orchestration.is_some().then_some(held),
            on_start: &|| events::attempt_started(&self.setup.sink, attempt, &instances),
        };
        let mut result = executor
            .run(attempt, &held.lease, &launcher, &self.setup.sink)
            .await;
        if self.setup.pool.is_cancelled() {
            // The user waits for the end of the run.
            result.artifacts = None;
        }
        if result.exit.is_none() && result.verdict == Verdict::Fail {
            let killed = match self.setup.pool.is_cancelled() {
                true => "interrupted: killed before it ended",
                false => "killed together with its runner",
            };
            result.message.get_or_insert_with(|| killed.to_owned());
        }
        // Fails if the runner was killed.
        let _ = match (launcher.has_launched.into_inner(), &result.verdict) {
            (false, Verdict::Infra(cause)) => {
                let failure = Failure::new(FailureKind::Infra, one_line(cause));
                connection.replies.send(&Reply::Refused(failure)).await
            }
            (false, Verdict::Skip(reason)) => {
                let text = format!("skip: {reason}\n");
                connection
                    .replies
                    .send(&Reply::Print { text, code: 0 })
                    .await
            }
            _ => tell(connection, &result).await,
        };
        AttemptResult {
            instances,
            ..result
        }
    }

    /// Ends the lease of a case whose runner has ended, or keeps the instances of a failed case for inspection.
    async fn give_back(
        self: &Arc<Self>,
        case: &LeasingCase,
        start: &StartRequest,
        held: Arc<ActiveLease>,
        end: LeaseEnd,
    ) {
        let end = match end {
            LeaseEnd::Failed if (case.fresh || case.retry_fresh) && !is_last(start) => {
                LeaseEnd::WantFresh
            }
            end => end,
        };
        // Before the instances are replaced: replacements may not be needed.
        if is_last(start) || end == LeaseEnd::Done {
            case.instance_set.done(case.key());
        }
        let failed = end == LeaseEnd::Failed && is_last(start) && case.start.expect_fail.is_empty();
        if failed && self.setup.place.holds_failed {
            let env = self
                .setup
                .place
                .variables(&start.binary, &case.full_name, &held);
            self.keep_failed(&start.name, env, held);
        } else {
            self.end(&held, end).await;
        }
    }
}

/// Tells the runner the verdict, so that it can end.
async fn tell(connection: &mut ClientConnection, result: &AttemptResult) -> io::Result<()> {
    let (verdict, reason) = result.verdict.to_wire();
    // A test that failed with exit code 0 has not told why.
    let untold = result.exit.as_ref().is_some_and(Exit::success);
    let message = result.message.clone().filter(|_| untold);
    let reason = reason.or_else(|| result.expected.clone()).or(message);
    let artifacts = result.artifacts.iter();
    let artifacts = artifacts.map(|folder| format!("artifacts: {}", folder.display()));
    let notes = result.findings.iter().cloned().chain(artifacts);
    let judged = Reply::Judged {
        verdict,
        reason,
        notes: notes.collect(),
    };
    connection.replies.send(&judged).await
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

/// Returns the lease request of a case, and the process that tears down its fixtures.
fn request(pid: u32, case: &LeasingCase, start: &StartRequest) -> (Request, Maker) {
    let want = Want {
        fresh: case.fresh || case.retry_fresh && start.attempt > 1,
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
        placed: None,
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
        _ => Verdict::of_deploy(failure),
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
        FailureKind::Crash => Reply::Print {
            text: block(&told),
            code: Verdict::of_deploy(&failure).exit_code().into(),
        },
        _ => Reply::Refused(told),
    };
    connection.replies.send(&reply).await
}

/// Returns the text of a failed deploy for the log of an entry.
fn block(failure: &Failure) -> String {
    let hint = failure
        .hint
        .as_ref()
        .map_or(String::new(), |hint| format!("hint: {hint}\n"));
    let verdict = match failure.kind {
        FailureKind::Crash => "crash",
        _ => "infra",
    };
    format!("\n{verdict}: {}\n{hint}", failure.message)
}
