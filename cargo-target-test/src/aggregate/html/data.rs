//! The data of the page: results in the form that its scripts read. Times are in microseconds.

use std::{collections::HashMap, path::Path, time::Duration};

use serde::Serialize;
use serde_json::Value;
use target_fixtures::wire::{Exit, VerdictKind};

use super::{
    super::results::{
        CaseAttempt, KeptConsole, KeptOutput, Results, SpanKind, TestedCase, UsedInstance,
    },
    changes::{Changes, EarlierRuns},
    links::Links,
};
use crate::{
    case::{
        RunsOn,
        verdict::{CaseCounts, CaseResult},
    },
    error::one_line,
    run_event::InstanceTarget,
};

/// The length of a reason in lists, in bytes.
const REASON: usize = 300;

/// The number of metrics of which earlier values are looked up.
const COMPARED: usize = 200;
/// The number of metrics in the page.
const METRICS: usize = 5000;

/// The first data block.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Data<'r> {
    #[serde(flatten)]
    pub(super) page: &'r Page<'r>,
    /// The first case of each block of details.
    pub(super) first_cases: Vec<usize>,
}

/// Everything but the details of cases.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<'r> {
    /// The first event of the run.
    started: Option<Value>,
    /// In milliseconds since 1970.
    wall: u64,
    length: u64,
    exit_code: Option<u8>,
    interrupted: bool,
    complete: bool,
    counts: Option<&'r CaseCounts>,
    places: Vec<Place<'r>>,
    tests: Vec<TestRow<'r>>,
    cases: Vec<CaseCell>,
    subtests: Vec<SubtestRow<'r>>,
    instances: Vec<Lane<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<EventLane<'r>>,
    /// Waits for leases: start, end, case.
    waits: Vec<(u64, u64, usize)>,
    warnings: &'r [String],
    notes: Vec<(&'static str, &'r str, &'r str)>,
    changes: Option<Changes>,
    metrics: Vec<MetricLine<'r>>,
}

/// A column of the matrix: where cases run.
#[derive(PartialEq, Eq, Hash, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct Place<'r> {
    kind: PlaceKind,
    /// The name in the playbook.
    name: &'r str,
    /// The text in the brackets of case names.
    label: &'r str,
}

#[derive(PartialEq, Eq, Hash, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum PlaceKind {
    Target,
    Environment,
    Any,
    Host,
}

#[derive(Serialize)]
struct TestRow<'r> {
    binary: &'r str,
    name: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Value>,
}

#[derive(Serialize)]
struct CaseCell {
    test: usize,
    place: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    repetition: Option<u32>,
    verdict: &'static str,
    took: u64,
    waited: u64,
    #[serde(rename = "setUp")]
    set_up: u64,
    #[serde(rename = "tearDown")]
    tear_down: u64,
    attempts: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    findings: bool,
}

/// A row of the matrix below its test: a sub-result, with its verdict by case.
#[derive(Serialize)]
struct SubtestRow<'r> {
    test: usize,
    path: &'r [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    lane: Option<&'r str>,
    /// Case and verdict.
    cells: Vec<(usize, &'static str)>,
}

/// An instance.
#[derive(Serialize)]
struct Lane<'r> {
    name: &'r str,
    reused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'r InstanceTarget>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reach: Option<&'r str>,
    facts: &'r std::collections::BTreeMap<String, String>,
    notes: Vec<(u64, &'r str)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    console: Option<ConsoleText<'r>>,
    spans: Vec<LaneSpan>,
}

/// Kind, start, end, and the case that held the instance, if any.
#[derive(Serialize)]
struct LaneSpan(SpanKind, u64, u64, Option<usize>);

/// A metric of a case over runs, the newest last.
#[derive(Serialize)]
struct MetricLine<'r> {
    case: usize,
    name: &'r str,
    unit: Option<&'r str>,
    values: Vec<f64>,
}

