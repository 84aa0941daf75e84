//! The results of a run as plain data, built from its events: cases with their attempts, instances with their times.
//!
//! Must not know how a report shows them.

mod budget;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use target_fixtures::wire::{Exit, Measurement, Stream};

use super::{change::LastResult, sub_results::SubResults};
use crate::{
    case::{
        CaseInfo,
        reason::{NotRunReason, SkipReason},
        verdict::{CaseCounts, CaseResult, Verdict},
    },
    run_event::{
        Attempt, AttemptResult, CleanUp, CollectedArtifact, InstanceTarget, OutputFile, RunEvent,
        RunEventKind, TargetTime,
    },
};
use budget::Budgets;

/// The reason of a case that failed although its last attempt passed.
pub(super) const FLAKY: &str = "failed before it passed, and `flaky-result` is `fail`";

/// The length of the console of an instance that no attempt held, in bytes.
const CONSOLE: usize = 8 << 10;

/// The results of a run so far. Their memory is bounded in the length of outputs: see [`KeptOutput`].
#[derive(Debug, Default)]
pub struct Results {
    /// The first event; `None` if it is missing.
    pub started: Option<RunEventKind>,
    /// The time of the first event, since 1970.
    pub wall: Duration,
    /// The time of the last event since the run began.
    pub length: Duration,
    /// The end of the run; `None` if the run was killed or goes on.
    pub end: Option<RunEnd>,
    /// The cases, and the tests that ran on the host or were skipped, in the order in which they are first mentioned.
    pub cases: Vec<TestedCase>,
    /// The instances, in the order in which they are first mentioned.
    pub instances: Vec<UsedInstance>,
    /// The cases by their results, as the run counted them.
    pub counts: Option<CaseCounts>,
    /// The use of targets.
    pub targets: Vec<TargetTime>,
    /// The instances at the end.
    pub clean_up: Option<CleanUp>,
    /// The warnings.
    pub warnings: Vec<String>,
    by_case: HashMap<(Arc<str>, String), usize>,
    by_instance: HashMap<String, usize>,
    /// The attempts of the leases that have not ended.
    leases: HashMap<String, AttemptIndex>,
    budgets: Budgets,
}

/// The end of a run.
#[derive(Clone, Copy, Debug)]
pub struct RunEnd {
    /// The exit code.
    pub exit_code: u8,
    /// True if a user interrupted the run.
    pub interrupted: bool,
}

/// The position of an attempt: of its case in the results, and of the attempt in its case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptIndex {
    /// The index of the case.
    pub case: usize,
    /// The index of the attempt.
    pub attempt: usize,
}

/// A case with its attempts.
#[derive(Debug)]
pub struct TestedCase {
    /// The case.
    pub case: Arc<CaseInfo>,
    /// The reason that the plan skips the case, if it does.
    pub skipped: Option<SkipReason>,
    /// The reason that the case has no attempt, if it is known.
    pub not_run: Option<NotRunReason>,
    /// The attempts of all iterations, in the order of their starts.
    pub attempts: Vec<CaseAttempt>,
}

/// One attempt. Times of day are since the run began.
#[derive(Debug, Default)]
pub struct CaseAttempt {
    /// nextest's number of the attempt, from 1.
    pub number: u32,
    /// The iteration of a stress run, from 0.
    pub stress_index: Option<u32>,
    /// The time of the request for a lease.
    pub requested: Option<Duration>,
    /// The time of the lease.
    pub leased: Option<Duration>,
    /// The start of the test process.
    pub started: Option<Duration>,
    /// The end of the attempt.
    pub ended: Option<Duration>,
    /// The verdict; `None` if the attempt has not ended.
    pub verdict: Option<Verdict>,
    /// The reason of the verdict, if any: see [`AttemptResult::reason`].
    pub reason: Option<String>,
    /// True for an expected failure.
    pub is_expected: bool,
    /// True if the case failed although this last attempt passed.
    pub failed_as_flaky: bool,
    /// The leased instances.
    pub instances: Vec<String>,
    /// The time that the attempt waited for its lease.
    pub waited: Duration,
    /// The lifetime of the test process.
    pub took: Duration,
    /// The part of `took` that was spent on the set-up of fixtures.
    pub set_up: Duration,
    /// The part of `took` that was spent on tear-downs.
    pub tear_down: Duration,
    /// The exit status of the test process.
    pub exit: Option<Exit>,
    /// The time limit, if it ended the test.
    pub timed_out: Option<Duration>,
    /// The findings of health checks.
    pub findings: Vec<String>,
    /// The standard output.
    pub stdout: Option<KeptOutput>,
    /// The standard error.
    pub stderr: Option<KeptOutput>,
    /// The commands that ran on the instances.
    pub commands: Vec<RanCommand>,
    /// The number of further commands, which are only in the feed.
    pub more_commands: usize,
    /// The file with both streams, in the order in which the test wrote.
    pub log: Option<PathBuf>,
    /// The consoles of instances, after an attempt that failed, crashed or ended as infra.
    pub consoles: Vec<KeptConsole>,
    /// The results that the test reported.
    pub sub_results: SubResults,
    /// The measurements that the test reported.
    pub measurements: Vec<Measurement>,
    /// The folder of artifacts.
    pub artifacts_folder: Option<PathBuf>,
    /// The collected artifacts.
    pub artifacts: Vec<CollectedArtifact>,
}

