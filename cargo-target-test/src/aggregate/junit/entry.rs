//! One entry of the report: the attempts of a case, and the form of verdicts in JUnit.
//!
//! Must not know nextest's report.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    sync::Arc,
    time::Duration,
};

use quick_junit::{NonSuccessKind, Property, TestCase, TestCaseStatus, TestRerun, XmlString};
use serde_json::Value;
use target_fixtures::wire::{Exit, SubResult, VerdictKind};

use super::{
    instances::{FactList, Instances, console_text},
    seconds,
};
use crate::{
    aggregate::sub_results::SubResults,
    bounded,
    case::{CaseInfo, declared, verdict::Verdict},
    error::one_line,
    run_event::{AttemptResult, ConsoleEnd, OutputFile, TAIL},
};

/// One case in one iteration.
#[derive(Debug, Default)]
pub(super) struct JunitEntry {
    /// The case; `None` before the first event.
    pub(super) case: Option<Arc<CaseInfo>>,
    /// The facts of the instances of the last attempt, by instance.
    pub(super) facts: Vec<(String, Arc<FactList>)>,
    /// The attempts, by number.
    attempts: BTreeMap<u32, Option<AttemptResult>>,
    /// The number of the last attempt that reported sub-results.
    reporting: u32,
    /// The sub-results of that attempt.
    sub_results: SubResults,
}

/// The JUnit form of an attempt that did not pass.
pub(super) struct Failing {
    pub(super) kind: NonSuccessKind,
    pub(super) ty: String,
    pub(super) message: Option<String>,
    pub(super) description: Option<String>,
}

impl JunitEntry {
    pub(super) fn started(&mut self, number: u32) {
        self.attempts.entry(number).or_default();
    }

    pub(super) fn ended(&mut self, number: u32, result: &AttemptResult) {
        let mut result = result.clone();
        // The tail is in the file, and a run may have many attempts.
        let consoles = result.consoles.iter_mut().map(|one| &mut one.output);
        let streams = [&mut result.stdout, &mut result.stderr];
        let files = streams.into_iter().flatten().chain(consoles);
        files.for_each(|file| file.tail = String::new());
        self.attempts.insert(number, Some(result));
    }

    /// Replaces the verdict of an attempt.
    pub(super) fn overruled(&mut self, number: u32, verdict: &Verdict) {
        let result = self.attempts.entry(number).or_default();
        let result = result.get_or_insert_with(|| AttemptResult::new(verdict.clone()));
        result.verdict = verdict.clone();
    }

    /// Notes a sub-result. Those of an earlier attempt are forgotten.
    pub(super) fn reported(&mut self, number: u32, result: &SubResult) {
        if self.reporting != number {
            self.reporting = number;
            self.sub_results = SubResults::default();
        }
        self.sub_results.push(result);
    }

    /// Returns the sub-results of the case as entries of their own.
    pub(super) fn sub_cases(&self, name: &str, binary_id: &str) -> Vec<TestCase> {
        let one = |result: &SubResult| {
            let reason = result.message.as_deref().unwrap_or_default();
            let status = match result.verdict {
                VerdictKind::Pass => TestCaseStatus::success(),
                VerdictKind::Skip => {
                    let mut status = TestCaseStatus::skipped();
                    status.set_message(one_line(reason));
                    status
                }
                VerdictKind::Fail => {
                    Failing::new(NonSuccessKind::Failure, "subtest", reason).status()
                }
                kind => Failing::special(&Verdict::from_wire(kind, Some(reason.to_owned())))
                    .map_or_else(TestCaseStatus::success, Failing::status),
            };
            let lane = result.lane.iter().map(|lane| format!(" ({lane})"));
            let path = result.path.join("/");
            let name = format!("{name}/{path}{}", lane.collect::<String>());
            let mut case = TestCase::new(name, status);
            case.set_classname(binary_id);
            case.set_time(Duration::from_micros(result.took));
            case
        };
        self.sub_results.iter().map(one).collect()
    }

    /// Returns the result of an attempt; `None` if it is unknown.
    pub(super) fn attempt(&self, number: u32) -> Option<&AttemptResult> {
        self.attempts.get(&number)?.as_ref()
    }

    /// Returns the verdict of the last attempt; `None` if the attempt has not ended.
    pub(super) fn verdict(&self) -> Option<&Verdict> {
        let last = self.attempts.values().next_back()?.as_ref()?;
        Some(&last.verdict)
    }

