//! Verdicts, and the exit codes of cases and runs.
//!
//! The only place with rules about them: runner, broker, aggregators and orchestrators call these functions. Pure.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use target_fixtures::wire::{Exit, ExpectedFailure, Failure, FailureKind, VerdictKind};

use super::reason::SkipReason;
use crate::error::ErrorKind;

/// Exit code of a case without a usable instance, and of a run in which only such cases failed.
pub const EXIT_INFRA: u8 = ErrorKind::Infra.exit_code();
/// Exit code of a failed test.
pub const EXIT_FAILED: u8 = 1;
/// Exit code of an interrupted run.
pub const EXIT_INTERRUPTED: u8 = 130;
/// nextest's exit code of a run with failed tests.
pub const EXIT_RUN_FAILED: u8 = 100;
/// nextest's exit code if it could not write its output or its report.
const EXIT_WRITE_FAILED: u8 = 110;
/// nextest's exit code of a run without tests.
pub const EXIT_NO_TESTS: u8 = 4;

/// The result of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// The test passed, or failed as expected.
    Pass,
    /// The test failed.
    Fail,
    /// The system under test crashed during the test, or did not boot; the evidence. Counts as a failure.
    Crash(String),
    /// The test does not apply.
    Skip(SkipReason),
    /// An instance was unavailable or lost; the cause. Never counts as a test failure.
    Infra(String),
}

impl Verdict {
    /// The verdict of a failed deploy, and of a case that gets no instance since it failed.
    pub fn of_deploy(failure: &Failure) -> Self {
        let cause = failure.message.clone();
        match failure.kind {
            FailureKind::Crash => Self::Crash(cause),
            _ => Self::Infra(cause),
        }
    }

    /// The exit code of an entry whose test did not run.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Pass | Self::Skip(_) => 0,
            Self::Fail | Self::Crash(_) => EXIT_FAILED,
            Self::Infra(_) => EXIT_INFRA,
        }
    }

    /// True if the verdict counts as a test failure.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Fail | Self::Crash(_))
    }

    /// True for infra.
    pub fn is_infra(&self) -> bool {
        matches!(self, Self::Infra(_))
    }

    /// The verdict for a runner: its kind, and its reason if any.
    pub fn to_wire(&self) -> (VerdictKind, Option<String>) {
        match self {
            Self::Pass => (VerdictKind::Pass, None),
            Self::Fail => (VerdictKind::Fail, None),
            Self::Crash(cause) => (VerdictKind::Crash, Some(cause.clone())),
            Self::Skip(reason) => (VerdictKind::Skip, Some(reason.to_string())),
            Self::Infra(cause) => (VerdictKind::Infra, Some(cause.clone())),
        }
    }

    /// The verdict that a runner received.
    pub fn from_wire(kind: VerdictKind, reason: Option<String>) -> Self {
        let reason = reason.unwrap_or_default();
        match kind {
            VerdictKind::Pass => Self::Pass,
            VerdictKind::Fail => Self::Fail,
            VerdictKind::Crash => Self::Crash(reason),
            VerdictKind::Skip => Self::Skip(SkipReason::Test(reason)),
            VerdictKind::Infra => Self::Infra(reason),
        }
    }

    /// The verdict that counts if nextest's settings decide otherwise about an attempt that ended with `verdict`, which
    /// is `None` if it never began; `None` if the two agree. `fails` is true if nextest counts the attempt as failed.
    pub fn overruled(verdict: Option<&Self>, fails: bool) -> Option<Self> {
        match (verdict, fails) {
            // Not a result of a test.
            (Some(Self::Skip(SkipReason::EntryEnded(_))), _) => None,
            // A leak with `result = "fail"`, or a runner that did not start.
            (None | Some(Self::Pass | Self::Skip(_)), true) => Some(Self::Fail),
            // A limit with `on-timeout = "pass"`.
            (Some(Self::Fail | Self::Crash(_) | Self::Infra(_)), false) => Some(Self::Pass),
            _ => None,
        }
    }

    /// True if nextest makes no further attempt after this verdict.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Pass | Self::Skip(_))
    }
}