/// The output of an attempt to one stream. A run with much output keeps little of each: first of attempts that passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptOutput {
    /// The file with the whole output, if there is one.
    pub path: Option<PathBuf>,
    /// The length of the whole output in bytes.
    pub length: u64,
    /// The end of the output.
    pub tail: String,
}

/// The end of an instance's console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptConsole {
    /// The instance.
    pub instance: String,
    /// The copy of the whole console, or of its end.
    pub path: Option<PathBuf>,
    /// The end of the text.
    pub text: String,
}

/// A command that ran on an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RanCommand {
    /// The instance.
    pub instance: String,
    /// The command, perhaps cut.
    pub command: String,
    /// The end of the command, since the run began.
    pub ended: Duration,
    /// The duration.
    pub took: Duration,
    /// The exit status.
    pub exit: Exit,
}

/// An instance with what happened on it.
#[derive(Debug, Default)]
pub struct UsedInstance {
    /// The instance's name.
    pub name: String,
    /// The target; `None` if no event names it.
    pub target: Option<InstanceTarget>,
    /// A command line that opens a shell on the instance, or its address.
    pub reach: Option<String>,
    /// True if the instance existed before.
    pub reused: bool,
    /// The facts.
    pub facts: BTreeMap<String, String>,
    /// The times on the instance, in the order of their ends.
    pub spans: Vec<InstanceSpan>,
    /// Errors, reasons for being dirty, and the steps of recipes, with their times.
    pub notes: Vec<(Duration, String)>,
    /// The console after a failed deploy or preparation.
    pub console: Option<KeptConsole>,
    /// The start of a deploy or preparation that has not ended.
    open: Vec<(SpanKind, Duration)>,
    /// The attempt that holds a lease, and the start of the lease.
    holder: Option<(AttemptIndex, Duration)>,
}

/// A part of the time of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceSpan {
    /// The kind.
    pub kind: SpanKind,
    /// The start, since the run began.
    pub start: Duration,
    /// The end.
    pub end: Duration,
    /// The attempt that held the instance, if any.
    pub attempt: Option<AttemptIndex>,
}

/// The kind of an [`InstanceSpan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpanKind {
    /// A deploy, until the preparation.
    Deploy,
    /// The health check of an instance that existed before.
    Check,
    /// A preparation.
    Prepare,
    /// A lease, from the grant to the end. Contains set-up, call and tear-down.
    Lease,
    /// The set-up of fixtures.
    SetUp,
    /// The test itself.
    Call,
    /// The tear-down of fixtures.
    TearDown,
    /// A restore to a snapshot.
    Restore,
    /// A delete.
    Delete,
}

