//! The orchestrator in which a free machine takes the next case, and failed cases are retried. Must not know how a case
//! is run.

mod queue;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
};

use self::queue::{Queue, QueuePlace};
use super::{Orchestrator, RunResult};
use crate::{
    aggregate::{overruled::not_run, tally::Tally},
    case::{
        CaseInfo, RunsOn,
        reason::{NotRunReason, SkipReason},
        verdict::{Evidence, Verdict, judge},
    },
    error::{Error, ErrorKind, Result},
    execute::{Executor, Launcher, LocalLauncher, clean_up::signals::Signals},
    provision::{
        BoxFuture, Lease, LeaseEnd, Notices, Provisioner, Request, Requester, RunInfo, Want,
    },
    run_event::{Attempt, AttemptResult, RunEventKind, Sink},
    sync,
};

/// Runs each case on the first machine that is free, on as many machines at once as the provisioner grants. No case is
/// assigned to a machine in advance. An interrupt ends the run: running cases are stopped, and the provisioner is
/// finished. See [`Orchestrator`] for an example.
#[derive(Clone)]
pub struct Pull {
    retries: u32,
    keep: bool,
    launcher: Arc<dyn Launcher>,
}

impl Default for Pull {
    /// Without retries; instances are deleted at the end.
    fn default() -> Self {
        Self {
            retries: 0,
            keep: false,
            launcher: Arc::new(LocalLauncher),
        }
    }
}

impl Pull {
    /// Retries a case that did not pass up to `retries` times, each time on a machine that no test has used. If the
    /// provisioner cannot provide such a machine, any machine is used.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Keeps the instances for a later run if `keep` is true.
    #[must_use]
    pub fn keep(mut self, keep: bool) -> Self {
        self.keep = keep;
        self
    }

    /// Starts processes of this host by `launcher` instead of [`LocalLauncher`].
    #[must_use]
    pub fn launcher(mut self, launcher: impl Launcher + 'static) -> Self {
        self.launcher = Arc::new(launcher);
        self
    }
}

impl Orchestrator for Pull {
    fn run<'a>(
        &'a self,
        cases: &'a [Arc<CaseInfo>],
        provisioner: Arc<dyn Provisioner>,
        executor: Arc<dyn Executor>,
        sink: &'a Sink,
    ) -> BoxFuture<'a, Result<RunResult>> {
        Box::pin(async move {
            refuse_host_cases(cases)?;
            let tally = Arc::new(Mutex::new(Tally::default()));
            let sink = &Tally::counted(sink, &tally);
            sink.emit(RunEventKind::RunStarted {
                run: RunInfo::new_id(),
                tool: env!("CARGO_PKG_VERSION").to_owned(),
                workspace: std::env::current_dir()?,
                playbook: None,
                cases: cases.len(),
                on_host: 0,
                origin: Box::default(),
            });
            for case in cases.iter().map(Arc::clone) {
                sink.emit(RunEventKind::Planned { case });
            }
            let mut signals = Signals::catch()?;
            let pulling = Pulling::new(self, &provisioner, executor, sink);
            let mut result = pulling.run(cases, &mut signals).await;
            let finished = tokio::select! {
                report = provisioner.finish(self.keep) => report,
                () = interrupted_again(&mut signals, result.interrupted) => {
                    Err(Error::infra("interrupted: instances remain"))
                }
            };
            result.clean_up = finished?;
            // Without the lock, which the sink takes too.
            let tally = sync::lock(&tally).clone();
            let unseen = not_run(&tally, None, cases, &NotRunReason::Interrupted);
            unseen.into_iter().for_each(|event| sink.emit(event));
            sink.emit(RunEventKind::CleanedUp(result.clean_up.clone()));
            sink.emit(RunEventKind::RunEnded {
                exit_code: result.exit_code(),
                interrupted: result.interrupted,
            });
            Ok(result)
        })
    }
}

/// Fails for a case that runs on this host.
fn refuse_host_cases(cases: &[Arc<CaseInfo>]) -> Result<()> {
    let mut on_host = cases.iter().filter(|case| case.runs_on == RunsOn::Host);
    on_host.next().map_or(Ok(()), |case| {
        let message = format!("`{case}` runs on this host, not on a machine of a provisioner");
        Err(Error::usage(message))
    })
}