/// The known facts about the end of an attempt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence<'a> {
    /// The exit status of the test process; `None` if the runner was killed before its report.
    pub exit: Option<&'a Exit>,
    /// True if the test process was started.
    pub started: bool,
    /// True if the declared timeout ended the test.
    pub timed_out: bool,
    /// True if nextest or a user ended the test.
    pub interrupted: bool,
    /// The failures of the test that are expected.
    pub expect_fail: &'a [ExpectedFailure],
    /// The message of the failure, if the test reported one.
    pub message: Option<&'a str>,
    /// The reason that the test skipped itself, if it did.
    pub skipped: Option<&'a str>,
    /// The reason that an instance of the lease does not answer any more, or that the test failed by the loss of its
    /// connection, if any.
    pub lost: Option<&'a str>,
    /// The evidence that the system under test crashed, if any.
    pub crashed: Option<&'a str>,
    /// True if a health check found something new and findings fail the test.
    pub unhealthy: bool,
    /// True if the test process ended before the orchestration that it ran.
    pub cut_short: bool,
}

impl<'a> Evidence<'a> {
    /// The expected failure that this failure is, if any.
    pub fn expected(&self) -> Option<&'a ExpectedFailure> {
        let message = self.message.unwrap_or_default();
        self.expect_fail.iter().find(|one| one.covers(message))
    }
}

/// Decides the verdict of one attempt.
pub fn judge(evidence: &Evidence<'_>) -> Verdict {
    if let Some(crash) = evidence.crashed {
        return Verdict::Crash(crash.to_owned());
    }
    let infra = |cause: &str| Verdict::Infra(cause.to_owned());
    let Some(exit) = evidence.exit else {
        return match evidence.lost {
            Some(cause) => infra(cause),
            None if evidence.started => Verdict::Fail,
            None => infra("the runner ended before the test started"),
        };
    };
    let succeeded = exit.success() && !evidence.timed_out;
    let cut_off = evidence.timed_out || evidence.interrupted;
    match (succeeded, evidence.skipped, evidence.expect_fail) {
        (true, ..) if evidence.unhealthy || evidence.cut_short => Verdict::Fail,
        (true, Some(reason), _) => Verdict::Skip(SkipReason::Test(reason.to_owned())),
        (true, None, []) => Verdict::Pass,
        _ if evidence.lost.is_some() => infra(evidence.lost.unwrap_or_default()),
        (false, ..) if !cut_off && evidence.expected().is_some() => Verdict::Pass,
        _ => Verdict::Fail,
    }
}

/// The counts that decide the exit code of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunCounts {
    /// nextest's exit code; `None` if nextest was ended by a signal.
    pub nextest: Option<i32>,
    /// True if a user interrupted the run.
    pub interrupted: bool,
    /// Entries that nextest counted as failed and that are not infra. Without nextest's report: failures by verdict.
    pub failed: usize,
    /// Entries that nextest counted as failed and that are infra.
    pub infra: usize,
    /// Deploy entries that nextest ended, and counted as failed.
    pub ended_entries: usize,
    /// True for a stress run, in which nextest forgives a failed iteration.
    pub stress: bool,
    /// True if all cases ran, and nextest's report, which only the tool asked for, could not be written.
    pub report_lost: bool,
    /// True if instances could not be deleted, or if cases passed that the broker never saw.
    pub unaccounted: bool,
    /// The exit code for infra that the user chose instead of 69, if any.
    pub infra_code: Option<u8>,
}

impl RunCounts {
    /// The run's exit code: nextest's own, except 69 (or the user's choice) if all failures are infra, 100 if nextest
    /// forgave a failed iteration, and 130 after an interrupt.
    pub fn exit_code(&self) -> u8 {
        exit_code_for(self.code(), self.infra_code)
    }