    /// Adds values that nextest does not know: the place of the attempt, the wait for the lease, the test's own time,
    /// findings, facts, and what the test declares.
    pub(super) fn add_properties(&self, case: &mut TestCase, instances: &Instances) {
        let results = || self.attempts.values().flatten();
        let last = results().next_back();
        let last = last.filter(|last| !last.instances.is_empty());
        let names = last.map_or(&[][..], |last| &last.instances);
        let label = self.case.as_ref().and_then(|case| case.runs_on.label());
        let target = names.iter().find_map(|name| instances.target(name));
        let target = target.or_else(|| instances.target_of_label(label?));
        let name = target.map(|target| target.name.as_str());
        let mut add = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                case.add_property(Property::new(name, value));
            }
        };
        add("target", name.or(label));
        add(
            "label",
            label.filter(|label| name.is_some_and(|name| name != *label)),
        );
        add("platform", target.map(|target| target.platform.as_str()));
        if let Some(last) = last {
            case.add_property(Property::new("instances", last.instances.join(" ")));
        }
        if let Some(number) = self.attempts.keys().next_back() {
            case.add_property(Property::new("attempt", number.to_string()));
        }
        for finding in results().flat_map(|result| &result.findings) {
            case.add_property(Property::new("finding", finding.as_str()));
        }
        if let Some(folder) = results()
            .filter_map(|one| one.artifacts.as_ref())
            .next_back()
        {
            case.add_property(Property::new("artifacts", folder.display().to_string()));
        }
        if results().any(|result| !result.waited.is_zero()) {
            let waited = results().map(|result| result.waited).sum();
            case.add_property(Property::new("lease-wait", seconds(waited)));
        }
        if results().any(|result| result.exit.is_some()) {
            let took = results().map(|result| result.took).sum();
            case.add_property(Property::new("test-time", seconds(took)));
        }
        if self.sub_results.left_out() > 0 {
            let more = self.sub_results.left_out().to_string();
            case.add_property(Property::new("more-sub-results", more));
        }
        self.add_declared(case);
        for (instance, facts) in &self.facts {
            for (name, fact) in &**facts {
                let name = match self.facts.len() {
                    1 => format!("fact.{name}"),
                    _ => format!("fact.{instance}.{name}"),
                };
                case.add_property(Property::new(name, fact.as_str()));
            }
        }
    }

    /// Adds what the test declares.
    fn add_declared(&self, case: &mut TestCase) {
        let metadata = self.case.as_ref().and_then(|case| case.metadata.as_deref());
        for (key, value) in &metadata.map(declared).unwrap_or_default() {
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Array(list) if list.iter().all(Value::is_string) => {
                    let texts: Vec<_> = list.iter().filter_map(Value::as_str).collect();
                    texts.join(",")
                }
                value => value.to_string(),
            };
            let name = match key.as_str() {
                "area" | "category" | "priority" | "tags" | "owner" => key.clone(),
                key => format!("metadata.{key}"),
            };
            case.add_property(Property::new(name, value));
        }
    }

    /// Returns the ends of the consoles of an attempt that did not pass.
    pub(super) fn consoles(&self, number: u32, instances: &Instances) -> Option<String> {
        let result = self.attempt(number)?;
        if result.verdict.is_final() {
            return None;
        }
        let mut texts: Vec<_> = result.consoles.iter().filter_map(console_of).collect();
        // A deploy that failed has no file of its own, and a case that got no instance failed by those of its target.
        if texts.is_empty() {
            let of = |name: &String| Some(instances.console(name)?.to_owned());
            texts.extend(result.instances.iter().filter_map(of));
        }
        let label = self.case.as_ref().and_then(|case| case.runs_on.label());
        if let Some(label) = label.filter(|_| result.instances.is_empty()) {
            let failed = instances.failed_consoles(label).into_iter();
            texts.extend(failed.map(str::to_owned));
        }
        (!texts.is_empty()).then(|| texts.join("\n"))
    }

    /// Returns the number of the first attempt.
    pub(super) fn first(&self) -> u32 {
        self.attempts.keys().next().copied().unwrap_or(1)
    }

    /// Returns the entry, built from events alone.
    pub(super) fn test_case(&self, name: &str, binary_id: &str, instances: &Instances) -> TestCase {
        let rerun = |(number, result): (&u32, &Option<AttemptResult>)| {
            let mut rerun = rerun(result.as_ref());
            append(&mut rerun.system_err, self.consoles(*number, instances));
            rerun
        };
        let first = self.attempts.values().next().and_then(Option::as_ref);
        let last = self.attempts.values().next_back().and_then(Option::as_ref);
        let (status, main) = match self.verdict() {
            Some(Verdict::Pass) => {
                let mut status = TestCaseStatus::success();
                let before = self.attempts.len().saturating_sub(1);
                status.add_reruns(self.attempts.iter().take(before).map(rerun));
                (status, last)
            }
            Some(Verdict::Skip(reason)) => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(reason.to_string());
                (status, last)
            }
            _ => {
                let mut status = failing(last).status();
                status.add_reruns(self.attempts.iter().skip(1).map(rerun));
                (status, first)
            }
        };
        let mut case = TestCase::new(name, status);
        case.set_classname(binary_id);
        if let Some(main) = main {
            case.set_time(main.waited + main.took);
            if let Some(text) = main.stdout.as_ref().and_then(shown) {
                case.set_system_out(text);
            }
            if let Some(text) = main.stderr.as_ref().and_then(shown) {
                case.set_system_err(text);
            }
        }
        if !matches!(self.verdict(), Some(Verdict::Pass | Verdict::Skip(_))) {
            append(&mut case.system_err, self.consoles(self.first(), instances));
        }
        self.add_properties(&mut case, instances);
        case
    }
}