/// The details of a case.
#[derive(Serialize)]
pub(super) struct CaseDetail<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    absence: Option<String>,
    attempts: Vec<AttemptDetail<'r>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AttemptDetail<'r> {
    number: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    iteration: Option<u32>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    took: u64,
    waited: u64,
    set_up: u64,
    tear_down: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timed_out: Option<u64>,
    instances: &'r [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    findings: &'r [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<OutputText<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<OutputText<'r>>,
    /// Instance, start, duration, exit status, command.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    commands: Vec<(&'r str, u64, u64, String, &'r str)>,
    #[serde(skip_serializing_if = "is_zero")]
    more_commands: usize,
    /// The link to the file with both streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    consoles: Vec<ConsoleText<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subtests: Vec<SubtestDetail<'r>>,
    #[serde(skip_serializing_if = "is_zero")]
    more_subtests: usize,
    /// Name, value, unit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    measurements: Vec<(&'r str, f64, Option<&'r str>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<String>,
    /// Instance, artifact, bytes, error.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    artifacts: Vec<(&'r str, &'r str, u64, Option<&'r str>)>,
}

#[derive(Serialize)]
struct OutputText<'r> {
    text: &'r str,
    length: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

#[derive(Serialize)]
struct ConsoleText<'r> {
    instance: &'r str,
    text: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

impl<'r> ConsoleText<'r> {
    fn of(console: &'r KeptConsole, links: &Links) -> Self {
        Self {
            instance: &console.instance,
            text: &console.text,
            link: console.path.as_deref().map(|path| links.to(path)),
        }
    }
}

#[derive(Serialize)]
struct SubtestDetail<'r> {
    path: &'r [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    lane: Option<&'r str>,
    verdict: &'static str,
    took: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'r str>,
}

impl<'r> Page<'r> {
    pub(super) fn of(
        results: &'r Results,
        links: &Links,
        earlier: Option<&mut (dyn EarlierRuns + 'static)>,
    ) -> Self {
        let mut rows = Rows::default();
        let cases: Vec<_> = results.cases.iter().map(|case| rows.cell(case)).collect();
        let mut subtests = Subtests::default();
        for ((index, case), cell) in results.cases.iter().enumerate().zip(&cases) {
            subtests.add(index, cell.test, case);
        }
        let (mut changes, mut metrics) = (None, metric_lines(results));
        if let Some(earlier) = earlier {
            let previous = earlier.previous(results);
            changes = previous.map(|previous| Changes::since(&previous, results));
            for line in metrics.iter_mut().take(COMPARED) {
                let case = &results.cases[line.case].case;
                let before = earlier.values(case, line.name);
                line.values.splice(0..0, before);
            }
        }
        Self {
            started: results
                .started
                .as_ref()
                .and_then(|event| serde_json::to_value(event).ok()),
            wall: u64::try_from(results.wall.as_millis()).unwrap_or(u64::MAX),
            length: micros(results.length),
            exit_code: results.end.map(|end| end.exit_code),
            interrupted: results.end.is_some_and(|end| end.interrupted),
            complete: results.end.is_some(),
            counts: results.counts.as_ref(),
            places: rows.places,
            tests: rows.tests,
            cases,
            subtests: subtests.rows,
            instances: results
                .instances
                .iter()
                .map(|instance| Lane::of(instance, links))
                .collect(),
            events: event_lanes(results),
            waits: waits(results),
            warnings: &results.warnings,
            notes: notes(results),
            changes,
            metrics,
        }
    }

    /// The title of the page.
    pub(super) fn title(&self) -> String {
        let text = |key| self.started.as_ref()?.get(key)?.as_str();
        let workspace = text("workspace").and_then(|path| Path::new(path).file_name());
        let workspace = workspace.map(|name| name.to_string_lossy().into_owned());
        let run = text("run").unwrap_or("unknown run");
        format!("{} · {run}", workspace.as_deref().unwrap_or("tests"))
    }
}

/// The rows and columns of the matrix.
#[derive(Default)]
struct Rows<'r> {
    tests: Vec<TestRow<'r>>,
    places: Vec<Place<'r>>,
    by_test: HashMap<(&'r str, &'r str), usize>,
    by_place: HashMap<Place<'r>, usize>,
}