impl Results {
    /// Takes the next event.
    pub fn ingest(&mut self, event: &RunEvent) {
        let now = event.monotonic;
        self.length = self.length.max(now);
        if self.wall.is_zero() {
            self.wall = event.wall.saturating_sub(now);
        }
        match &event.kind {
            RunEventKind::RunStarted { .. } => self.started = Some(event.kind.clone()),
            RunEventKind::RunEnded {
                exit_code,
                interrupted,
            } => {
                let (exit_code, interrupted) = (*exit_code, *interrupted);
                self.end = Some(RunEnd {
                    exit_code,
                    interrupted,
                });
            }
            RunEventKind::Skipped { case, reason } => {
                let index = self.case(case);
                self.cases[index].skipped = Some(reason.clone());
            }
            RunEventKind::Planned { case } => {
                self.case(case);
            }
            RunEventKind::NotRun { case, reason } => {
                let index = self.case(case);
                self.cases[index].not_run = Some(reason.clone());
            }
            RunEventKind::CasesCounted(counts) => self.counts = Some(counts.clone()),
            RunEventKind::TargetUsed(used) => self.targets.push(used.clone()),
            RunEventKind::CleanedUp(clean_up) => self.clean_up = Some(clean_up.clone()),
            RunEventKind::Warning { message } => self.warnings.push(message.clone()),
            kind => {
                self.ingest_instance(now, kind);
                self.ingest_attempt(now, kind);
            }
        }
    }

    /// Ends what has not ended at the last event: call it when no more events come.
    pub fn close(&mut self) {
        if self.end.is_none() {
            for case in &mut self.cases {
                case.not_run.get_or_insert(NotRunReason::RunKilled);
            }
        }
        for instance in &mut self.instances {
            for (kind, start) in std::mem::take(&mut instance.open) {
                instance.span(kind, start, self.length, None);
            }
            let Some((index, start)) = instance.holder.take() else {
                continue;
            };
            instance.span(SpanKind::Lease, start, self.length, Some(index));
            let attempt = &self.cases[index.case].attempts[index.attempt];
            if let (Some(started), None) = (attempt.started, &attempt.verdict) {
                instance.span(SpanKind::Call, started, self.length, Some(index));
            }
        }
    }

    fn ingest_instance(&mut self, now: Duration, kind: &RunEventKind) {
        match kind {
            RunEventKind::DeployStarted { instance, target } => {
                let instance = self.instance(instance);
                instance.open.push((SpanKind::Deploy, now));
                if target.is_some() {
                    instance.target.clone_from(target);
                }
            }
            RunEventKind::PrepareStarted { instance } => {
                let instance = self.instance(instance);
                instance.close(SpanKind::Deploy, SpanKind::Deploy, now);
                instance.open.push((SpanKind::Prepare, now));
            }
            RunEventKind::PrepareEnded {
                instance, error, ..
            } => {
                let instance = self.instance(instance);
                instance.close(SpanKind::Prepare, SpanKind::Prepare, now);
                instance.note(now, error);
            }
            RunEventKind::DeployEnded {
                instance,
                reused,
                target,
                reach,
                error,
                ..
            } => {
                let instance = self.instance(instance);
                instance.reused |= *reused;
                if target.is_some() {
                    instance.target.clone_from(target);
                }
                instance.reach.clone_from(reach);
                let shown = match reused {
                    true => SpanKind::Check,
                    false => SpanKind::Deploy,
                };
                instance.close(SpanKind::Deploy, shown, now);
                instance.note(now, error);
            }
            RunEventKind::RecipeStep {
                instance,
                step,
                took,
                error,
            } => {
                let took = took.as_secs_f64();
                let step = match error {
                    None => format!("recipe: {step} ({took:.1} s)"),
                    Some(error) => format!("recipe: {step} ({took:.1} s): {error}"),
                };
                self.instance(instance).note(now, &Some(step));
            }
            RunEventKind::Facts { instance, facts } => {
                self.instance(instance).facts.clone_from(facts);
            }
            RunEventKind::Fixture {
                instance: Some(instance),
                torn_down,
                took,
                name,
                error,
            } => {
                let instance = self.instance(instance);
                // Within an attempt, the time is part of the attempt's.
                if instance.holder.is_none() {
                    let kind = match torn_down {
                        true => SpanKind::TearDown,
                        false => SpanKind::SetUp,
                    };
                    instance.span(kind, now.saturating_sub(*took), now, None);
                }
                let note = |error: &String| format!("fixture `{name}`: {error}");
                instance.note(now, &error.as_ref().map(note));
            }
            RunEventKind::Restored {
                instance,
                took,
                error,
            } => self
                .instance(instance)
                .ended(SpanKind::Restore, now, *took, error),
            RunEventKind::Deleted {
                instance,
                took,
                error,
            } => self
                .instance(instance)
                .ended(SpanKind::Delete, now, *took, error),
            RunEventKind::Dirty { instance, reason } => {
                let note = format!("dirty: {reason}");
                self.instance(instance).note(now, &Some(note));
            }
            RunEventKind::SetAside { instance } => {
                let note = "serves no further case of the run".to_owned();
                self.instance(instance).note(now, &Some(note));
            }
            _ => {}
        }
    }

