//! The one join of verdicts: finds the attempts and cases whose verdict nextest's settings change.
//!
//! Its events reach every report. Must not know how a report shows them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use quick_junit::{FlakyOrRerun, TestCase, TestCaseStatus, TestRerun, XmlString};

use super::{nextest_report::NextestReport, tally::Tally};
use crate::{
    case::{
        CaseInfo,
        reason::{NotRunReason, SkipReason},
        verdict::Verdict,
    },
    run_event::{Attempt, RunEventKind},
};

/// The reason of an attempt that passes by nextest's settings alone.
const PASSED: &str = "nextest's settings let this pass";

/// Returns the events for the verdicts that nextest's settings change. `cases` are the cases of the run, and
/// its tests on the host.
pub fn overruled(
    tally: &Tally,
    report: &NextestReport,
    cases: &[Arc<CaseInfo>],
) -> Vec<RunEventKind> {
    let cases: HashMap<_, _> = cases
        .iter()
        .map(|case| ((&*case.binary_id, &*case.name), case))
        .collect();
    let mut events = Vec::new();
    for (key, entry) in report.entries() {
        let known = tally.entry(&key);
        let case = known.map(|known| &known.case);
        let case = case.or_else(|| cases.get(&(key.binary_id, key.name)).copied());
        let case = case.map_or_else(
            // A deploy entry whose runner did not start.
            || Arc::new(CaseInfo::on_host(key.binary_id, key.name)),
            Arc::clone,
        );
        let attempt = |number| Attempt {
            case: Arc::clone(&case),
            stress_index: key.stress_index,
            number,
        };
        let mut verdicts: BTreeMap<_, _> = known
            .iter()
            .flat_map(|known| known.verdicts())
            .map(|(number, verdict)| (number, verdict.clone()))
            .collect();
        let failed = failed_attempts(entry).map(|(number, reason)| (number, true, reason));
        let passes = matches!(entry.status, TestCaseStatus::Success { .. });
        let last = verdicts.keys().next_back().copied();
        let passed = last.filter(|_| passes);
        let passed = passed.map(|number| (number, false, PASSED.to_owned()));
        for (number, fails, reason) in failed.chain(passed) {
            let Some(verdict) = Verdict::overruled(verdicts.get(&number), fails) else {
                continue;
            };
            verdicts.insert(number, verdict.clone());
            events.push(RunEventKind::Overruled {
                attempt: attempt(number),
                verdict,
                reason,
            });
        }
        let fails = matches!(entry.status, TestCaseStatus::NonSuccess { .. });
        if fails
            && let Some((number, last)) = verdicts.last_key_value()
            && last.is_final()
            && !matches!(last, Verdict::Skip(SkipReason::EntryEnded(_)))
        {
            let attempt = attempt(*number);
            events.push(RunEventKind::FlakyFailed { attempt });
        }
    }
    events
}

/// Returns the events for the cases without any attempt. `reason` is for cases that nextest's report does not have; the
/// others were bypassed.
pub fn not_run(
    tally: &Tally,
    report: Option<&NextestReport>,
    cases: &[Arc<CaseInfo>],
    reason: &NotRunReason,
) -> Vec<RunEventKind> {
    let reported: HashSet<_> = report
        .into_iter()
        .flat_map(NextestReport::entries)
        .map(|(key, _)| (key.binary_id, key.name))
        .collect();
    let event = |case: &Arc<CaseInfo>| RunEventKind::NotRun {
        case: Arc::clone(case),
        reason: match reported.contains(&(&*case.binary_id, &*case.name)) {
            true => NotRunReason::Bypassed,
            false => reason.clone(),
        },
    };
    tally.unseen(cases).into_iter().map(event).collect()
}

/// Returns the failed attempts of an entry: their numbers, and nextest's reasons.
fn failed_attempts(entry: &TestCase) -> impl Iterator<Item = (u32, String)> {
    let (own, first, runs): (_, _, &[TestRerun]) = match &entry.status {
        TestCaseStatus::Success { flaky_runs } => (None, 1, flaky_runs),
        TestCaseStatus::NonSuccess {
            message,
            ty,
            reruns,
            ..
        } => match reruns.kind {
            FlakyOrRerun::Flaky => (None, 1, &reruns.runs),
            FlakyOrRerun::Rerun => (Some((1, reason(message, ty))), 2, &reruns.runs),
        },
        TestCaseStatus::Skipped { .. } => (None, 1, &[]),
    };
    let runs = (first..).zip(runs);
    let runs = runs.map(|(number, run)| (number, reason(&run.message, &run.ty)));
    own.into_iter().chain(runs)
}

/// Returns nextest's words for a failure: its kind, and the message if there is one.
fn reason(message: &Option<XmlString>, kind: &Option<XmlString>) -> String {
    let texts = [kind, message].into_iter().flatten();
    let texts: Vec<_> = texts.map(XmlString::as_str).collect();
    match texts.is_empty() {
        true => "test failure".to_owned(),
        false => texts.join(": "),
    }
}
