//! A runner's connection: one case (or deploy entry) from its start to its verdict.
//!
//! Owns what a runner is told and what is made of what it reports. The lease ends with the runner's
//! process, not with its connection: a forked daemon may hold that open.

mod environment;
mod report;

use std::{io, path::Path, sync::Arc, time::Instant};

use rustix::process::Pid;
use target_fixtures::{
    metadata::Reuse,
    wire::{Failure, FailureKind, Reply, Run},
};
use tokio::sync::mpsc;

use super::{
    Core, Entry, Supply,
    connection::{Connection, request_failure},
    fixtures::Maker,
    held::{End, Held},
    lending::{self, Asker},
    names::Case,
};
use crate::{
    execute::outcome::{Outcome, Verdict},
    process::Watch,
    secret,
};
pub(super) use environment::environment;
use report::{Report, Silence, end_of, judge, report, report_unless_lost};

/// What a runner asks about.
pub(super) struct Start {
    /// The test binary's path.
    pub(super) binary: String,
    /// The case or deploy entry.
    pub(super) name: String,
    /// nextest's attempt, from 1.
    pub(super) attempt: u32,
    /// Whether nextest makes no further one.
    pub(super) last: bool,
}

impl Start {
    fn outcome(&self) -> Outcome {
        Outcome::of_case(&self.binary, &self.name, self.attempt)
    }

    fn case(&self) -> (&str, &str) {
        (&self.binary, &self.name)
    }
}

/// Serves one runner.
pub(super) async fn serve(
    core: &Arc<Core>,
    connection: &mut Connection,
    pid: u32,
    start: Start,
) -> io::Result<()> {
    match core.names.get(Path::new(&start.binary), &start.name) {
        Some(Entry::Plain { run }) => run_plain(core, connection, run, &start).await,
        Some(Entry::Deploy { supply, index }) => {
            show_deploy(core, connection, (supply, *index), &start).await
        }
        Some(Entry::Case(case)) => {
            // It may be run again, by a stress run say.
            case.supply
                .expect(start.case(), case.count, case.reuse == Reuse::No);
            let ran = run_case(core, connection, pid, case, &start).await;
            if !ran.as_ref().is_ok_and(|tried_again| *tried_again) {
                case.supply.demand.done(start.case());
                core.let_go(&case.supply);
            }
            ran.map(|_| ())
        }
        None => {
            let failure = request_failure(format!("`{}` is no case of this run", start.name));
            connection.replies.send(&Reply::Refused(failure)).await
        }
    }
}

/// Shows what comes of a deploy. A runner that leaves earlier does not end it.
async fn show_deploy(
    core: &Arc<Core>,
    connection: &mut Connection,
    (supply, index): (&Arc<Supply>, usize),
    start: &Start,
) -> io::Result<()> {
    let started = Instant::now();
    let made = tokio::select! {
        made = supply.ready(core, index) => made,
        _ = connection.requests.recv() => {
            Err(gave_up(core, started, &supply.wanted[index].instance()))
        }
    };
    let (text, code, verdict) = match made {
        Ok(supplied) => (format!("{}\n", supplied.story), 0, Verdict::Pass),
        Err(failure) => (infra_block(&failure), 69, Verdict::Infra(failure.message)),
    };
    core.record(Outcome {
        verdict,
        ..start.outcome()
    });
    connection.replies.send(&Reply::Print { text, code }).await
}

/// A test that needs no instance; its runner stays connected to notice our end.
async fn run_plain(
    core: &Core,
    connection: &mut Connection,
    run: &Run,
    start: &Start,
) -> io::Result<()> {
    let told = Reply::Run(Box::new(run.clone()));
    connection.replies.send(&told).await?;
    let mut outcome = start.outcome();
    let ended = report(&mut connection.requests).await;
    let let_go = let_go(connection, &ended, None).await;
    judge(&mut outcome, ended, None, None, run);
    core.record(outcome);
    let_go
}

/// Lets the runner end, which does not know of a skip.
async fn let_go(
    connection: &mut Connection,
    ended: &Result<Report, Silence>,
    skipped: Option<&str>,
) -> io::Result<()> {
    let reply = match (ended, skipped) {
        (Ok(report), Some(reason)) if report.skips() => Reply::Print {
            text: format!("skip: {reason}\n"),
            code: 0,
        },
        _ => Reply::Done,
    };
    connection.replies.send(&reply).await
}