    fn ingest_attempt(&mut self, now: Duration, kind: &RunEventKind) {
        match kind {
            RunEventKind::LeaseWaiting { attempt } => {
                self.attempt(attempt).1.requested = Some(now);
            }
            RunEventKind::LeaseGranted {
                lease,
                attempt,
                instances,
                waited,
            } => {
                let (index, attempt) = self.attempt(attempt);
                attempt.leased = Some(now);
                attempt.waited = *waited;
                attempt.instances.clone_from(instances);
                self.leases.insert(lease.clone(), index);
                for instance in instances {
                    self.instance(instance).holder = Some((index, now));
                }
            }
            RunEventKind::AttemptStarted { attempt, instances } => {
                let (_, attempt) = self.attempt(attempt);
                attempt.started = Some(now);
                attempt.instances.clone_from(instances);
            }
            RunEventKind::AttemptOutput {
                attempt,
                stream,
                text,
            } => {
                let (_, attempt) = self.attempt(attempt);
                let output = match stream {
                    Stream::Stdout => &mut attempt.stdout,
                    Stream::Stderr => &mut attempt.stderr,
                };
                output.get_or_insert_default().append(text);
            }
            RunEventKind::AttemptEnded { attempt, result } => self.ended(now, attempt, result),
            RunEventKind::Overruled {
                attempt,
                verdict,
                reason,
            } if !attempt.case.is_deploy_entry() => {
                let (_, attempt) = self.attempt(attempt);
                attempt.verdict = Some(verdict.clone());
                attempt.is_expected = false;
                let own = attempt.reason.iter().map(|own| format!(": {own}"));
                attempt.reason = Some(reason.clone() + &own.collect::<String>());
            }
            RunEventKind::FlakyFailed { attempt } if !attempt.case.is_deploy_entry() => {
                let (_, attempt) = self.attempt(attempt);
                attempt.failed_as_flaky = true;
                attempt.reason = Some(FLAKY.to_owned());
            }
            RunEventKind::Collected {
                attempt,
                folder,
                artifacts,
            } => {
                let (_, attempt) = self.attempt(attempt);
                attempt.artifacts_folder = Some(folder.clone());
                attempt.artifacts.clone_from(artifacts);
            }
            RunEventKind::Record {
                attempt,
                measurement,
            } => {
                let (index, attempt) = self.attempt(attempt);
                attempt.measurements.push(measurement.clone());
                let count = attempt.measurements.len();
                self.weigh_after(index, count);
            }
            RunEventKind::SubResult { attempt, result } => {
                let (index, attempt) = self.attempt(attempt);
                attempt.sub_results.push(result);
                let count = attempt.sub_results.count();
                self.weigh_after(index, count);
            }
            RunEventKind::RemoteCommand {
                instance,
                lease,
                command,
                took,
                exit,
            } => {
                let Some(index) = self.leases.get(lease).copied() else {
                    return;
                };
                let command = RanCommand {
                    instance: instance.clone(),
                    command: budget::beginning(command).to_owned(),
                    ended: now,
                    took: *took,
                    exit: exit.clone(),
                };
                let commands = &mut self.at(index).commands;
                commands.push(command);
                let count = commands.len();
                self.weigh_after(index, count);
            }
            RunEventKind::Console {
                instance,
                text,
                file,
            } => {
                let used = self.instance(instance);
                let mut console = KeptConsole {
                    instance: instance.clone(),
                    path: file.clone(),
                    text: budget::end(text, budget::MOST).to_owned(),
                };
                if let Some((index, _)) = used.holder {
                    self.at(index).add_console(console);
                } else {
                    budget::keep_end(&mut console.text, CONSOLE);
                    used.console = Some(console);
                }
            }
            RunEventKind::LeaseEnded {
                lease, instances, ..
            } => {
                self.leases.remove(lease);
                for name in instances {
                    let instance = self.instance(name);
                    if let Some((index, start)) = instance.holder.take() {
                        instance.span(SpanKind::Lease, start, now, Some(index));
                    }
                }
            }
            _ => {}
        }
    }

