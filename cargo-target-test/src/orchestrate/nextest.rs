//! cargo-nextest decides when each case runs: in one nextest run, or in several side by side.
//!
//! Owns a run from its first event to its exit code.

// Must not know how a case is run.

mod processes;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::SystemTime,
};

use self::processes::NextestEnd;
use super::{Orchestrator, RunResult};
use crate::{
    aggregate::{
        junit,
        nextest_report::NextestReport,
        overruled::{not_run, overruled},
        tally::Tally,
    },
    case::{
        CaseInfo,
        reason::{NotRunReason, SkipReason},
        verdict::{CaseCounts, CaseResult, EXIT_RUN_FAILED, RunCounts},
    },
    error::Result,
    execute::{
        Executor, HostProcess, OnTarget, TestPackages,
        broker::{
            ActiveLeases, Broker, BrokerPlace, BrokerSetup, CaseTable, Clients, PreviousLookup,
        },
        clean_up::{Signals, clean_up},
        nextest::{CargoNextest, Stage},
    },
    process,
    provision::{BoxFuture, InstanceSet, PoolProvisioner, Provisioner},
    run_event::{CleanUp, RunEventKind, Sink, TargetTime},
    sync, ui,
};

/// Runs cases by cargo-nextest: its runner asks the broker of this process for the machines of each case.
pub struct Nextest {
    /// The installed cargo-nextest, with the user's options.
    pub cargo_nextest: CargoNextest,
    /// The parallel nextest runs that share the cases; at least one.
    pub partitions: Vec<Partition>,
    /// Everything that nextest may start.
    pub table: Arc<CaseTable>,
    /// The provisioner, whose deploys are shown.
    pub provisioner: Arc<PoolProvisioner>,
    /// The instances that the cases need.
    pub sets: Vec<Arc<InstanceSet>>,
    /// The place of the broker.
    pub place: BrokerPlace,
    /// The leases of running tests, which broker and executor share.
    pub leases: Arc<ActiveLeases>,
    /// The first event of the run.
    pub started: RunEventKind,
    /// The tests that the plan skips, with the reason.
    pub skipped: Vec<(Arc<CaseInfo>, SkipReason)>,
    /// Finds values of earlier runs, for tests that ask.
    pub previous: Arc<PreviousLookup>,
    /// The options of the run.
    pub options: NextestOptions,
}

/// One nextest run.
#[derive(Clone, Debug)]
pub struct Partition {
    /// The files that nextest reads, which name the cases of this part.
    pub stage: Stage,
    /// The file of nextest's own JUnit report.
    pub junit: PathBuf,
}

/// The options of a run that nextest does not know or that concern all partitions.
#[derive(Clone, Default)]
pub struct NextestOptions {
    /// True if instances are kept for a later run.
    pub keep: bool,
    /// The instances that must be ready before nextest starts: those of a case in a debugger.
    pub debugged: Option<(Arc<InstanceSet>, u32)>,
    /// True if nextest draws a progress bar on a terminal.
    pub draws_bar: bool,
    /// True if the user chose how nextest shows progress.
    pub shows_progress: bool,
    /// True if nextest's output is printed only if nextest fails for another reason than a test.
    pub is_quiet: bool,
    /// The number of failures in one partition that stops the other partitions.
    pub max_fail: Option<u64>,
    /// The exit code for infra, if the user chose one.
    pub infra_code: Option<u8>,
    /// The user's own file for nextest's report, if any. Several partitions get files of their own, which are merged
    /// into it.
    pub users_junit: Option<PathBuf>,
    /// True if standard output is for the feed: nextest writes to standard error.
    pub stdout_is_taken: bool,
}