/// Appends a text to the output of an entry.
pub(super) fn append(output: &mut Option<XmlString>, text: Option<String>) {
    let Some(text) = text else { return };
    *output = Some(match output.take() {
        Some(before) => format!("{}\n\n{text}", before.as_str().trim_end()).into(),
        None => text.into(),
    });
}

fn console_of(console: &ConsoleEnd) -> Option<String> {
    let text = end_of(&console.output)?;
    let file = console.output.path.display().to_string();
    Some(console_text(&console.instance, Some(&file), &text))
}

impl Failing {
    fn new(kind: NonSuccessKind, ty: &str, cause: &str) -> Self {
        let message = one_line(cause);
        Self {
            kind,
            ty: ty.to_owned(),
            description: (message != cause).then(|| cause.to_owned()),
            message: Some(message),
        }
    }

    /// Returns the form of an attempt that ended by infra or a crash; `None` if nextest's form is sufficient.
    pub(super) fn special(verdict: &Verdict) -> Option<Self> {
        match verdict {
            Verdict::Infra(cause) => Some(Self::new(NonSuccessKind::Error, "infra", cause)),
            Verdict::Crash(cause) => Some(Self::new(NonSuccessKind::Failure, "crash", cause)),
            _ => None,
        }
    }

    /// Returns the form of an attempt that its verdict or its time limit explains better than nextest.
    pub(super) fn explained(result: &AttemptResult) -> Option<Self> {
        Self::special(&result.verdict).or_else(|| Self::timeout(result))
    }

    /// Returns the form of an attempt that failed by its time limit, of nextest's type.
    pub(super) fn timeout(result: &AttemptResult) -> Option<Self> {
        let cause = result.timeout()?;
        Some(Self::new(NonSuccessKind::Failure, "test timeout", &cause))
    }

    /// Returns the status of an entry with this form.
    pub(super) fn status(self) -> TestCaseStatus {
        let mut status = TestCaseStatus::non_success(self.kind);
        status.set_type(self.ty);
        if let Some(message) = self.message {
            status.set_message(message);
        }
        if let Some(description) = self.description {
            status.set_description(description);
        }
        status
    }

    /// Applies this form to a rerun.
    pub(super) fn apply(self, rerun: &mut TestRerun) {
        rerun.kind = self.kind;
        rerun.set_type(self.ty);
        if let Some(message) = self.message {
            rerun.set_message(message);
        }
        if let Some(description) = self.description {
            rerun.set_description(description);
        }
    }
}

/// Returns the form of an attempt that did not pass or has not ended.
fn failing(result: Option<&AttemptResult>) -> Failing {
    let Some(result) = result else {
        let cause = "the run ended before the test did";
        return Failing::new(NonSuccessKind::Error, "unfinished", cause);
    };
    Failing::explained(result).unwrap_or_else(|| Failing {
        kind: NonSuccessKind::Failure,
        ty: match &result.exit {
            Some(Exit::Code(code)) => format!("test failure with exit code {code}"),
            Some(Exit::Signal(_)) => "test abort".to_owned(),
            None => "test failure".to_owned(),
        },
        message: match &result.exit {
            Some(exit @ Exit::Signal(_)) => Some(exit.to_string()),
            _ => None,
        },
        description: None,
    })
}

fn rerun(result: Option<&AttemptResult>) -> TestRerun {
    let mut rerun = TestRerun::new(NonSuccessKind::Failure);
    failing(result).apply(&mut rerun);
    if let Some(result) = result {
        rerun.set_time(result.waited + result.took);
        if let Some(text) = result.stdout.as_ref().and_then(shown) {
            rerun.set_system_out(text);
        }
        if let Some(text) = result.stderr.as_ref().and_then(shown) {
            rerun.set_system_err(text);
        }
    }
    rerun
}

/// Returns the text of an output file as reports show it; `None` if the file is gone.
fn shown(output: &OutputFile) -> Option<String> {
    let end = end_of(output)?;
    Some(match output.length > TAIL as u64 {
        true => shortened(&end, Some(&output.path)),
        false => end,
    })
}

/// Returns the end of an output, with a note that the rest is missing. `whole` is the file with the whole output, if
/// there is one.
pub(super) fn shortened(end: &str, whole: Option<&Path>) -> String {
    let whole = whole.map(|path| format!("; the whole output is in `{}`", path.display()));
    format!(
        "[the beginning is left out{}]\n{end}",
        whole.unwrap_or_default()
    )
}

/// Reads the end of an output file; `None` if the file is gone.
fn end_of(output: &OutputFile) -> Option<String> {
    let mut file = File::open(&output.path).ok()?;
    // One byte more shows whether the end begins a line.
    let most = TAIL as u64 + 1;
    file.seek(SeekFrom::Start(output.length.saturating_sub(most)))
        .ok()?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(bounded::end(&bytes, TAIL)).into_owned())
}
