//! Counts the verdicts of a run, from which the exit code is computed.

// Must not know the rules of the exit code (see `case::verdict`).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::nextest_report::{EntryKey, NextestReport};
use crate::{
    case::{
        CaseInfo,
        reason::SkipReason,
        verdict::{CaseCounts, CaseResult, RunCounts, Verdict},
    },
    run_event::{Attempt, RunEventKind, Sink},
};

/// The verdicts of all attempts that have ended, including deploy entries.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    tests: Vec<(Attempt, Verdict)>,
    /// The indices of tests that failed as expected.
    expected: HashSet<usize>,
    deploys: Vec<(Attempt, Verdict)>,
}

impl Tally {
    /// Counts an event that has a verdict.
    pub fn count(&mut self, event: &RunEventKind) {
        match event {
            RunEventKind::AttemptEnded { attempt, result } => {
                if result.expected.is_some() {
                    self.expected.insert(self.tests.len());
                }
                self.tests.push((attempt.clone(), result.verdict.clone()));
            }
            RunEventKind::DeployShown {
                attempt, verdict, ..
            } => self.deploys.push((attempt.clone(), verdict.clone())),
            _ => {}
        }
    }

    /// Returns a sink that counts verdicts before it passes an event on: no aggregator can delay the count.
    pub fn counted(sink: &Sink, tally: &Arc<Mutex<Self>>) -> Sink {
        let (sink, tally) = (sink.clone(), Arc::clone(tally));
        Sink::new(move |kind| {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.count(&kind);
            drop(tally);
            sink.emit(kind);
        })
    }

    /// Returns the last verdict of every entry.
    fn last(&self) -> HashMap<EntryKey<'_>, &Verdict> {
        let all = self.deploys.iter().chain(&self.tests);
        last(all).collect()
    }

    /// Returns the last verdict of every test.
    pub fn tests(&self) -> impl Iterator<Item = &Verdict> {
        let tests: HashMap<_, _> = last(self.tests.iter()).collect();
        tests.into_values()
    }

    /// Returns the counts for the exit code. An entry that nextest counts as failed is infra if its verdict is infra.
    /// Without nextest's report, the verdicts alone count.
    pub fn counts(&self, nextest: Option<i32>, report: Option<&NextestReport>) -> RunCounts {
        let last = self.last();
        let (mut failed, mut infra, mut ended_entries) = (0, 0, 0);
        match report {
            Some(report) => report.failed().for_each(|key| match last.get(&key) {
                Some(Verdict::Infra(_)) => infra += 1,
                Some(Verdict::Skip(SkipReason::EntryEnded(_))) => ended_entries += 1,
                _ => failed += 1,
            }),
            None => last.values().for_each(|verdict| {
                failed += usize::from(verdict.is_failure());
                infra += usize::from(verdict.is_infra());
            }),
        }
        let stress = report.is_some() && last.keys().any(|key| key.stress_index.is_some());
        RunCounts {
            nextest,
            failed,
            infra,
            ended_entries,
            stress,
            ..RunCounts::default()
        }
    }

    /// Counts the cases of each label (`None` for cases on no target), each case by its worst iteration. nextest's
    /// report, if any, decides what failed.
    pub fn case_counts(
        &self,
        cases: &[Arc<CaseInfo>],
        report: Option<&NextestReport>,
    ) -> BTreeMap<Option<Arc<str>>, CaseCounts> {
        let failed: Option<HashSet<_>> = report.map(|report| report.failed().collect());
        let entries = self.tests.iter().enumerate();
        let entries: HashMap<_, _> = entries
            .map(|(number, (attempt, verdict))| {
                let is_expected = self.expected.contains(&number);
                (EntryKey::of(attempt), (verdict, is_expected))
            })
            .collect();
        let by_entry = entries.iter().map(|(key, (verdict, is_expected))| {
            let fails = failed.as_ref().map(|failed| failed.contains(key));
            (key, CaseResult::of(Some(verdict), fails, *is_expected))
        });
        let unknown = failed.iter().flatten();
        let unknown = unknown.filter(|key| !entries.contains_key(key));
        let unknown = unknown.map(|key| (key, CaseResult::Failed));
        let mut by_case = HashMap::new();
        for (key, result) in by_entry.chain(unknown) {
            let worst = by_case.entry((key.binary_id, key.name)).or_insert(result);
            *worst = result.max(*worst);
        }
        let mut counts = BTreeMap::<_, CaseCounts>::new();
        for case in cases {
            let result = by_case.get(&(&*case.binary_id, &*case.name));
            let label = case.runs_on.label().map(Arc::from);
            counts.entry(label).or_default().count(result.copied());
        }
        counts
    }

    /// Returns the cases without any attempt.
    pub fn unseen<'a>(&self, cases: &'a [Arc<CaseInfo>]) -> Vec<&'a Arc<CaseInfo>> {
        let seen: std::collections::HashSet<_> = self
            .tests
            .iter()
            .map(|(attempt, _)| (&attempt.case.binary_id, &attempt.case.name))
            .collect();
        let unseen = |case: &&Arc<CaseInfo>| !seen.contains(&(&case.binary_id, &case.name));
        cases.iter().filter(unseen).collect()
    }
}

