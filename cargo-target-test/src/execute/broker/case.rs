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
    wire::{Exit, Failure, Reply, Request, Run},
};
use tokio::sync::mpsc;

use super::{
    Core, Entry,
    connection::{Connection, request_failure},
    held::Held,
    lending::{self, Asker},
    names::Case,
};
use crate::{
    execute::outcome::{Outcome, Verdict},
    process::Watch,
};

/// Serves one runner.
pub(super) async fn serve(
    core: &Arc<Core>,
    connection: &mut Connection,
    pid: u32,
    start: (String, String, u32),
) -> io::Result<()> {
    let (binary, name, attempt) = start;
    match core.names.get(Path::new(&binary), &name) {
        Some(Entry::Plain { run }) => {
            let told = Reply::Run(Box::new(run.clone()));
            connection.replies.send(&told).await?;
            let mut outcome = Outcome::of_case(&binary, &name, attempt);
            judge(&mut outcome, report(connection).await, None, None);
            core.record(outcome);
            Ok(())
        }
        Some(Entry::Deploy { supply, index }) => {
            let made = supply.ready(core, *index).await;
            let (text, code, verdict) = match made {
                Ok(supplied) => (format!("{}\n", supplied.story), 0, Verdict::Pass),
                Err(failure) => (infra_block(&failure), 69, Verdict::Infra(failure.message)),
            };
            core.record(Outcome::of_deploy(&binary, &name, attempt, verdict));
            connection.replies.send(&Reply::Print { text, code }).await
        }
        Some(Entry::Case(case)) => {
            run_case(core, connection, pid, case, (&binary, &name, attempt)).await
        }
        None => {
            let failure = request_failure(format!("`{name}` is no case of this run"));
            connection.replies.send(&Reply::Refused(failure)).await
        }
    }
}

async fn run_case(
    core: &Arc<Core>,
    connection: &mut Connection,
    pid: u32,
    case: &Case,
    (binary, name, attempt): (&str, &str, u32),
) -> io::Result<()> {
    let asked = Instant::now();
    // Watched from the start, so that the number cannot have been given again.
    let runner = Pid::from_raw(pid.cast_signed()).map(Watch::new);
    let asker = Asker {
        pid,
        case: name.to_owned(),
        lease: core.new_lease(),
    };
    let mut outcome = Outcome::of_case(binary, name, attempt);
    let held = match wait_for_lease(core, connection, case, &asker).await {
        Ok(held) => held,
        Err(failure) => {
            outcome.waited = asked.elapsed();
            outcome.verdict = Verdict::Infra(failure.message.clone());
            core.record(outcome);
            return connection.replies.send(&Reply::Refused(failure)).await;
        }
    };
    outcome.waited = asked.elapsed();
    outcome.instances = held
        .instances
        .iter()
        .map(|instance| instance.name.clone())
        .collect();
    let run = Run {
        env: environment(core, case, binary, &held),
        lease: Some(held.id.clone()),
        ..case.run.clone()
    };
    let told = connection.replies.send(&Reply::Run(Box::new(run))).await;
    let report = if told.is_ok() {
        report(connection).await
    } else {
        None
    };
    let abandoned = report.is_none();
    judge(
        &mut outcome,
        report,
        held.skipped(),
        case.run.expect_fail.as_ref(),
    );
    core.record(outcome);
    if let Some(runner) = runner {
        runner.gone().await;
    }
    held.end(abandoned).await;
    core.forget(&held);
    Ok(())
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
    let lease = lending::lease(core, &case.supply, case.count, asker, &send);
    tokio::pin!(lease);
    let Connection { requests, replies } = connection;
    loop {
        tokio::select! {
            held = &mut lease => return held,
            Some(text) = notes.recv() => { let _ = replies.send(&Reply::Note { text }).await; }
            _ = requests.recv() => {
                let waited = humantime::format_duration(Duration::from_secs(started.elapsed().as_secs()));
                let mut failure = lending::interrupted();
                if !core.is_cancelled() {
                    failure.message = format!("waited {waited} for `{}`", case.supply.target());
                }
                return Err(failure);
            }
        }
    }
}

/// What a runner reports of its test.
struct Report {
    exit: Exit,
    timed_out: bool,
    took: Duration,
    stdout: String,
    stderr: String,
}

/// Waits for the runner's report; `None`: it was killed before it could.
async fn report(connection: &mut Connection) -> Option<Report> {
    loop {
        let (request, body) = connection.requests.recv().await?;
        if let Request::Finished {
            exit,
            timed_out,
            millis,
            stdout,
        } = request
        {
            let _ = connection.replies.send(&Reply::Done).await;
            let (out, err) = body.split_at(stdout.min(body.len()));
            return Some(Report {
                exit,
                timed_out,
                took: Duration::from_millis(millis),
                stdout: String::from_utf8_lossy(out).into_owned(),
                stderr: String::from_utf8_lossy(err).into_owned(),
            });
        }
    }
}

fn judge(
    outcome: &mut Outcome,
    report: Option<Report>,
    skipped: Option<String>,
    expect_fail: Option<&String>,
) {
    let Some(report) = report else {
        outcome.verdict = Verdict::Fail;
        "the runner was killed".clone_into(&mut outcome.stderr);
        return;
    };
    let passed = report.exit == Exit::Code(0) && !report.timed_out;
    outcome.verdict = match (skipped, expect_fail) {
        (Some(reason), _) => Verdict::Skip(reason),
        (None, Some(_)) if passed != report.timed_out => {
            if passed {
                Verdict::Fail
            } else {
                Verdict::Pass
            }
        }
        (None, _) if passed => Verdict::Pass,
        (None, _) => Verdict::Fail,
    };
    outcome.took = report.took;
    outcome.stdout = report.stdout;
    outcome.stderr = report.stderr;
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