    fn ended(&mut self, now: Duration, attempt: &Attempt, result: &AttemptResult) {
        let (index, attempt) = self.attempt(attempt);
        attempt.ended = Some(now);
        attempt.verdict = Some(result.verdict.clone());
        attempt.reason = result.reason();
        attempt.is_expected = result.expected.is_some();
        attempt.waited = result.waited.max(attempt.waited);
        attempt.took = result.took;
        attempt.tear_down = result.tear_down.min(result.fixtures);
        attempt.set_up = result.fixtures - attempt.tear_down;
        attempt.exit.clone_from(&result.exit);
        attempt.timed_out = result.timed_out;
        attempt.findings.clone_from(&result.findings);
        attempt.artifacts_folder.clone_from(&result.artifacts);
        attempt.log.clone_from(&result.log);
        for console in &result.consoles {
            attempt.add_console(KeptConsole {
                instance: console.instance.clone(),
                path: Some(console.output.path.clone()),
                text: budget::end(&console.output.tail, budget::MOST).to_owned(),
            });
        }
        if !result.instances.is_empty() {
            attempt.instances.clone_from(&result.instances);
        }
        for (kept, file) in [
            (&mut attempt.stdout, &result.stdout),
            (&mut attempt.stderr, &result.stderr),
        ] {
            if let Some(file) = file {
                *kept = Some(KeptOutput::of(file));
            }
        }
        if !result.took.is_zero() {
            let start = attempt.started.unwrap_or(now.saturating_sub(result.took));
            let call = start + attempt.set_up;
            let (end, tear_down) = (start + result.took, attempt.tear_down);
            let parts = [
                (SpanKind::SetUp, start, call),
                (SpanKind::Call, call, end.saturating_sub(tear_down)),
                (SpanKind::TearDown, end.saturating_sub(tear_down), end),
            ];
            for name in attempt.instances.clone() {
                let instance = self.instance(&name);
                for (kind, start, end) in parts {
                    instance.span(kind, start, end, Some(index));
                }
            }
        }
        self.weigh(index);
    }

    fn case(&mut self, case: &Arc<CaseInfo>) -> usize {
        let key = (Arc::clone(&case.binary_id), case.name.clone());
        *self.by_case.entry(key).or_insert_with(|| {
            self.cases.push(TestedCase {
                case: Arc::clone(case),
                skipped: None,
                not_run: None,
                attempts: Vec::new(),
            });
            self.cases.len() - 1
        })
    }

    fn attempt(&mut self, attempt: &Attempt) -> (AttemptIndex, &mut CaseAttempt) {
        let case = self.case(&attempt.case);
        let attempts = &mut self.cases[case].attempts;
        let known = attempts.iter().rposition(|known| {
            known.number == attempt.number && known.stress_index == attempt.stress_index
        });
        let index = known.unwrap_or_else(|| {
            attempts.push(CaseAttempt {
                number: attempt.number,
                stress_index: attempt.stress_index,
                ..CaseAttempt::default()
            });
            attempts.len() - 1
        });
        let position = AttemptIndex {
            case,
            attempt: index,
        };
        (position, &mut attempts[index])
    }

    fn at(&mut self, index: AttemptIndex) -> &mut CaseAttempt {
        &mut self.cases[index.case].attempts[index.attempt]
    }

    fn instance(&mut self, name: &str) -> &mut UsedInstance {
        let index = match self.by_instance.get(name) {
            Some(index) => *index,
            None => {
                self.by_instance
                    .insert(name.to_owned(), self.instances.len());
                self.instances.push(UsedInstance {
                    name: name.to_owned(),
                    ..UsedInstance::default()
                });
                self.instances.len() - 1
            }
        };
        &mut self.instances[index]
    }

    /// Weighs an attempt that has many texts before it ends.
    fn weigh_after(&mut self, index: AttemptIndex, count: usize) {
        if Budgets::is_due(count) {
            self.weigh(index);
        }
    }