/// Returns entries with their verdicts. Collected by entry, the last verdict of each remains.
fn last<'a>(
    verdicts: impl Iterator<Item = &'a (Attempt, Verdict)>,
) -> impl Iterator<Item = (EntryKey<'a>, &'a Verdict)> {
    verdicts.map(|(attempt, verdict)| (EntryKey::of(attempt), verdict))
}

#[cfg(test)]
mod tests {
    use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

    use super::*;
    use crate::run_event::AttemptResult;

    fn attempt(binary: &str, number: u32) -> Attempt {
        Attempt {
            case: Arc::new(CaseInfo::on_host(binary, "smoke[a]")),
            stress_index: None,
            number,
        }
    }

    fn tally(attempts: &[(Attempt, Verdict)]) -> Tally {
        let mut tally = Tally::default();
        for (attempt, verdict) in attempts {
            tally.count(&RunEventKind::AttemptEnded {
                attempt: attempt.clone(),
                result: Box::new(AttemptResult::new(verdict.clone())),
            });
        }
        tally
    }

    /// A report of nextest with these failed suites.
    fn report(failed: &[&str]) -> NextestReport {
        let mut report = Report::new("nextest-run");
        for suite in failed {
            let status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let mut case = TestCase::new("smoke[a]", status);
            case.set_classname(suite.split("@stress").next().unwrap_or_default());
            let mut suite = TestSuite::new(*suite);
            suite.add_test_case(case);
            report.add_test_suite(suite);
        }
        NextestReport(report)
    }

    /// Each outcome with and without an infra case: nextest decides what failed, the verdicts decide what is infra.
    #[test]
    fn only_infra_is_no_failure() {
        let infra = || Verdict::Infra("gone".to_owned());
        // Another binary has a case with the same name.
        let lost = (attempt("y", 1), infra());
        let ended = |verdict| (attempt("x", 1), verdict);
        for (setting, attempts, code, failed, alone, beside) in [
            (
                "a failure",
                vec![ended(Verdict::Fail)],
                100,
                &["x"][..],
                100,
                100,
            ),
            (
                "a crash",
                vec![ended(Verdict::Crash("panic".to_owned()))],
                100,
                &["x"],
                100,
                100,
            ),
            ("a pass", vec![ended(Verdict::Pass)], 0, &[], 0, 69),
            (
                "a limit with `on-timeout = \"pass\"`",
                vec![ended(Verdict::Fail)],
                0,
                &[],
                0,
                69,
            ),
            (
                "`flaky-result = \"fail\"`",
                vec![ended(Verdict::Fail), (attempt("x", 2), Verdict::Pass)],
                100,
                &["x"],
                100,
                100,
            ),
            (
                "a retry",
                vec![ended(Verdict::Fail), (attempt("x", 2), Verdict::Pass)],
                0,
                &[],
                0,
                69,
            ),
            (
                "a leak that fails",
                vec![ended(Verdict::Pass)],
                100,
                &["x"],
                100,
                100,
            ),
            (
                "a setup script",
                vec![],
                105,
                &["@setup-script:x"],
                105,
                105,
            ),
            ("a runner that did not start", vec![], 100, &["x"], 100, 100),
        ] {
            let exit_code = |attempts: &[_], code, failed: &[_]| {
                let counts = tally(attempts).counts(Some(code), Some(&report(failed)));
                counts.exit_code()
            };
            assert_eq!(exit_code(&attempts, code, failed), alone, "{setting}");
            let attempts = [&attempts[..], std::slice::from_ref(&lost)].concat();
            let failed = [failed, &["y"]].concat();
            let code = if code == 0 { 100 } else { code };
            assert_eq!(exit_code(&attempts, code, &failed), beside, "{setting}");
        }
    }

    #[test]
    fn without_nextests_report_our_verdicts_count() {
        let infra = (attempt("x", 1), Verdict::Infra("gone".to_owned()));
        let failed = (attempt("y", 1), Verdict::Fail);
        let crashed = (attempt("y", 1), Verdict::Crash("panic".to_owned()));
        for (attempts, expected) in [
            (vec![infra.clone()], 69),
            (vec![infra.clone(), failed], 100),
            (vec![infra, crashed], 100),
        ] {
            let counts = tally(&attempts).counts(Some(100), None);
            assert_eq!(counts.exit_code(), expected, "{attempts:?}");
        }
    }

    #[test]
    fn nextest_forgives_a_failed_iteration_and_we_do_not() {
        let iteration = |stress_index, verdict| {
            let attempt = Attempt {
                stress_index: Some(stress_index),
                ..attempt("x", 1)
            };
            (attempt, verdict)
        };
        let infra = Verdict::Infra("gone".to_owned());
        for (second, failed, expected) in [
            (Verdict::Pass, &[][..], 0),
            (Verdict::Fail, &["x@stress-1"], 100),
            (infra, &["x@stress-1"], 69),
        ] {
            let attempts = [iteration(0, Verdict::Pass), iteration(1, second)];
            let counts = tally(&attempts).counts(Some(0), Some(&report(failed)));
            assert_eq!(counts.exit_code(), expected, "{attempts:?}");
        }
    }
}
