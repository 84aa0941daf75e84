//! Builds one report from entries, alone or joined with nextest's report.
//!
//! nextest decides which entries failed; run events decide the kind of failure.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use quick_junit::{FlakyOrRerun, Report, TestCase, TestCaseStatus, TestRerun, TestSuite};

use super::{
    super::nextest_report::EntryKey,
    Key, NAME,
    entry::{Failing, JunitEntry, append},
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

/// Adds data of run events to nextest's report: infra, skips, waits for leases, and tests that the plan skips.
pub(super) fn joined(
    nextest: Report,
    entries: &BTreeMap<Key, JunitEntry>,
    instances: &Instances,
) -> Report {
    let mut report = Report::new(NAME);
    (report.uuid, report.timestamp, report.time) = (nextest.uuid, nextest.timestamp, nextest.time);
    let mut known = HashSet::new();
    let mut suites = Vec::new();
    for suite in nextest.test_suites {
        let mut new = TestSuite::new(suite.name.clone());
        (new.timestamp, new.time) = (suite.timestamp, suite.time);
        new.properties.clone_from(&suite.properties);
        for case in &suite.test_cases {
            let key = EntryKey::in_report(&suite, case);
            let key = key.map(|key| {
                let EntryKey {
                    binary_id,
                    name,
                    stress_index,
                } = key;
                (binary_id.into(), name.to_owned(), stress_index)
            });
            let entry = key.as_ref().and_then(|key| entries.get(key));
            let joined = entry.map(|entry| both(case, entry, instances));
            new.add_test_case(joined.unwrap_or_else(|| case.clone()));
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
fn both(nextest: &TestCase, entry: &JunitEntry, instances: &Instances) -> TestCase {
    let mut case = nextest.clone();
    let explain = |number: u32, run: &mut TestRerun| {
        let explained = entry.attempt(number).and_then(Failing::explained);
        explained.into_iter().for_each(|form| form.apply(run));
        append(&mut run.system_err, entry.consoles(number, instances));
    };
    match &mut case.status {
        // The attempts before the one that passed.
        TestCaseStatus::Success { flaky_runs } => {
            (1..)
                .zip(flaky_runs)
                .for_each(|(number, run)| explain(number, run));
        }
        TestCaseStatus::NonSuccess {
            kind,
            message,
            ty,
            description,
            reruns,
        } => {
            // The first attempt is the entry itself, unless a later attempt passed.
            let first = match reruns.kind {
                FlakyOrRerun::Flaky => 1,
                FlakyOrRerun::Rerun => 2,
            };
            let runs = (first..).zip(&mut reruns.runs);
            runs.for_each(|(number, run)| explain(number, run));
            append(&mut case.system_err, entry.consoles(first - 1, instances));
            let special = entry.verdict().and_then(Failing::special);
            let timeout = || entry.attempt(first - 1).and_then(Failing::timeout);
            if let Some(form) = special.or_else(timeout) {
                *kind = form.kind;
                *ty = Some(form.ty.into());
                *message = form.message.map(Into::into);
                *description = form.description.map(Into::into);
            }
        }
        TestCaseStatus::Skipped { .. } => {}
    }
    let passed = matches!(case.status, TestCaseStatus::Success { .. });
    if let Some(Verdict::Skip(reason)) = entry.verdict()
        && (passed || matches!(reason, SkipReason::EntryEnded(_)))
    {
        case.status = TestCaseStatus::skipped();
        case.status.set_message(reason.to_string());
    }
    entry.add_properties(&mut case, instances);
    case
}