impl Orchestrator for Nextest {
    fn run<'a>(
        &'a self,
        cases: &'a [Arc<CaseInfo>],
        provisioner: Arc<dyn Provisioner>,
        executor: Arc<dyn Executor>,
        sink: &'a Sink,
    ) -> BoxFuture<'a, Result<RunResult>> {
        Box::pin(async move {
            let since = SystemTime::now();
            let tally = Arc::new(Mutex::new(Tally::default()));
            let sink = Tally::counted(sink, &tally);
            sink.emit(self.started.clone());
            for (case, reason) in self.skipped.iter().cloned() {
                sink.emit(RunEventKind::Skipped { case, reason });
            }
            for case in self.entries(cases) {
                sink.emit(RunEventKind::Planned { case });
            }
            let broker = Broker::start(BrokerSetup {
                place: self.place.clone(),
                pool: Arc::clone(&self.provisioner),
                leases_from: Arc::clone(&provisioner),
                leases: Arc::clone(&self.leases),
                table: Arc::clone(&self.table),
                clients: Clients::Runners(executor),
                previous: Some(Arc::clone(&self.previous)),
                sink: sink.clone(),
            })?;
            // Caught until the end: a signal between two steps counts too.
            let mut signals = Signals::catch()?;
            let ended = self.run_partitions(&broker, &mut signals).await;
            // Even if nextest never ran: instances may have been deployed.
            let mut interrupts = ended
                .as_ref()
                .map_or_else(|_| Default::default(), |ended| ended.interrupts);
            if !interrupts.any() && self.place.holds_failed {
                broker.open_shells().await;
            }
            let keep = self.options.keep;
            let report =
                clean_up(&broker, &*provisioner, keep, &mut signals, &mut interrupts).await;
            let ended = NextestEnd {
                interrupts,
                ..ended?
            };
            Ok(self.result(cases, &sink, (&tally, since), &ended, report?))
        })
    }
}

impl Nextest {
    /// Returns the files of nextest's own JUnit reports.
    pub fn reports(&self) -> Vec<PathBuf> {
        self.partitions
            .iter()
            .map(|part| part.junit.clone())
            .collect()
    }

    /// Returns the executor of this run's tests, which keeps their output in a folder.
    pub fn host_process(&self, output: PathBuf) -> HostProcess {
        HostProcess {
            place: self.place.clone(),
            leases: Arc::clone(&self.leases),
            table: Arc::clone(&self.table),
            output,
            counter: AtomicU64::new(0),
            unknown: Mutex::default(),
        }
    }

    /// Returns the executor of this run's tests on both sides, which keeps their output in a folder. `packages` are those of
    /// the tests that run on machines.
    ///
    /// # Errors
    /// Fails if the path of the current executable is unknown.
    pub fn on_target(&self, output: PathBuf, packages: TestPackages) -> Result<OnTarget> {
        OnTarget::new(self.host_process(output), packages)
    }

    /// Emits the last events of a run, and returns its result.
    fn result(
        &self,
        cases: &[Arc<CaseInfo>],
        sink: &Sink,
        (tally, since): (&Mutex<Tally>, SystemTime),
        ended: &NextestEnd,
        clean_up: CleanUp,
    ) -> RunResult {
        let nextest = self.nextest_report(sink, since);
        let entries = self.entries(cases);
        if let Some(nextest) = &nextest {
            let events = overruled(&sync::lock(tally), nextest, &entries);
            events.into_iter().for_each(|event| sink.emit(event));
        }
        let tally = sync::lock(tally).clone();
        let reason = not_run_reason(ended, nextest.as_ref());
        let unseen = not_run(&tally, nextest.as_ref(), &entries, &reason);
        unseen.into_iter().for_each(|event| sink.emit(event));
        let counts = self.counts(cases, sink, (&tally, nextest.is_some()), ended, &clean_up);
        let by_target = tally.case_counts(&entries);
        for set in &self.sets {
            let used = set.used();
            let cases = by_target.get(&Some(set.target().into()));
            sink.emit(RunEventKind::TargetUsed(TargetTime {
                target: used.target,
                instances: used.instances,
                time: used.time,
                cost: used.cost,
                cases: cases.cloned().unwrap_or_default(),
            }));
        }
        sink.emit(RunEventKind::CleanedUp(clean_up.clone()));
        let mut by_result: CaseCounts = by_target.values().sum();
        // The reports have these tests too.
        for _ in &self.skipped {
            by_result.count(CaseResult::Skipped);
        }
        sink.emit(RunEventKind::CasesCounted(by_result));
        let mut result = RunResult::default();
        tally.tests().for_each(|verdict| result.count(verdict));
        result.clean_up = clean_up;
        result.interrupted = counts.interrupted;
        (result.failed, result.infra) = (counts.failed, counts.infra);
        result.counts = Some(counts);
        sink.emit(RunEventKind::RunEnded {
            exit_code: result.exit_code(),
            interrupted: result.interrupted,
        });
        result
    }