impl<'r> Rows<'r> {
    fn cell(&mut self, tested: &'r TestedCase) -> CaseCell {
        let case = &*tested.case;
        let key = (&*case.binary_id, &*case.test);
        let test = *self.by_test.entry(key).or_insert_with(|| {
            let info = serde_json::to_value(case).unwrap_or_default();
            let meta = info.get("metadata").cloned();
            let meta = meta.filter(|meta| meta.as_object().is_some_and(|meta| !meta.is_empty()));
            self.tests.push(TestRow {
                binary: key.0,
                name: key.1,
                meta,
            });
            self.tests.len() - 1
        });
        let place = match &case.runs_on {
            RunsOn::Target { name, label } => Place {
                kind: PlaceKind::Target,
                name,
                label,
            },
            RunsOn::Environment { name, label } => Place {
                kind: PlaceKind::Environment,
                name,
                label,
            },
            RunsOn::Any => Place {
                kind: PlaceKind::Any,
                name: "",
                label: "any target",
            },
            RunsOn::Host => Place {
                kind: PlaceKind::Host,
                name: "",
                label: "host",
            },
        };
        let place = *self.by_place.entry(place).or_insert_with(|| {
            self.places.push(place);
            self.places.len() - 1
        });
        let worst = tested
            .last_attempts()
            .max_by_key(|one| (one.failed_as_flaky, one.result()));
        let result = tested.result();
        let reason = match result {
            CaseResult::Flaky => tested.attempts.iter().find_map(|one| {
                let failed = one.result() >= CaseResult::Infra;
                failed.then(|| one.reason.clone()).flatten()
            }),
            _ => worst.and_then(|one| one.reason.clone()),
        };
        let time = |part: fn(&CaseAttempt) -> Duration| worst.map_or(0, |one| micros(part(one)));
        CaseCell {
            test,
            place,
            repetition: case.repetition,
            verdict: word(result),
            took: time(|one| one.took),
            waited: time(|one| one.waited),
            set_up: time(|one| one.set_up),
            tear_down: time(|one| one.tear_down),
            attempts: tested.attempts.len(),
            reason: reason
                .or_else(|| tested.absence())
                .map(|reason| cut(&reason)),
            findings: tested.attempts.iter().any(|one| !one.findings.is_empty()),
        }
    }
}

/// The rows of sub-results, by test, path and lane.
#[derive(Default)]
struct Subtests<'r> {
    rows: Vec<SubtestRow<'r>>,
    by_key: HashMap<(usize, &'r [String], Option<&'r str>), usize>,
}

impl<'r> Subtests<'r> {
    fn add(&mut self, index: usize, test: usize, case: &'r TestedCase) {
        let mut worst: Vec<(usize, CaseResult)> = Vec::new();
        let mut known = HashMap::new();
        // A later attempt replaces the result of an earlier one, which may have failed.
        for result in case.attempts.iter().flat_map(|one| one.sub_results.iter()) {
            let key = (test, &*result.path, result.lane.as_deref());
            let row = *self.by_key.entry(key).or_insert_with(|| {
                self.rows.push(SubtestRow {
                    test,
                    path: key.1,
                    lane: key.2,
                    cells: Vec::new(),
                });
                self.rows.len() - 1
            });
            let result = CaseResult::from(result.verdict);
            let at = *known.entry(row).or_insert_with(|| {
                worst.push((row, result));
                worst.len() - 1
            });
            let before = worst[at].1;
            worst[at].1 = match (before, result) {
                (
                    CaseResult::Infra | CaseResult::Failed | CaseResult::Crashed,
                    CaseResult::Passed,
                )
                | (CaseResult::Flaky, CaseResult::Passed) => CaseResult::Flaky,
                (_, result) => result,
            };
        }
        for (row, result) in worst {
            self.rows[row].cells.push((index, word(result)));
        }
    }
}

