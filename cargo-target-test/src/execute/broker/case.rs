//! A runner's connection: one case (or deploy entry) from its start to its verdict.
//!
//! Owns what a runner is told and what is made of what it reports. The lease ends with the runner's
//! process, not with its connection: a forked daemon may hold that open.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::Pid;
use target_fixtures::{
    env,
    metadata::Reuse,
    wire::{Exit, Failure, FailureKind, Reply, Request, Run},
};
use tokio::sync::mpsc;

use super::{
    Core, Entry, Supply,
    connection::{Connection, Requests, request_failure},
    held::{End, Held},
    infra,
    lending::{self, Asker},
    names::Case,
};
use crate::{
    execute::outcome::{Outcome, Verdict},
    process::Watch,
};

/// How long a test may take to end by itself once an instance of its is lost.
const LOST: Duration = Duration::from_secs(3);

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
                .expect(&start.name, case.count, case.reuse == Reuse::No);
            let ran = run_case(core, connection, pid, case, &start).await;
            if !ran.as_ref().is_ok_and(|tried_again| *tried_again) {
                case.supply.demand.done(&start.name);
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
            Err(gave_up(core, started, &format!("{}-{index}", supply.target())))
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
    let asker = Asker {
        pid,
        case: start.name.clone(),
        lease: core.new_lease(),
        after: case.after(&start.name),
        fresh: case.retry_fresh && start.attempt > 1,
    };
    let mut outcome = start.outcome();
    let held = match wait_for_lease(core, connection, case, &asker).await {
        Ok(held) => held,
        Err(failure) => {
            outcome.waited = asked.elapsed();
            return refuse(core, connection, outcome, failure, start.last).await;
        }
    };
    outcome.waited = asked.elapsed();
    let names = held.instances.iter().map(|instance| instance.name.clone());
    outcome.instances = names.collect();
    let run = Run {
        env: environment(core, case, &start.binary, &held),
        lease: Some(held.id.clone()),
        ..case.run.clone()
    };
    let told = connection.replies.send(&Reply::Run(Box::new(run))).await;
    let ended = match told {
        Ok(()) => report_unless_lost(connection, &held).await,
        Err(_) => Err(Silence { started: false }),
    };
    let skipped = held.skipped();
    let _ = let_go(connection, &ended, skipped.as_deref()).await;
    if let Some(runner) = runner {
        runner.gone().await;
    }
    let end = match end_of(&ended) {
        End::Failed if case.retry_fresh && !start.last => End::Spoilt,
        end => end,
    };
    // Before its instances are replaced, which nobody may need.
    if start.last || end == End::Done {
        case.supply.demand.done(&start.name);
    }
    let lost = held.end(core, end).await;
    judge(&mut outcome, ended, lost, skipped, &case.run);
    let over = matches!(outcome.verdict, Verdict::Pass | Verdict::Skip(_)) || start.last;
    core.record(outcome);
    Ok(!over)
}