    fn code(&self) -> u8 {
        let Some(code) = self.nextest.filter(|_| !self.interrupted) else {
            return EXIT_INTERRUPTED;
        };
        let Ok(code) = u8::try_from(code) else {
            return EXIT_INFRA;
        };
        // What nextest calls a failure, and what has no verdict, is one, except for an entry that shows a deploy.
        let nothing_failed = self.failed + self.infra == 0 && self.ended_entries > 0;
        let code = match self.failed + self.infra {
            _ if code != EXIT_WRITE_FAILED || !self.report_lost => code,
            0 => 0,
            _ => EXIT_RUN_FAILED,
        };
        match code {
            EXIT_RUN_FAILED if nothing_failed && self.unaccounted => EXIT_INFRA,
            EXIT_RUN_FAILED if nothing_failed => 0,
            EXIT_RUN_FAILED if self.failed == 0 && self.infra > 0 => EXIT_INFRA,
            0 if self.stress && self.failed > 0 => EXIT_RUN_FAILED,
            0 if self.unaccounted || self.stress && self.infra > 0 => EXIT_INFRA,
            code => code,
        }
    }
}

/// The number of cases by their result, as the end of a run tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct CaseCounts {
    /// Cases that passed.
    pub passed: usize,
    /// Cases that skipped themselves, or whose needs no instance meets.
    pub skipped: usize,
    /// Cases that failed as expected.
    pub expected: usize,
    /// Cases that failed, or under which the system crashed.
    pub failed: usize,
    /// Cases that got no usable instance, or lost it.
    pub infra: usize,
    /// Cases without any attempt.
    pub not_run: usize,
}

/// The result of an attempt, or of a case over all its attempts and iterations, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CaseResult {
    /// Passed.
    Passed,
    /// Skipped.
    Skipped,
    /// Failed as expected.
    Expected,
    /// Passed after a failed attempt.
    Flaky,
    /// Not run.
    NotRun,
    /// Started, and not ended.
    Unfinished,
    /// Got no usable instance, or lost it.
    Infra,
    /// Failed.
    Failed,
    /// The system under test crashed.
    Crashed,
}

impl CaseResult {
    /// The result of an attempt; `None` is the verdict of an attempt that has not ended. `is_expected` is true for an
    /// expected failure.
    pub fn of(verdict: Option<&Verdict>, is_expected: bool) -> Self {
        match verdict {
            None => Self::Unfinished,
            Some(Verdict::Pass) if is_expected => Self::Expected,
            Some(verdict) => verdict.to_wire().0.into(),
        }
    }

    /// The kind of the verdict; `None` if the case has none.
    pub fn verdict(self) -> Option<VerdictKind> {
        match self {
            Self::Passed | Self::Expected | Self::Flaky => Some(VerdictKind::Pass),
            Self::Skipped => Some(VerdictKind::Skip),
            Self::Infra => Some(VerdictKind::Infra),
            Self::Failed => Some(VerdictKind::Fail),
            Self::Crashed => Some(VerdictKind::Crash),
            Self::NotRun | Self::Unfinished => None,
        }
    }
}

impl From<VerdictKind> for CaseResult {
    fn from(kind: VerdictKind) -> Self {
        match kind {
            VerdictKind::Pass => Self::Passed,
            VerdictKind::Skip => Self::Skipped,
            VerdictKind::Infra => Self::Infra,
            VerdictKind::Fail => Self::Failed,
            VerdictKind::Crash => Self::Crashed,
        }
    }
}

impl CaseCounts {
    /// Counts a case.
    pub fn count(&mut self, result: CaseResult) {
        *match result {
            CaseResult::Passed | CaseResult::Flaky => &mut self.passed,
            CaseResult::Skipped => &mut self.skipped,
            CaseResult::Expected => &mut self.expected,
            CaseResult::Infra => &mut self.infra,
            CaseResult::Failed | CaseResult::Crashed => &mut self.failed,
            CaseResult::NotRun | CaseResult::Unfinished => &mut self.not_run,
        } += 1;
    }

    /// True if nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.all() == 0
    }

    /// These counts without those of `part`.
    #[must_use]
    pub fn without(self, part: &Self) -> Self {
        self.with_each(part, usize::saturating_sub)
    }

    /// Combines each count with the same count of `other`.
    fn with_each(self, other: &Self, combine: fn(usize, usize) -> usize) -> Self {
        Self {
            passed: combine(self.passed, other.passed),
            skipped: combine(self.skipped, other.skipped),
            expected: combine(self.expected, other.expected),
            failed: combine(self.failed, other.failed),
            infra: combine(self.infra, other.infra),
            not_run: combine(self.not_run, other.not_run),
        }
    }

    /// The number of all cases.
    pub fn all(&self) -> usize {
        let Self {
            passed,
            skipped,
            expected,
            failed,
            infra,
            not_run,
        } = self;
        passed + skipped + expected + failed + infra + not_run
    }
}