    /// Shortens texts so that they stay within their budget.
    fn weigh(&mut self, index: AttemptIndex) {
        let attempt = &mut self.cases[index.case].attempts[index.attempt];
        if let Some(quiet) = self.budgets.exceeded_by(attempt) {
            let all = self.cases.iter_mut().flat_map(|case| &mut case.attempts);
            self.budgets.shorten(quiet, all);
        }
    }
}

impl TestedCase {
    /// The last attempts of the iterations.
    pub fn last_attempts(&self) -> impl Iterator<Item = &CaseAttempt> {
        let is_last = |(index, one): &(usize, &CaseAttempt)| {
            let mut later = self.attempts[index + 1..].iter();
            !later.any(|other| other.stress_index == one.stress_index)
        };
        // Iterations follow each other: almost always, the next attempt decides.
        self.attempts
            .iter()
            .enumerate()
            .filter(is_last)
            .map(|(_, one)| one)
    }

    /// The worst result of the iterations.
    pub fn result(&self) -> CaseResult {
        let last = self.last_attempts().map(|one| match one.failed_as_flaky {
            true => CaseResult::Failed,
            false => one.result(),
        });
        match last.max() {
            Some(CaseResult::Passed | CaseResult::Expected) if self.is_flaky() => CaseResult::Flaky,
            Some(worst) => worst,
            None if self.skipped.is_some() => CaseResult::Skipped,
            None => CaseResult::NotRun,
        }
    }

    /// The reason that the case has no attempt, if it is known.
    pub fn absence(&self) -> Option<String> {
        let not_run = self.not_run.as_ref().filter(|_| self.attempts.is_empty());
        let skipped = self.skipped.as_ref().map(ToString::to_string);
        skipped.or_else(|| not_run.map(ToString::to_string))
    }

    /// The last result, as other runs are compared with it.
    pub fn last_result(&self) -> LastResult {
        let took = self.attempts.last().map(|attempt| attempt.took);
        LastResult {
            verdict: self.result().verdict(),
            took: took.unwrap_or_default(),
        }
    }

    fn is_flaky(&self) -> bool {
        let failed = |one: &CaseAttempt| one.result() >= CaseResult::Infra;
        self.attempts.iter().any(failed)
    }
}

impl CaseAttempt {
    /// Adds a console; a later one of the same instance replaces it.
    fn add_console(&mut self, console: KeptConsole) {
        let mut known = self.consoles.iter_mut();
        match known.find(|known| known.instance == console.instance) {
            Some(known) => *known = console,
            None => self.consoles.push(console),
        }
    }

    /// The result of this attempt.
    pub fn result(&self) -> CaseResult {
        CaseResult::of(self.verdict.as_ref(), self.is_expected)
    }
}

impl KeptOutput {
    fn of(file: &OutputFile) -> Self {
        Self {
            path: Some(file.path.clone()),
            length: file.length,
            tail: budget::end(&file.tail, budget::MOST).to_owned(),
        }
    }

    fn append(&mut self, text: &str) {
        self.length += text.len() as u64;
        self.tail.push_str(text);
        budget::keep_end(&mut self.tail, budget::MOST);
    }
}

impl UsedInstance {
    fn span(
        &mut self,
        kind: SpanKind,
        start: Duration,
        end: Duration,
        attempt: Option<AttemptIndex>,
    ) {
        if end > start {
            self.spans.push(InstanceSpan {
                kind,
                start,
                end,
                attempt,
            });
        }
    }

    /// Ends an open span, which is shown as of another kind.
    fn close(&mut self, kind: SpanKind, shown: SpanKind, now: Duration) {
        let open = self.open.iter().rposition(|(open, _)| *open == kind);
        if let Some(open) = open {
            let (_, start) = self.open.remove(open);
            self.span(shown, start, now, None);
        }
    }

    fn ended(&mut self, kind: SpanKind, now: Duration, took: Duration, error: &Option<String>) {
        self.span(kind, now.saturating_sub(took), now, None);
        self.note(now, error);
    }

    fn note(&mut self, now: Duration, text: &Option<String>) {
        self.notes
            .extend(text.iter().map(|text| (now, text.clone())));
    }
}

#[cfg(test)]
mod tests;