/// A case that gets no instance: it is `infra`, or skipped where none of them is what it needs.
async fn refuse(
    core: &Core,
    connection: &mut Connection,
    mut outcome: Outcome,
    failure: Failure,
    last: bool,
) -> io::Result<bool> {
    let skips = failure.kind == FailureKind::Skip;
    let reply = match skips {
        true => Reply::Print {
            text: format!("skip: {}\n", failure.message),
            code: 0,
        },
        false => Reply::Refused(failure.clone()),
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

/// What a runner reports of its test.
struct Report {
    exit: Exit,
    timed_out: bool,
    took: Duration,
    stdout: String,
    stderr: String,
}

fn end_of(ended: &Result<Report, Silence>) -> End {
    match ended {
        Ok(report) if report.exit == Exit::Code(0) => End::Done,
        Ok(_) => End::Failed,
        Err(_) => End::Abandoned,
    }
}

impl Report {
    /// Whether a test that said so may be skipped: it ended well.
    fn skips(&self) -> bool {
        self.exit == Exit::Code(0) && !self.timed_out
    }
}

/// A runner that was killed before it could report.
struct Silence {
    /// Whether there was a test process by then.
    started: bool,
}

/// Waits for the runner's report. A test whose instance is lost hears so from what it asks; one that asks nothing is
/// ended.
async fn report_unless_lost(connection: &mut Connection, held: &Held) -> Result<Report, Silence> {
    let Connection {
        requests, replies, ..
    } = connection;
    let report = report(requests);
    tokio::pin!(report);
    let lost = tokio::select! {
        ended = &mut report => return ended,
        lost = held.lost() => lost,
    };
    if let Ok(ended) = tokio::time::timeout(LOST, &mut report).await {
        return ended;
    }
    let _ = replies.send(&Reply::Refused(infra(&lost))).await;
    report.await
}

/// Waits for the runner's report.
async fn report(requests: &mut Requests) -> Result<Report, Silence> {
    let mut started = false;
    while let Some((request, body)) = requests.recv().await {
        started |= matches!(request, Request::Started { .. });
        if let Request::Finished {
            exit,
            timed_out,
            millis,
            stdout,
        } = request
        {
            let (out, err) = body.split_at(stdout.min(body.len()));
            return Ok(Report {
                exit,
                timed_out,
                took: Duration::from_millis(millis),
                stdout: String::from_utf8_lossy(out).into_owned(),
                stderr: String::from_utf8_lossy(err).into_owned(),
            });
        }
    }
    Err(Silence { started })
}

/// `lost` says why an instance does not answer any more: then it is not the test that failed. The runner's
/// own verdict, for nextest, follows the same rules: see `runner::verdict`.
fn judge(
    outcome: &mut Outcome,
    ended: Result<Report, Silence>,
    lost: Option<String>,
    skipped: Option<String>,
    run: &Run,
) {
    let report = match ended {
        Ok(report) => report,
        Err(Silence { started }) => {
            outcome.verdict = match lost {
                Some(cause) => Verdict::Infra(cause),
                None if started => Verdict::Fail,
                None => Verdict::Infra("the runner ended before the test started".to_owned()),
            };
            "the runner was killed".clone_into(&mut outcome.stderr);
            return;
        }
    };
    let as_expected = run.expect_fail.is_some() == (report.exit != Exit::Code(0));
    outcome.verdict = match (skipped, lost) {
        (Some(reason), _) if report.skips() => Verdict::Skip(reason),
        _ if as_expected && !report.timed_out => Verdict::Pass,
        (_, Some(cause)) => Verdict::Infra(cause),
        _ => Verdict::Fail,
    };
    outcome.took = report.took;
    // Of a test that passed nobody reads it, and a run may have a hundred thousand.
    if outcome.verdict != Verdict::Pass {
        outcome.stdout = report.stdout;
        outcome.stderr = report.stderr;
    }
}

/// What every case finds in its environment.
fn environment(core: &Core, case: &Case, binary: &str, held: &Held) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([
        (
            env::BROKER.to_owned(),
            core.socket().to_string_lossy().into_owned(),
        ),
        (env::LEASE.to_owned(), held.id.clone()),
        (env::LEASED_TEST.to_owned(), case.full_name.clone()),
        (env::LEASED_BINARY.to_owned(), file_name(binary)),
        (env::NAME.to_owned(), case.supply.target().to_owned()),
        (
            env::SSH_CONFIG.to_owned(),
            core.ssh_config().to_string_lossy().into_owned(),
        ),
    ]);
    let names: Vec<_> = held
        .instances
        .iter()
        .map(|instance| instance.name.as_str())
        .collect();
    all.insert(env::INSTANCE.to_owned(), names.join(" "));
    if let Some(first) = held.instances.first() {
        all.insert(env::HOST.to_owned(), first.host.clone());
        all.insert(env::PLATFORM.to_owned(), first.platform.clone());
        all.insert(env::PARAMS.to_owned(), first.params.to_string());
        let port = first.port.map(|port| port.to_string());
        for (name, value) in [(env::PORT, port), (env::USER, first.user.clone())] {
            all.extend(value.map(|value| (name.to_owned(), value)));
        }
    }
    all
}

fn file_name(path: &str) -> String {
    let name = Path::new(path).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn infra_block(failure: &Failure) -> String {
    let hint = failure
        .hint
        .as_ref()
        .map_or(String::new(), |hint| format!("hint: {hint}\n"));
    format!("\ninfra: {}\n{hint}", failure.message)
}
