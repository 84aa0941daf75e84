//! Counts the verdicts of a run, from which the exit code is computed.

// Must not know the rules of the exit code (see `case::verdict`).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::nextest_report::EntryKey;
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
    entries: BTreeMap<(Arc<str>, String, Option<u32>), TallyEntry>,
}

/// One entry of a run: a case, a test on the host or a deploy, in one iteration.
#[derive(Clone, Debug)]
pub struct TallyEntry {
    /// The case.
    pub case: Arc<CaseInfo>,
    /// For each attempt by number: the verdict, and true if the failure was expected.
    attempts: BTreeMap<u32, (Verdict, bool)>,
    /// True if the case failed although its last attempt passed.
    failed_as_flaky: bool,
}

impl Tally {
    /// Counts an event that has a verdict.
    pub fn count(&mut self, event: &RunEventKind) {
        let (attempt, verdict, is_expected) = match event {
            RunEventKind::AttemptEnded { attempt, result } => {
                (attempt, &result.verdict, result.expected.is_some())
            }
            RunEventKind::DeployShown {
                attempt, verdict, ..
            }
            | RunEventKind::Overruled {
                attempt, verdict, ..
            } => (attempt, verdict, false),
            RunEventKind::FlakyFailed { attempt } => {
                self.entry_of(attempt).failed_as_flaky = true;
                return;
            }
            _ => return,
        };
        let attempts = &mut self.entry_of(attempt).attempts;
        attempts.insert(attempt.number, (verdict.clone(), is_expected));
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

    fn entry_of(&mut self, attempt: &Attempt) -> &mut TallyEntry {
        let case = &attempt.case;
        let key = (
            Arc::clone(&case.binary_id),
            case.name.clone(),
            attempt.stress_index,
        );
        self.entries.entry(key).or_insert_with(|| TallyEntry {
            case: Arc::clone(case),
            attempts: BTreeMap::new(),
            failed_as_flaky: false,
        })
    }

    /// Returns an entry; `None` if it has no verdict.
    pub fn entry(&self, key: &EntryKey<'_>) -> Option<&TallyEntry> {
        let key = (key.binary_id.into(), key.name.to_owned(), key.stress_index);
        self.entries.get(&key)
    }

    /// Returns the last verdict of every test.
    pub fn tests(&self) -> impl Iterator<Item = &Verdict> {
        let entries = self.entries.values();
        let tests = entries.filter(|entry| !entry.case.is_deploy_entry());
        tests.filter_map(|entry| Some(&entry.last()?.0))
    }

    /// Returns the counts for the exit code. `is_joined` is true if the verdicts that nextest's settings
    /// change are included.
    pub fn counts(&self, nextest: Option<i32>, is_joined: bool) -> RunCounts {
        let mut counts = RunCounts {
            nextest,
            ..RunCounts::default()
        };
        for ((_, _, stress_index), entry) in &self.entries {
            counts.stress |= is_joined && stress_index.is_some();
            match entry.last() {
                Some((Verdict::Skip(SkipReason::EntryEnded(_)), _)) => {
                    counts.ended_entries += usize::from(is_joined);
                }
                _ if entry.failed_as_flaky => counts.failed += 1,
                Some((verdict, _)) => {
                    counts.failed += usize::from(verdict.is_failure());
                    counts.infra += usize::from(verdict.is_infra());
                }
                None => {}
            }
        }
        counts
    }

    /// Counts the cases of each target by its name (`None` for cases on no target), each case by its worst iteration.
    pub fn case_counts(&self, cases: &[Arc<CaseInfo>]) -> BTreeMap<Option<Arc<str>>, CaseCounts> {
        let mut by_case = HashMap::new();
        for ((binary_id, name, _), entry) in &self.entries {
            let result = entry.result();
            let worst = by_case.entry((&**binary_id, &**name)).or_insert(result);
            *worst = result.max(*worst);
        }
        let mut counts = BTreeMap::<_, CaseCounts>::new();
        for case in cases {
            let result = by_case.get(&(&*case.binary_id, &*case.name)).copied();
            let target = case.runs_on.target().cloned();
            let counts = counts.entry(target).or_default();
            counts.count(result.unwrap_or(CaseResult::NotRun));
        }
        counts
    }

    /// Returns the cases without any attempt.
    pub fn unseen<'a>(&self, cases: &'a [Arc<CaseInfo>]) -> Vec<&'a Arc<CaseInfo>> {
        let seen: HashSet<_> = self
            .entries
            .keys()
            .map(|(binary_id, name, _)| (&**binary_id, &**name))
            .collect();
        let unseen = |case: &&Arc<CaseInfo>| !seen.contains(&(&*case.binary_id, &*case.name));
        cases.iter().filter(unseen).collect()
    }
}

impl TallyEntry {
    /// The verdicts of the attempts, by number.
    pub fn verdicts(&self) -> impl Iterator<Item = (u32, &Verdict)> {
        let attempts = self.attempts.iter();
        attempts.map(|(number, (verdict, _))| (*number, verdict))
    }

    /// The last attempt.
    fn last(&self) -> Option<&(Verdict, bool)> {
        self.attempts.values().next_back()
    }

    /// The result of the entry.
    fn result(&self) -> CaseResult {
        match self.last() {
            _ if self.failed_as_flaky => CaseResult::Failed,
            last => CaseResult::of(
                last.map(|(verdict, _)| verdict),
                last.is_some_and(|(_, is_expected)| *is_expected),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

    use super::*;
    use crate::{
        aggregate::{nextest_report::NextestReport, overruled::overruled},
        run_event::AttemptResult,
    };

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

    /// The same, joined with a report of nextest with these failed suites; all others passed.
    fn joined(attempts: &[(Attempt, Verdict)], failed: &[&str]) -> Tally {
        let mut tally = tally(attempts);
        let suites = tally
            .entries
            .values()
            .map(|entry| entry.case.binary_id.to_string());
        let passed = suites.filter(|suite| !failed.iter().any(|one| one.starts_with(suite)));
        let passed: HashSet<_> = passed.collect();
        let passed = passed
            .iter()
            .map(|suite| (&**suite, TestCaseStatus::success()));
        let failure = || TestCaseStatus::non_success(NonSuccessKind::Failure);
        let failed = failed.iter().map(|suite| (*suite, failure()));
        let events = overruled(&tally, &report(passed.chain(failed)), &[]);
        events.iter().for_each(|event| tally.count(event));
        tally
    }

    /// A report of nextest with these suites.
    fn report<'a>(suites: impl Iterator<Item = (&'a str, TestCaseStatus)>) -> NextestReport {
        let mut report = Report::new("nextest-run");
        for (suite, status) in suites {
            let mut case = TestCase::new("smoke[a]", status);
            case.set_classname(suite.split("@stress").next().unwrap_or_default());
            let mut suite = TestSuite::new(suite);
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
                let counts = joined(attempts, failed).counts(Some(code), true);
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
            let counts = tally(&attempts).counts(Some(100), false);
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
            let counts = joined(&attempts, failed).counts(Some(0), true);
            assert_eq!(counts.exit_code(), expected, "{attempts:?}");
        }
    }
}
