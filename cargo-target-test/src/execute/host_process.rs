//! The executor of test processes on this host, which reach the machines of their leases through the broker. Must not
//! know where leases come from, nor who starts the processes.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    Executor, Launch, Launcher,
    broker::{ActiveLease, ActiveLeases, BrokerPlace, CaseTable, LeasingCase},
    health::{Health, HealthChange},
    output_file, plain_name,
};
use crate::{
    case::{
        reason::DirtyReason,
        verdict::{Evidence, Verdict, judge},
    },
    error::one_line,
    playbook::OnFinding,
    provision::{BoxFuture, Lease, Machine},
    run_event::{Attempt, AttemptResult, ConsoleEnd, OutputFile, RunEventKind, Sink, TAIL},
    secret::redacted,
    sync::lock,
    ui,
};

/// The time limit for the instances of a case that did not pass to answer before the verdict.
const DECISION: Duration = Duration::from_secs(5);

/// Runs the tests of the workspace's binaries.
pub struct HostProcess {
    /// The broker of the run, as tests see it.
    pub place: BrokerPlace,
    /// The leases that the broker serves.
    pub leases: Arc<ActiveLeases>,
    /// The ways in which tests are started.
    pub table: Arc<CaseTable>,
    /// The folder for the output of attempts.
    pub output: PathBuf,
    /// Makes the paths of outputs unique.
    pub counter: AtomicU64,
    /// The checks, by target, that are known not to work.
    pub unknown: Mutex<BTreeSet<(String, String)>>,
}

impl Executor for HostProcess {
    fn run<'a>(
        &'a self,
        attempt: &'a Attempt,
        lease: &'a Lease,
        launcher: &'a dyn Launcher,
        sink: &'a Sink,
    ) -> BoxFuture<'a, AttemptResult> {
        Box::pin(async move {
            match self.begin(attempt, lease) {
                Ok(begun) => {
                    let command = self.command(&begun);
                    self.watch(&begun, command, launcher, sink).await
                }
                Err(verdict) => AttemptResult::new(verdict),
            }
        })
    }
}

/// An attempt of a case of the run, on a lease that the broker serves.
pub(super) struct BegunAttempt<'a> {
    attempt: &'a Attempt,
    lease: &'a Lease,
    pub(super) active: Arc<ActiveLease>,
    /// The path of the test binary on this host.
    pub(super) binary: &'a Path,
    pub(super) case: &'a LeasingCase,
}