    /// Returns the cases and the tests that run on the host.
    fn entries(&self, cases: &[Arc<CaseInfo>]) -> Vec<Arc<CaseInfo>> {
        cases.iter().chain(self.table.on_host()).cloned().collect()
    }

    /// Reads nextest's own report, and writes the merged report of several partitions where the user wants it.
    fn nextest_report(&self, sink: &Sink, since: SystemTime) -> Option<NextestReport> {
        let read = NextestReport::read(&self.reports(), since);
        let nextest = read.unwrap_or_else(|error| {
            warn(sink, error.chain());
            None
        });
        if self.partitions.len() > 1
            && let Some(file) = &self.options.users_junit
            && let Err(error) = self.merge_reports(file, since)
        {
            warn(sink, error.chain());
        }
        nextest
    }

    /// Writes the merged report of several partitions, with whole outputs: the user's configuration chooses them.
    fn merge_reports(&self, file: &Path, since: SystemTime) -> Result<()> {
        let nextest = NextestReport::read_whole(&self.reports(), since)?;
        nextest.map_or(Ok(()), |nextest| junit::write(&nextest.0, file))
    }

    /// Counts what decides the exit code.
    fn counts(
        &self,
        cases: &[Arc<CaseInfo>],
        sink: &Sink,
        (tally, has_report): (&Tally, bool),
        ended: &NextestEnd,
        report: &CleanUp,
    ) -> RunCounts {
        let warn = |message: String| warn(sink, message);
        let by_signal = ended.statuses.iter().find(|one| one.code().is_none());
        if let (Some(status), false) = (by_signal, ended.interrupts.any()) {
            let ending = process::ending(*status);
            warn(format!("cargo-nextest {ending}: cases may not have run"));
        }
        // A failed run may have skipped cases.
        let code = ended.code();
        let bypassed = match code {
            Some(0) => tally.unseen(cases),
            _ => Vec::new(),
        };
        if let [first, ..] = bypassed.as_slice() {
            let count = bypassed.len();
            warn(format!(
                "{count} of the cases that nextest calls passed never asked for an instance, such as `{first}`; check for a \
                 wrapper script that bypasses the runner (`target-runner = \"ignore\"`)"
            ));
        }
        let mut counts = tally.counts(code, has_report);
        if counts.ended_entries > 0 && !tally.unseen(cases).is_empty() {
            // nextest's fail-fast took the end of an entry for a failure: the other cases did not run.
            counts.failed += std::mem::take(&mut counts.ended_entries);
        }
        RunCounts {
            interrupted: ended.interrupts.any(),
            report_lost: !has_report
                && self.options.users_junit.is_none()
                && tally.unseen(cases).is_empty(),
            unaccounted: !report.failed.is_empty() || !bypassed.is_empty(),
            infra_code: self.options.infra_code,
            ..counts
        }
    }
}

/// Returns the reason that cases have not run, if some have not.
fn not_run_reason(ended: &NextestEnd, report: Option<&NextestReport>) -> NotRunReason {
    if ended.interrupts.any() {
        return NotRunReason::Interrupted;
    }
    if let Some(script) = report.and_then(NextestReport::failed_setup_script) {
        return NotRunReason::SetupScript(script.to_owned());
    }
    let fails = |code: Option<i32>| code != Some(0);
    let status = ended.statuses.iter().find(|status| fails(status.code()));
    match status {
        Some(status) if status.code() != Some(EXIT_RUN_FAILED.into()) => {
            NotRunReason::NextestEnded(format!("cargo-nextest {}", process::ending(*status)))
        }
        _ => NotRunReason::FailFast,
    }
}

fn warn(sink: &Sink, message: String) {
    ui::warn(&message);
    sink.emit(RunEventKind::Warning { message });
}