/// Says whether nextest will try again.
async fn run_case(
    core: &Arc<Core>,
    connection: &mut Connection,
    pid: u32,
    case: &Case,
    start: &Start,
) -> io::Result<bool> {
    let asked = Instant::now();
    // Watched from the start, so that the number cannot have been given again.
    let runner = Pid::from_raw(pid.cast_signed()).map(Watch::new);
    let asker = asker(core, pid, case, start);
    let mut outcome = start.outcome();
    let held = match wait_for_lease(core, connection, case, &asker).await {
        Ok(held) => held,
        Err(failure) => {
            outcome.waited = asked.elapsed();
            let told = case.supply.told(core, &failure);
            return refuse(core, connection, (outcome, failure, told), start.last).await;
        }
    };
    outcome.waited = asked.elapsed();
    let names = held.instances.iter().map(|instance| instance.name.clone());
    outcome.instances = names.collect();
    let (ended, skipped) = run_on(core, connection, case, start, &held).await;
    if let Some(runner) = runner {
        runner.gone().await;
    }
    let end = match end_of(&ended) {
        End::Failed if case.retry_fresh && !start.last => End::Spoilt,
        end => end,
    };
    // Before its instances are replaced, which nobody may need.
    if start.last || end == End::Done {
        case.supply.demand.done(start.case());
    }
    let (expected, fixtures) = held.said();
    let lost = match core.stays(case, start, end) {
        true => core.keep_failed(case, start, held),
        false => held.end(core, end).await,
    };
    judge(&mut outcome, ended, lost, skipped, &case.run);
    outcome.add_said(expected, fixtures);
    let over = matches!(outcome.verdict, Verdict::Pass | Verdict::Skip(_)) || start.last;
    core.record(outcome);
    Ok(!over)
}

fn asker(core: &Core, pid: u32, case: &Case, start: &Start) -> Asker {
    Asker {
        pid,
        case: start.name.clone(),
        lease: core.new_lease(),
        after: case.after(&start.name),
        fresh: case.retry_fresh && start.attempt > 1,
        only: None,
        maker: Maker {
            binary: start.binary.clone(),
            prefix: case.run.prefix.clone(),
            test: case.run.test.clone(),
            full_name: case.full_name.clone(),
            again: start.attempt > 1,
        },
    }
}

/// Has the runner run the test on the instances of a lease, to its end; what it reports, and why the test skipped
/// itself, if so.
async fn run_on(
    core: &Core,
    connection: &mut Connection,
    case: &Case,
    start: &Start,
    held: &Held,
) -> (Result<Report, Silence>, Option<String>) {
    let run = Run {
        env: environment(core, (&start.binary, &case.full_name), held),
        lease: Some(held.id.clone()),
        secrets: secret::registered(),
        ..case.run.clone()
    };
    let told = connection.replies.send(&Reply::Run(Box::new(run))).await;
    let ended = match told {
        Ok(()) => report_unless_lost(connection, held).await,
        Err(_) => Err(Silence { started: false }),
    };
    let skipped = held.skipped();
    let _ = let_go(connection, &ended, skipped.as_deref()).await;
    (ended, skipped)
}

/// A case that gets no instance: it is `infra`, or skipped where none of them is what it needs. `told`: what its log
/// has of the failure.
async fn refuse(
    core: &Core,
    connection: &mut Connection,
    (mut outcome, failure, told): (Outcome, Failure, Failure),
    last: bool,
) -> io::Result<bool> {
    let skips = failure.kind == FailureKind::Skip;
    let reply = match skips {
        true => Reply::Print {
            text: format!("skip: {}\n", failure.message),
            code: 0,
        },
        false => Reply::Refused(told),
    };
    outcome.verdict = match skips {
        true => Verdict::Skip(failure.message),
        false => Verdict::Infra(failure.message),
    };
    core.record(outcome);
    connection.replies.send(&reply).await?;
    Ok(!skips && !last)
}

/// Waits, passing on what it waits for. A runner that is told to end by nextest's own limit closes its
/// connection: the verdict is then infra, not a failure of a test that never ran.
pub(super) async fn wait_for_lease(
    core: &Arc<Core>,
    connection: &mut Connection,
    case: &Case,
    asker: &Asker,
) -> Result<Arc<Held>, Failure> {
    let (send, mut notes) = mpsc::unbounded_channel();
    let started = Instant::now();
    let lease = lending::lease(core, (&case.supply, case.count, &case.needs), asker, &send);
    tokio::pin!(lease);
    let Connection {
        requests, replies, ..
    } = connection;
    loop {
        tokio::select! {
            held = &mut lease => return held,
            Some(text) = notes.recv() => { let _ = replies.send(&Reply::Note { text }).await; }
            _ = requests.recv() => {
                return Err(gave_up(core, started, case.supply.target()));
            }
        }
    }
}

/// Why a runner stopped waiting: nextest's own limit, or the end of the run.
fn gave_up(core: &Core, started: Instant, what: &str) -> Failure {
    let mut failure = lending::interrupted();
    if !core.is_cancelled() {
        let waited = started.elapsed().as_secs_f32();
        failure.message = format!("waited {waited:.1} s for `{what}`");
    }
    failure
}

fn infra_block(failure: &Failure) -> String {
    let hint = failure
        .hint
        .as_ref()
        .map_or(String::new(), |hint| format!("hint: {hint}\n"));
    format!("\ninfra: {}\n{hint}", failure.message)
}