/// Waits until the user gives up the clean-up by a second interrupt.
async fn interrupted_again(signals: &mut Signals, interrupted: bool) {
    signals.next().await;
    if !interrupted {
        signals.next().await;
    }
}

/// An active run.
struct Pulling<'a> {
    pull: &'a Pull,
    shared: Shared,
    queue: Queue,
    steps: JoinSet<Step>,
    /// The attempt that each task works on.
    at_work: HashMap<Id, (QueuePlace, Attempt)>,
    stop: watch::Sender<bool>,
    result: RunResult,
}

/// The parts of a run that its tasks share.
#[derive(Clone)]
struct Shared {
    provisioner: Arc<dyn Provisioner>,
    executor: Arc<dyn Executor>,
    launcher: Arc<dyn Launcher>,
    sink: Sink,
    stopped: watch::Receiver<bool>,
}

/// The result of a task.
enum Step {
    Granted(Box<Lease>, Duration),
    Refused(Error, Duration),
    /// The run was interrupted before a machine was granted.
    Abandoned,
    Ended(Verdict),
}

impl<'a> Pulling<'a> {
    fn new(
        pull: &'a Pull,
        provisioner: &Arc<dyn Provisioner>,
        executor: Arc<dyn Executor>,
        sink: &Sink,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self {
            pull,
            shared: Shared {
                provisioner: Arc::clone(provisioner),
                executor,
                launcher: Arc::clone(&pull.launcher),
                sink: sink.clone(),
                stopped,
            },
            queue: Queue::default(),
            steps: JoinSet::new(),
            at_work: HashMap::new(),
            stop,
            result: RunResult::default(),
        }
    }

    async fn run(mut self, cases: &[Arc<CaseInfo>], signals: &mut Signals) -> RunResult {
        for case in cases {
            self.queue.push(Attempt::first(case));
        }
        loop {
            self.ask();
            tokio::select! {
                step = self.steps.join_next_with_id() => match step {
                    Some(step) => self.step(step),
                    None => return self.result,
                },
                _ = signals.next() => self.interrupt(),
            }
        }
    }

    /// Requests a machine for the next case of each lane.
    fn ask(&mut self) {
        while let Some((place, attempt)) = self.queue.next() {
            let shared = self.shared.clone();
            let task = shared.acquire(place.want.clone(), attempt.clone());
            self.begin(task, place, attempt);
        }
    }

    fn begin(
        &mut self,
        task: impl Future<Output = Step> + Send + 'static,
        place: QueuePlace,
        attempt: Attempt,
    ) {
        let task = self.steps.spawn(task);
        self.at_work.insert(task.id(), (place, attempt));
    }

    fn step(&mut self, step: Result<(Id, Step), JoinError>) {
        let id = step.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some((place, attempt)) = self.at_work.remove(&id) else {
            return;
        };
        match step {
            Ok((_, Step::Granted(lease, waited))) => {
                self.queue.asked(&place);
                let task = self.shared.clone().attempt(
                    *lease,
                    attempt.clone(),
                    waited,
                    attempt.number > self.pull.retries,
                );
                self.begin(task, place, attempt);
            }
            Ok((_, Step::Refused(error, waited))) => {
                self.queue.asked(&place);
                self.refused(attempt, &error, waited);
            }
            Ok((_, Step::Ended(verdict))) => self.ended(attempt, &verdict),
            Ok((_, Step::Abandoned)) => {}
            Err(error) if error.is_cancelled() => {}
            Err(_) => {
                self.queue.asked(&place);
                let verdict = Verdict::Infra("the executor or the provisioner panicked".to_owned());
                self.emit_end(&attempt, AttemptResult::new(verdict.clone()));
                self.ended(attempt, &verdict);
            }
        }
    }

    /// Handles a case without a machine, for which further attempts would fail too.
    fn refused(&mut self, attempt: Attempt, error: &Error, waited: Duration) {
        let verdict = match (error.kind(), attempt.number) {
            (ErrorKind::Unfit, 1) => Verdict::Skip(SkipReason::Instances(error.chain())),
            _ if error.is_crash() => Verdict::Crash(error.chain()),
            _ => Verdict::Infra(error.chain()),
        };
        let result = AttemptResult {
            waited,
            ..AttemptResult::new(verdict.clone())
        };
        self.emit_end(&attempt, result);
        self.result.count(&verdict);
    }