impl HostProcess {
    /// Finds the case and the lease of an attempt; infra if one of them is unknown.
    pub(super) fn begin<'a>(
        &'a self,
        attempt: &'a Attempt,
        lease: &'a Lease,
    ) -> Result<BegunAttempt<'a>, Verdict> {
        let active = self.leases.get(lease.id()).ok_or_else(|| {
            let case = &attempt.case;
            Verdict::Infra(format!("the broker does not serve the lease of `{case}`"))
        })?;
        let (binary, case) = self.table.case(&attempt.case).ok_or_else(|| {
            Verdict::Infra(format!("`{}` is not a case of this run", attempt.case))
        })?;
        Ok(BegunAttempt {
            attempt,
            lease,
            active,
            binary,
            case,
        })
    }

    /// Returns the command of the test process.
    fn command(&self, begun: &BegunAttempt<'_>) -> Command {
        let BegunAttempt {
            active,
            binary,
            case,
            ..
        } = begun;
        let mut command = case.start.command(binary);
        let binary = binary.to_string_lossy();
        command.envs(self.place.variables(&binary, &case.full_name, active));
        command
    }

    /// Starts the process of an attempt, waits for its end, and judges it.
    pub(super) async fn watch(
        &self,
        begun: &BegunAttempt<'_>,
        command: Command,
        launcher: &dyn Launcher,
        sink: &Sink,
    ) -> AttemptResult {
        let BegunAttempt {
            attempt,
            lease,
            active,
            case,
            ..
        } = begun;
        let output = self.output_of(attempt);
        let artifacts = output_file(&output, "artifacts");
        active.collects_in(artifacts.clone());
        let around = case.instance_set.around();
        let checks = around.map_or(&[][..], |around| &around.checks);
        let before = Health::of(active.machines(), checks).await;
        let launched = launcher.launch(Launch {
            limit: case.start.timeout,
            stops_within: case.stops_within(),
            set_up_limit: case
                .orchestration
                .as_ref()
                .and_then(|plan| plan.set_up_limit),
            output: Some(output.clone()),
            lease: Some((lease.id().to_owned(), lease.lost())),
            command,
        });
        let ended = match launched.await {
            Ok(ended) => ended,
            Err(error) => return AttemptResult::new(Verdict::Infra(error.chain())),
        };
        // The test may have been killed.
        active.end_faults().await;
        let expect_fail = case.start.expect_fail.as_slice();
        let (message, connection_lost) = active.said().failed.clone().unzip();
        let loss = match ended.succeeded() && expect_fail.is_empty() {
            true => active.find_crash(DECISION).await,
            false => active.find_loss(DECISION).await,
        };
        let (crashed, lost) = match loss {
            Some(loss) if loss.is_crash() => (Some(loss.chain()), None),
            Some(loss) => (None, Some(loss.chain())),
            // A test that failed by a lost connection has found nothing, even if the machine answers again.
            None => (None, connection_lost.flatten()),
        };
        if let Some(cause) = &crashed {
            lease.mark_dirty(DirtyReason::Crashed(one_line(cause)));
        }
        if crashed.is_some() || lost.is_some() {
            // Checked now: a lost instance may be deleted soon after its lease.
            active
                .machines()
                .for_each(|machine| machine.emit_console(sink));
        }
        // A machine that is lost is not asked.
        let findings = match (&crashed, &lost) {
            (None, None) => {
                // What is unknown before the test is not asked again.
                let change = match before.is_known() {
                    true => {
                        let after = Health::of(active.machines(), checks).await;
                        before.change(&after, checks)
                    }
                    false => before.change(&before, checks),
                };
                self.findings(change, attempt, sink)
            }
            _ => Vec::new(),
        };
        if let Some(first) = findings.first() {
            lease.mark_dirty(DirtyReason::Unhealthy(first.clone()));
        }
        let fails = around.is_some_and(|around| around.on_finding == OnFinding::Fail);
        let said = active.said();
        let cut_short = said.orchestration.as_ref().filter(|_| ended.succeeded());
        let message = message.or_else(|| cut_short.map(|name| exited_early(name)));
        let evidence = Evidence {
            expect_fail,
            message: message.as_deref(),
            skipped: said.skipped.as_deref(),
            lost: lost.as_deref(),
            crashed: crashed.as_deref(),
            unhealthy: fails && !findings.is_empty(),
            cut_short: cut_short.is_some(),
            ..ended.evidence()
        };
        let verdict = judge(&evidence);
        let declared = evidence.expected().map(|one| one.reason.clone());
        let fixtures = said.fixtures_took;
        let [stdout, stderr] = output_files(&output);
        let consoles = match verdict.is_final() {
            true => Vec::new(),
            false => save_consoles(active.machines(), &output),
        };
        let log = Some(output_file(&output, "log")).filter(|log| log.exists());
        AttemptResult {
            took: ended.took,
            fixtures: fixtures.all.min(ended.took),
            tear_down: fixtures.tear_down.min(ended.took),
            expected: declared.or(said.expected.clone()),
            exit: ended.exit.clone(),
            message: message.filter(|_| verdict.is_failure()),
            timed_out: case.limit(active.has_set_up()).filter(|_| ended.timed_out),
            stdout,
            stderr,
            log,
            consoles,
            findings,
            artifacts: (!case.artifacts.after(&verdict).is_empty() || !said.captures.is_empty())
                .then_some(artifacts),
            ..AttemptResult::new(verdict)
        }
    }

    /// Tells what the health checks found, and once per run what they could not find out. Returns the findings.
    fn findings(&self, change: HealthChange, attempt: &Attempt, sink: &Sink) -> Vec<String> {
        let of_case = |finding: &String| format!("{}: {finding}", attempt.case);
        let findings = change.findings.iter().map(of_case);
        let unknown = change.unknown.into_iter().filter_map(|(check, reason)| {
            let target = attempt.case.runs_on.label().unwrap_or_default().to_owned();
            let is_new = lock(&self.unknown).insert((target.clone(), check.clone()));
            is_new.then(|| format!("check `{check}` cannot be made on {target}: {reason}"))
        });
        for message in findings.chain(unknown) {
            ui::live(&message);
            let message = redacted(&message).into_owned();
            sink.emit(RunEventKind::Warning { message });
        }
        change.findings
    }

    /// Returns a unique path for the output of an attempt, without file extension.
    fn output_of(&self, attempt: &Attempt) -> PathBuf {
        let unique = self.counter.fetch_add(1, Ordering::Relaxed);
        let name = format!(
            "{}.{}-{unique}",
            plain_name(&attempt.case.name),
            attempt.number
        );
        self.output
            .join(plain_name(&attempt.case.binary_id))
            .join(name)
    }
}

/// The message about a process that ended before its orchestration, with exit code 0.
fn exited_early(name: &str) -> String {
    format!(
        "orchestration `{name}`: the test process exited before the end: an event must return, not call `exit`"
    )
}

/// Writes the ends of the consoles of machines beside the output of an attempt.
pub(super) fn save_consoles<'m>(
    machines: impl Iterator<Item = &'m Machine>,
    output: &Path,
) -> Vec<ConsoleEnd> {
    let save = |machine: &Machine| {
        let text = machine.console_end()?;
        let path = output_file(output, &format!("{}.console", plain_name(machine.name())));
        std::fs::create_dir_all(path.parent()?).ok()?;
        std::fs::write(&path, &text).ok()?;
        let length = text.len() as u64;
        let output = OutputFile {
            path,
            length,
            tail: text,
        };
        Some(ConsoleEnd {
            instance: machine.name().to_owned(),
            output,
        })
    };
    machines.filter_map(save).collect()
}

/// Returns the files of an attempt's standard output and standard error.
fn output_files(output: &Path) -> [Option<OutputFile>; 2] {
    ["stdout", "stderr"].map(|ending| output_part(output_file(output, ending)))
}

/// Returns a file of an attempt's output, unless it cannot be read.
pub(super) fn output_part(path: PathBuf) -> Option<OutputFile> {
    let mut file = File::open(&path).ok()?;
    let length = file.metadata().ok()?.len();
    let start = length.saturating_sub(TAIL as u64);
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut tail = Vec::new();
    file.take(TAIL as u64).read_to_end(&mut tail).ok()?;
    Some(OutputFile {
        path,
        length,
        tail: String::from_utf8_lossy(&tail).into_owned(),
    })
}