impl<'r> Lane<'r> {
    fn of(instance: &'r UsedInstance, links: &Links) -> Self {
        let spans = instance.spans.iter().map(|span| {
            let case = span.attempt.map(|index| index.case);
            LaneSpan(span.kind, micros(span.start), micros(span.end), case)
        });
        let notes = instance.notes.iter();
        Self {
            name: &instance.name,
            reused: instance.reused,
            target: instance.target.as_ref(),
            reach: instance.reach.as_deref(),
            facts: &instance.facts,
            console: instance
                .console
                .as_ref()
                .map(|console| ConsoleText::of(console, links)),
            notes: notes
                .map(|(at, text)| (micros(*at), text.as_str()))
                .collect(),
            spans: spans.collect(),
        }
    }
}

impl<'r> CaseDetail<'r> {
    pub(super) fn of(case: &'r TestedCase, links: &Links) -> Self {
        let attempts = case.attempts.iter();
        Self {
            absence: case.absence(),
            attempts: attempts.map(|one| AttemptDetail::of(one, links)).collect(),
        }
    }
}

impl<'r> AttemptDetail<'r> {
    fn of(attempt: &'r CaseAttempt, links: &Links) -> Self {
        let output = |output: &'r Option<KeptOutput>| {
            let output = output.as_ref().filter(|output| output.length > 0)?;
            Some(OutputText {
                text: &output.tail,
                length: output.length,
                link: output.path.as_deref().map(|path| links.to(path)),
            })
        };
        let commands = attempt.commands.iter().map(|one| {
            let start = one.ended.saturating_sub(one.took);
            let (start, took) = (micros(start), micros(one.took));
            (
                &*one.instance,
                start,
                took,
                status(&one.exit),
                &*one.command,
            )
        });
        let subtests = attempt.sub_results.iter().map(|one| SubtestDetail {
            path: &one.path,
            lane: one.lane.as_deref(),
            verdict: word(one.verdict.into()),
            took: one.took,
            // A sub-result that passed needs no words.
            message: one
                .message
                .as_deref()
                .filter(|_| one.verdict != VerdictKind::Pass),
        });
        let measurements = attempt.measurements.iter();
        let artifacts = attempt.artifacts.iter();
        Self {
            number: attempt.number,
            iteration: attempt.stress_index,
            verdict: word(attempt.result()),
            reason: attempt.reason.clone(),
            at: attempt.started.or(attempt.requested).map(micros),
            took: micros(attempt.took),
            waited: micros(attempt.waited),
            set_up: micros(attempt.set_up),
            tear_down: micros(attempt.tear_down),
            exit: attempt.exit.as_ref().map(status),
            timed_out: attempt.timed_out.map(micros),
            instances: &attempt.instances,
            findings: &attempt.findings,
            stdout: output(&attempt.stdout),
            stderr: output(&attempt.stderr),
            commands: commands.collect(),
            more_commands: attempt.more_commands,
            log: attempt.log.as_deref().map(|path| links.to(path)),
            consoles: attempt
                .consoles
                .iter()
                .map(|console| ConsoleText::of(console, links))
                .collect(),
            subtests: subtests.collect(),
            more_subtests: attempt.sub_results.left_out(),
            measurements: measurements
                .map(|one| (&*one.name, one.value, one.unit.as_deref()))
                .collect(),
            folder: attempt
                .artifacts_folder
                .as_deref()
                .map(|path| links.to(path)),
            artifacts: artifacts
                .map(|one| {
                    (
                        &*one.instance,
                        &*one.artifact,
                        one.bytes,
                        one.error.as_deref(),
                    )
                })
                .collect(),
        }
    }
}

/// The runs of one event of an orchestration.
#[derive(Serialize)]
struct EventLane<'r> {
    name: &'r str,
    case: usize,
    /// Start, end, verdict.
    spans: Vec<(u64, u64, &'static str)>,
}

