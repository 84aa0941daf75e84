//! Builds one report from entries, alone or joined with nextest's report.
//!
//! nextest decides which entries failed; run events decide the kind of failure.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::Arc,
};

use quick_junit::{
    FlakyOrRerun, Report, TestCase, TestCaseStatus, TestRerun, TestSuite, XmlString,
};

use super::{
    super::nextest_report::{EntryKey, end_of_shortened},
    Key, NAME,
    entry::{Failing, JunitEntry, append, shortened},
    instances::Instances,
};
use crate::case::{
    reason::{NotRunReason, SkipReason},
    verdict::Verdict,
};

/// The property of a suite that names a case that has not run.
const NOT_RUN: &str = "not-run";

/// Builds the report from events alone, marked as incomplete unless they are all events of the run.
pub(super) fn from_events(
    entries: &BTreeMap<Key, JunitEntry>,
    instances: &Instances,
    complete: bool,
) -> Report {
    let mark = if complete { "" } else { " (incomplete)" };
    let mut report = Report::new(format!("{NAME}{mark}"));
    let mut suites = BTreeMap::<(&str, Option<u32>), TestSuite>::new();
    for ((binary_id, name, stress_index), entry) in entries {
        let key = EntryKey {
            binary_id,
            name,
            stress_index: *stress_index,
        };
        let suite = suites
            .entry((key.binary_id, key.stress_index))
            .or_insert_with(|| {
                let mut suite = TestSuite::new(key.suite());
                if !complete {
                    suite.add_property(("incomplete", "true"));
                }
                suite
            });
        suite.add_test_case(entry.test_case(name, binary_id, instances));
        suite.add_test_cases(entry.sub_cases(name, binary_id));
    }
    report.add_test_suites(suites.into_values());
    report
}

/// Adds the cases that have not run, as properties of their suites: they have no result.
pub(super) fn add_not_run(
    report: &mut Report,
    not_run: &BTreeMap<(Arc<str>, String), NotRunReason>,
) {
    for ((binary_id, name), reason) in not_run {
        let mut suites = report.test_suites.iter();
        let known = suites.position(|suite| suite.name.as_str() == &**binary_id);
        let suite = known.unwrap_or_else(|| {
            report.add_test_suite(TestSuite::new(&**binary_id));
            report.test_suites.len() - 1
        });
        report.test_suites[suite].add_property((NOT_RUN, format!("{name}: {reason}").as_str()));
    }
}

/// Adds data of run events to nextest's report: infra, skips, waits for leases, and tests that the plan skips. `file` has
/// the report with whole outputs; `None` if there are several.
pub(super) fn joined(
    nextest: Report,
    file: Option<&Path>,
    entries: &BTreeMap<Key, JunitEntry>,
    instances: &Instances,
) -> Report {
    let mut report = Report::new(NAME);
    (report.uuid, report.timestamp, report.time) = (nextest.uuid, nextest.timestamp, nextest.time);
    let mut known = HashSet::new();
    let mut suites = Vec::new();
    for mut suite in nextest.test_suites {
        let cases = std::mem::take(&mut suite.test_cases);
        let mut new = TestSuite::new(suite.name.clone());
        (new.timestamp, new.time) = (suite.timestamp, suite.time);
        new.properties.clone_from(&suite.properties);
        for mut case in cases {
            let key = EntryKey::in_report(&suite, &case);
            let key = key.map(|key| {
                let EntryKey {
                    binary_id,
                    name,
                    stress_index,
                } = key;
                (binary_id.into(), name.to_owned(), stress_index)
            });
            let entry = key.as_ref().and_then(|key| entries.get(key));
            name_whole_outputs(&mut case, entry, file);
            if let Some(entry) = entry {
                join(&mut case, entry, instances);
            }
            new.add_test_case(case);
            if let (Some(entry), Some((binary_id, name, _))) = (entry, &key) {
                new.add_test_cases(entry.sub_cases(name, binary_id));
            }
            known.extend(key);
        }
        suites.push(new);
    }
    for (key @ (binary_id, name, _), entry) in entries {
        let skipped = matches!(entry.verdict(), Some(Verdict::Skip(_)));
        if known.contains(key) || !skipped {
            continue;
        }
        let case = entry.test_case(name, binary_id, instances);
        match suites
            .iter_mut()
            .find(|suite| suite.name.as_str() == &**binary_id)
        {
            Some(suite) => suite.add_test_case(case),
            None => {
                suites.push(TestSuite::new(&**binary_id));
                let last = suites.len() - 1;
                suites[last].add_test_case(case)
            }
        };
    }
    report.add_test_suites(suites);
    report
}