    fn ended(&mut self, attempt: Attempt, verdict: &Verdict) {
        let is_last = verdict.is_final() || attempt.number > self.pull.retries;
        if is_last || self.result.interrupted {
            self.result.count(verdict);
        } else {
            self.queue.push(Attempt {
                number: attempt.number + 1,
                ..attempt
            });
        }
    }

    fn emit_end(&self, attempt: &Attempt, result: AttemptResult) {
        self.shared.sink.emit(RunEventKind::AttemptEnded {
            attempt: attempt.clone(),
            result: Box::new(result),
        });
    }

    /// Stops running cases and starts no more. A second interrupt leaves the machines unchanged.
    fn interrupt(&mut self) {
        if self.result.interrupted {
            self.steps.abort_all();
        }
        self.result.interrupted = true;
        self.queue.clear();
        self.stop.send_replace(true);
    }
}

impl Shared {
    /// Waits for a machine.
    async fn acquire(mut self, want: Want, attempt: Attempt) -> Step {
        let began = Instant::now();
        self.sink.emit(RunEventKind::LeaseWaiting {
            attempt: attempt.clone(),
        });
        let sink = self.sink.clone();
        let mut request = Request {
            wants: vec![want],
            requester: Requester::this_process(&attempt.case.name),
            notices: Notices::new(move |notice| {
                let message = notice.text.clone();
                sink.emit(RunEventKind::Progress { message });
            }),
            ..Request::default()
        };
        let provisioner = Arc::clone(&self.provisioner);
        let acquire = async {
            match provisioner.acquire(request.clone()).await {
                Err(error) if error.kind() == ErrorKind::Unfit && request.wants[0].fresh => {
                    request.wants[0].fresh = false;
                    provisioner.acquire(request).await
                }
                answer => answer,
            }
        };
        let answer = tokio::select! {
            answer = acquire => answer,
            () = self.stop() => return Step::Abandoned,
        };
        match answer {
            Ok(lease) => Step::Granted(Box::new(lease), began.elapsed()),
            Err(error) => Step::Refused(error, began.elapsed()),
        }
    }

    /// Runs an attempt on its lease, and ends the lease.
    async fn attempt(
        mut self,
        lease: Lease,
        attempt: Attempt,
        waited: Duration,
        is_last: bool,
    ) -> Step {
        let (began, id) = (Instant::now(), lease.id().to_owned());
        let machines = lease.machines().iter();
        let instances: Vec<_> = machines.map(|one| one.name().to_owned()).collect();
        self.sink.emit(RunEventKind::LeaseGranted {
            lease: id.clone(),
            attempt: attempt.clone(),
            instances: instances.clone(),
            waited,
        });
        self.sink.emit(RunEventKind::AttemptStarted {
            attempt: attempt.clone(),
            instances: instances.clone(),
        });
        let (executor, launcher) = (Arc::clone(&self.executor), Arc::clone(&self.launcher));
        let sink = self.sink.clone();
        let (mut result, stopped) = tokio::select! {
            result = executor.run(&attempt, &lease, &*launcher, &sink) => (result, false),
            () = self.stop() => (interrupted(began), true),
        };
        result.waited = waited;
        result.instances = instances.clone();
        let verdict = result.verdict.clone();
        lease.judged(&verdict);
        self.sink.emit(RunEventKind::AttemptEnded {
            attempt,
            result: Box::new(result),
        });
        lease.end(lease_end(&verdict, is_last, stopped)).await;
        self.sink.emit(RunEventKind::LeaseEnded {
            lease: id,
            instances,
            held: began.elapsed(),
        });
        Step::Ended(verdict)
    }

    /// Waits until the run is interrupted.
    async fn stop(&mut self) {
        let _ = self.stopped.wait_for(|stopped| *stopped).await;
    }
}

/// The result of an attempt that an interrupt stopped.
fn interrupted(began: Instant) -> AttemptResult {
    let verdict = judge(&Evidence {
        started: true,
        interrupted: true,
        ..Evidence::default()
    });
    AttemptResult {
        took: began.elapsed(),
        ..AttemptResult::new(verdict)
    }
}

fn lease_end(verdict: &Verdict, is_last: bool, stopped: bool) -> LeaseEnd {
    match verdict {
        _ if stopped => LeaseEnd::CutOff,
        verdict if verdict.is_final() => LeaseEnd::Done,
        _ if is_last => LeaseEnd::Failed,
        _ => LeaseEnd::WantFresh,
    }
}

#[cfg(test)]
mod tests;