impl<'a> std::iter::Sum<&'a Self> for CaseCounts {
    fn sum<I: Iterator<Item = &'a Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| sum.with_each(one, |a, b| a + b))
    }
}

/// `36 cases: 28 passed, 4 skipped, 4 failed as expected, 0 failed, 0 infra`.
impl fmt::Display for CaseCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all();
        write!(f, "{all} case{}: ", if all == 1 { "" } else { "s" })?;
        write!(f, "{} passed, {} skipped, ", self.passed, self.skipped)?;
        write!(f, "{} failed as expected, ", self.expected)?;
        write!(f, "{} failed, {} infra", self.failed, self.infra)?;
        match self.not_run {
            0 => Ok(()),
            not_run => write!(f, ", {not_run} not run"),
        }
    }
}

/// The exit code of a run or of an error that ended it: the user's choice instead of 69, if any.
pub fn exit_code_for(code: u8, infra_code: Option<u8>) -> u8 {
    match code {
        EXIT_INFRA => infra_code.unwrap_or(EXIT_INFRA),
        code => code,
    }
}

/// The worst exit code of several runs: first an interrupt, then errors that stopped a run, failures, infra.
pub fn worst(codes: impl IntoIterator<Item = u8>) -> u8 {
    let rank = |code: &u8| match *code {
        0 => 0,
        EXIT_NO_TESTS => 1,
        EXIT_INFRA => 2,
        EXIT_RUN_FAILED => 3,
        EXIT_INTERRUPTED => 5,
        _ => 4,
    };
    codes.into_iter().max_by_key(rank).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_judged() {
        let (zero, one) = (Exit::Code(0), Exit::Code(1));
        let ended = |exit| Evidence {
            exit: Some(exit),
            started: true,
            ..Evidence::default()
        };
        let silent = Evidence::default();
        let infra = |cause: &str| Verdict::Infra(cause.to_owned());
        let skip = Verdict::Skip(SkipReason::Test("no gpu".to_owned()));
        let (crashed, crash) = (Some("panic"), Verdict::Crash("panic".to_owned()));
        let bug = |error: Option<&str>| ExpectedFailure {
            reason: "bug 7".to_owned(),
            error: error.map(str::to_owned),
        };
        let (any, timeout) = (
            [bug(None)],
            [bug(Some("no carrier")), bug(Some("too late"))],
        );
        let (expect_fail, skipped, lost) = (&any[..], Some("no gpu"), Some("a-0 is gone"));
        let unstarted = infra("the runner ended before the test started");
        for (evidence, verdict) in [
            (ended(&zero), Verdict::Pass),
            (ended(&one), Verdict::Fail),
            (
                Evidence {
                    timed_out: true,
                    ..ended(&zero)
                },
                Verdict::Fail,
            ),
            (
                Evidence {
                    skipped,
                    ..ended(&zero)
                },
                skip.clone(),
            ),
            (
                Evidence {
                    skipped,
                    lost,
                    ..ended(&zero)
                },
                skip,
            ),
            (
                Evidence {
                    skipped,
                    ..ended(&one)
                },
                Verdict::Fail,
            ),
            // What a health check finds is a failure of a test that did not fail by itself.
            (
                Evidence {
                    unhealthy: true,
                    ..ended(&zero)
                },
                Verdict::Fail,
            ),
            (
                Evidence {
                    unhealthy: true,
                    skipped,
                    ..ended(&zero)
                },
                Verdict::Fail,
            ),
            (
                Evidence {
                    unhealthy: true,
                    expect_fail,
                    ..ended(&one)
                },
                Verdict::Pass,
            ),
            (
                Evidence {
                    unhealthy: true,
                    crashed,
                    ..ended(&zero)
                },
                crash.clone(),
            ),
            (
                Evidence {
                    expect_fail,
                    ..ended(&one)
                },
                Verdict::Pass,
            ),
            (
                Evidence {
                    expect_fail,
                    ..ended(&zero)
                },
                Verdict::Fail,
            ),
            (
                Evidence {
                    expect_fail,
                    timed_out: true,
                    ..ended(&one)
                },
                Verdict::Fail,
            ),
            (
                Evidence {
                    expect_fail,
                    interrupted: true,
                    ..ended(&one)
                },
                Verdict::Fail,
            ),
            (
                Evidence {
                    expect_fail: &timeout,
                    message: Some("the answer came too late"),
                    ..ended(&one)
                },
                Verdict::Pass,
            ),
            // Another failure than the expected one, and one without a message.
            (
                Evidence {
                    expect_fail: &timeout,
                    message: Some("no answer"),
                    ..ended(&one)
                },
                Verdict::Fail,
            ),
            (
                Evidence {
                    expect_fail: &timeout,
                    ..ended(&one)
                },
                Verdict::Fail,
            ),
            // A test that passed is not undone by what came after it.
            (
                Evidence {
                    lost,
                    ..ended(&zero)
                },
                Verdict::Pass,
            ),
            (
                Evidence {
                    lost,
                    ..ended(&one)
                },
                infra("a-0 is gone"),
            ),
            // The expected failure is another one.
            (
                Evidence {
                    lost,
                    expect_fail,
                    ..ended(&one)
                },
                infra("a-0 is gone"),
            ),
            (
                Evidence {
                    cut_short: true,
                    ..ended(&zero)
                },
                Verdict::Fail,
            ),
            // A crash is a finding, whatever else came of the test.
            (
                Evidence {
                    crashed,
                    ..ended(&zero)
                },
                crash.clone(),
            ),
            (
                Evidence {
                    crashed,
                    skipped,
                    ..ended(&zero)
                },
                crash.clone(),
            ),
            (
                Evidence {
                    crashed,
                    lost,
                    expect_fail,
                    ..ended(&one)
                },
                crash.clone(),
            ),
            (
                Evidence {
                    crashed,
                    lost,
                    started: true,
                    ..silent
                },
                crash,
            ),
            (silent, unstarted),
            (
                Evidence {
                    started: true,
                    ..silent
                },
                Verdict::Fail,
            ),
            (
                Evidence {
                    started: true,
                    lost,
                    ..silent
                },
                infra("a-0 is gone"),
            ),
        ] {
            assert_eq!(judge(&evidence), verdict, "{evidence:?}");
        }
    }

    #[test]
    fn a_runner_hears_the_verdict() {
        let verdicts = [
            Verdict::Pass,
            Verdict::Fail,
            Verdict::Crash("panic".to_owned()),
            Verdict::Skip(SkipReason::Test("no gpu".to_owned())),
            Verdict::Infra("gone".to_owned()),
        ];
        for verdict in verdicts {
            let (kind, reason) = verdict.to_wire();
            assert_eq!(Verdict::from_wire(kind, reason), verdict);
        }
    }

    #[test]
    fn a_run_exits_with_nextests_code_but_for_infra_and_interrupts() {
        let run = |code, failed, infra| RunCounts {
            nextest: Some(code),
            failed,
            infra,
            ..RunCounts::default()
        };
        let report_lost = |failed, infra| RunCounts {
            report_lost: true,
            ..run(110, failed, infra)
        };
        for (counts, code) in [
            (run(0, 0, 0), 0),
            (run(100, 0, 1), 69),
            (run(100, 1, 1), 100),
            // A limit with `on-timeout = "pass"`, say.
            (run(0, 1, 0), 0),
            // What nextest calls a failure, and nobody calls infra, is one.
            (run(100, 0, 0), 100),
            (run(4, 0, 0), 4),
            (run(110, 0, 0), 110),
            (report_lost(0, 0), 0),
            (report_lost(0, 1), 69),
            (report_lost(1, 1), 100),
            (run(105, 0, 1), 105),
            (
                RunCounts {
                    unaccounted: true,
                    ..run(0, 0, 0)
                },
                69,
            ),
            (
                RunCounts {
                    stress: true,
                    ..run(0, 1, 1)
                },
                100,
            ),
            (
                RunCounts {
                    ended_entries: 1,
                    ..run(100, 0, 0)
                },
                0,
            ),
            (
                RunCounts {
                    ended_entries: 1,
                    ..run(100, 1, 0)
                },
                100,
            ),
            (
                RunCounts {
                    ended_entries: 1,
                    ..run(100, 0, 1)
                },
                69,
            ),
            (
                RunCounts {
                    ended_entries: 1,
                    unaccounted: true,
                    ..run(100, 0, 0)
                },
                69,
            ),
            (
                RunCounts {
                    infra_code: Some(125),
                    ..run(100, 0, 1)
                },
                125,
            ),
            (
                RunCounts {
                    infra_code: Some(125),
                    ..run(100, 1, 1)
                },
                100,
            ),
            (
                RunCounts {
                    interrupted: true,
                    ..run(100, 0, 1)
                },
                130,
            ),
            (
                RunCounts {
                    nextest: None,
                    ..run(0, 0, 0)
                },
                130,
            ),
        ] {
            assert_eq!(counts.exit_code(), code, "{counts:?}");
        }
    }

    #[test]
    fn a_failed_deploy_is_infra_unless_the_system_is_what_is_tested() {
        for (kind, verdict, code) in [
            (FailureKind::Crash, Verdict::Crash("no boot".to_owned()), 1),
            (FailureKind::Infra, Verdict::Infra("no boot".to_owned()), 69),
            (
                FailureKind::Timeout,
                Verdict::Infra("no boot".to_owned()),
                69,
            ),
        ] {
            let failure = Failure {
                kind,
                message: "no boot".to_owned(),
                hint: None,
            };
            assert_eq!(Verdict::of_deploy(&failure), verdict);
            assert_eq!(verdict.exit_code(), code);
        }
    }

    #[test]
    fn every_case_is_counted_once() {
        use CaseResult::{Crashed, Expected, Failed, Infra, NotRun, Passed, Skipped, Unfinished};
        let skip = Verdict::Skip(SkipReason::Test("no gpu".to_owned()));
        let (infra, crash) = (Verdict::Infra(String::new()), Verdict::Crash(String::new()));
        let mut counts = CaseCounts::default();
        for (verdict, fails, expected, result) in [
            (Some(&Verdict::Pass), Some(false), false, Passed),
            (Some(&Verdict::Pass), None, true, Expected),
            (Some(&skip), Some(false), false, Skipped),
            (Some(&infra), Some(true), false, Infra),
            (Some(&infra), None, true, Infra),
            (Some(&crash), Some(true), false, Crashed),
            (Some(&Verdict::Fail), None, false, Failed),
            // nextest's leak that fails, its runner that did not start, its limit that passes.
            (Some(&Verdict::Pass), Some(true), true, Failed),
            (None, Some(true), false, Failed),
            (Some(&Verdict::Fail), Some(false), false, Passed),
        ] {
            let overruled = fails.and_then(|fails| Verdict::overruled(verdict, fails));
            let found = match &overruled {
                Some(overruled) => CaseResult::of(Some(overruled), false),
                None => CaseResult::of(verdict, expected),
            };
            assert_eq!(found, result, "{verdict:?}");
            counts.count(result);
        }
        let told = "10 cases: 2 passed, 1 skipped, 1 failed as expected, 4 failed, 2 infra";
        assert_eq!(counts.to_string(), told);
        assert_eq!(CaseResult::of(None, false), Unfinished);
        counts.count(NotRun);
        assert_eq!(counts.to_string(), told.replace("10", "11") + ", 1 not run");
    }

    #[test]
    fn the_worst_code_counts() {
        for (codes, expected) in [
            (&[0, 0][..], 0),
            (&[69, 0], 69),
            (&[69, 100], 100),
            (&[100, 101], 101),
            (&[130, 78], 130),
        ] {
            assert_eq!(worst(codes.iter().copied()), expected);
        }
    }
}