/// Joins one entry of nextest's report with the run events.
fn join(case: &mut TestCase, entry: &JunitEntry, instances: &Instances) {
    let explain = |number: u32, run: &mut TestRerun| {
        let explained = entry.attempt(number).and_then(Failing::explained);
        explained.into_iter().for_each(|form| form.apply(run));
        append(&mut run.system_err, entry.consoles(number, instances));
    };
    let (main, reruns) = attempts(&mut case.status);
    reruns.for_each(|(number, run)| explain(number, run));
    if let TestCaseStatus::NonSuccess {
        kind,
        message,
        ty,
        description,
        ..
    } = &mut case.status
    {
        append(&mut case.system_err, entry.consoles(main, instances));
        let special = entry.verdict().and_then(Failing::special);
        let timeout = || entry.attempt(main).and_then(Failing::timeout);
        if let Some(form) = special.or_else(timeout) {
            *kind = form.kind;
            *ty = Some(form.ty.into());
            *message = form.message.map(Into::into);
            *description = form.description.map(Into::into);
        }
    }
    let passed = matches!(case.status, TestCaseStatus::Success { .. });
    if let Some(Verdict::Skip(reason)) = entry.verdict()
        && (passed || matches!(reason, SkipReason::EntryEnded(_)))
    {
        case.status = TestCaseStatus::skipped();
        case.status.set_message(reason.to_string());
    }
    entry.add_properties(case, instances);
}

/// Returns the number of the attempt that an entry of nextest's report shows itself, and the other attempts by number.
fn attempts(status: &mut TestCaseStatus) -> (u32, impl Iterator<Item = (u32, &mut TestRerun)>) {
    let (runs, shows_first): (&mut [_], _) = match status {
        TestCaseStatus::Success { flaky_runs } => (flaky_runs, false),
        TestCaseStatus::NonSuccess { reruns, .. } => {
            (&mut reruns.runs, reruns.kind == FlakyOrRerun::Rerun)
        }
        TestCaseStatus::Skipped { .. } => (&mut [], true),
    };
    let others = runs.len() as u32;
    match shows_first {
        true => (1, (2..).zip(runs)),
        false => (others + 1, (1..).zip(runs)),
    }
}

/// Names the file with the whole output in each shortened output of an entry: of those that events name, else `report`.
fn name_whole_outputs(case: &mut TestCase, entry: Option<&JunitEntry>, report: Option<&Path>) {
    let (main, reruns) = attempts(&mut case.status);
    let name = |number, out: &mut Option<XmlString>, err: &mut Option<XmlString>| {
        let result = entry.and_then(|entry| entry.attempt(number));
        for (text, kept) in [
            (out, result.and_then(|result| result.stdout.as_ref())),
            (err, result.and_then(|result| result.stderr.as_ref())),
        ] {
            name_whole(text, kept.map(|kept| kept.path.as_path()).or(report));
        }
    };
    for (number, run) in reruns {
        name(number, &mut run.system_out, &mut run.system_err);
        name_whole(&mut run.description, report);
    }
    name(main, &mut case.system_out, &mut case.system_err);
    if let TestCaseStatus::NonSuccess { description, .. } = &mut case.status {
        name_whole(description, report);
    }
}

fn name_whole(text: &mut Option<XmlString>, whole: Option<&Path>) {
    if let Some(end) = text.as_deref().and_then(end_of_shortened) {
        *text = Some(shortened(end, whole).into());
    }
}