/// Returns the lanes of the events of orchestrations. An event's runs have its name alone as their path.
fn event_lanes(results: &Results) -> Vec<EventLane<'_>> {
    let start = micros(results.wall);
    let mut lanes: Vec<EventLane<'_>> = Vec::new();
    for (index, case) in results.cases.iter().enumerate() {
        let metadata = case.case.metadata.as_ref();
        if metadata.is_none_or(|metadata| metadata.orchestration.is_none()) {
            continue;
        }
        for one in case.attempts.iter().flat_map(|one| one.sub_results.iter()) {
            let [name] = one.path.as_slice() else {
                continue;
            };
            let began = one.started.saturating_sub(start);
            let span = (
                began,
                began.saturating_add(one.took),
                word(one.verdict.into()),
            );
            let mut known = lanes.iter_mut();
            match known.find(|lane| lane.case == index && lane.name == name) {
                Some(lane) => lane.spans.push(span),
                None => lanes.push(EventLane {
                    name,
                    case: index,
                    spans: vec![span],
                }),
            }
        }
    }
    lanes
}

/// Returns the waits for leases, also of cases that got none.
fn waits(results: &Results) -> Vec<(u64, u64, usize)> {
    let cases = results.cases.iter().enumerate();
    let attempts =
        cases.flat_map(|(index, case)| case.attempts.iter().map(move |one| (index, one)));
    let waits = attempts.filter_map(|(index, one)| {
        let start = one.requested?;
        let end = one.leased.or(one.ended).unwrap_or(results.length);
        (end > start).then_some((micros(start), micros(end), index))
    });
    waits.collect()
}

fn metric_lines(results: &Results) -> Vec<MetricLine<'_>> {
    let mut lines = Vec::new();
    for (index, case) in results.cases.iter().enumerate() {
        let mut of_case: Vec<MetricLine<'_>> = Vec::new();
        for one in case.last_attempts().flat_map(|one| &one.measurements) {
            match of_case.iter_mut().find(|line| line.name == one.name) {
                Some(line) => line.values.push(one.value),
                None => of_case.push(MetricLine {
                    case: index,
                    name: &one.name,
                    unit: one.unit.as_deref(),
                    values: vec![one.value],
                }),
            }
        }
        lines.extend(of_case);
        if lines.len() > METRICS {
            break;
        }
    }
    lines
}

/// Returns the instances at the end of the run, with the reasons.
fn notes(results: &Results) -> Vec<(&'static str, &str, &str)> {
    let Some(clean_up) = &results.clean_up else {
        return Vec::new();
    };
    let plain = [
        ("kept", &clean_up.kept),
        ("kept by an earlier run", &clean_up.unused),
        ("no longer kept", &clean_up.unkept),
        ("left by an interrupted run, deleted", &clean_up.left),
    ];
    let noted = [
        ("in use", &clean_up.held),
        ("dirty", &clean_up.dirty),
        ("unknown platform", &clean_up.unknown),
        ("not deleted", &clean_up.failed),
    ];
    let plain = plain
        .into_iter()
        .flat_map(|(what, names)| names.iter().map(move |name| (what, name.as_str(), "")));
    let noted = noted.into_iter().flat_map(|(what, notes)| {
        let notes = notes.iter();
        notes.map(move |one| (what, one.instance.as_str(), one.note.as_str()))
    });
    plain.chain(noted).collect()
}

/// The word of a result in the data.
fn word(result: CaseResult) -> &'static str {
    match result {
        CaseResult::Expected => "expected",
        CaseResult::Flaky => "flaky",
        CaseResult::NotRun => "not-run",
        other => other.verdict().map_or("unfinished", VerdictKind::name),
    }
}

fn status(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => code.to_string(),
        Exit::Signal(name) => format!("SIG{name}"),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Shortens a reason for a list.
fn cut(text: &str) -> String {
    let mut line = one_line(text);
    if line.len() > REASON {
        let mut boundaries = (0..REASON).rev();
        let end = boundaries.find(|at| line.is_char_boundary(*at));
        line.truncate(end.unwrap_or(0));
        line.push('…');
    }
    line
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
