//! The lines after nextest's own summary, and the exit code.
//!
//! Owns what nextest cannot know: verdicts beyond pass and fail, and instances. Says nothing where there
//! is nothing to add. Must not know how instances are had or deleted.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    execute::{
        broker::Used,
        outcome::{Outcome, Verdict},
        session::Ended,
    },
    process,
    provision::Report,
    ui,
};

/// nextest's exit code for failed tests.
const TEST_RUN_FAILED: i32 = nextest_metadata::NextestExitCode::TEST_RUN_FAILED;
const INFRA: u8 = 69;
const INTERRUPTED: u8 = 130;
/// Fixtures, and machines that could not be had, that take less are not worth a line.
const WORTH_SAYING: Duration = Duration::from_millis(100);
/// How many cases are named that the same cause befell.
const OFTEN: usize = 10;

/// The first line of a cause that is shown in full elsewhere.
fn brief(cause: &str) -> &str {
    cause.lines().next().unwrap_or(cause).trim_end_matches(':')
}

/// The last attempt of every case, by binary and name.
fn last(outcomes: &[Outcome]) -> BTreeMap<(&str, &str), &Outcome> {
    outcomes
        .iter()
        .map(|outcome| ((outcome.binary.as_str(), outcome.case.as_str()), outcome))
        .collect()
}

/// A whole run, as far as it is over.
pub struct Results<'a> {
    /// How nextest ended.
    pub ended: &'a Ended,
    /// What came of each attempt.
    pub outcomes: &'a [Outcome],
    /// The cases that were to run: paths of binaries, with names.
    pub cases: &'a [(String, String)],
    /// The tests that run on no target, each with a reason.
    pub skipped: &'a [String],
    /// What the run had of each target.
    pub used: &'a [Used],
    /// What became of the instances.
    pub report: &'a Report,
}

impl Results<'_> {
    /// Prints what is worth a line.
    pub fn print(&self) {
        if self.ended.status.code().is_none() && self.ended.interrupts == 0 {
            ui::warn(format!(
                "cargo-nextest {}: cases may not have run",
                process::ending(self.ended.status)
            ));
        }
        for ((_, case), outcome) in last(self.outcomes) {
            match (&outcome.verdict, &outcome.expected) {
                (Verdict::Skip(reason), _) => ui::note(format!("skip: {case}: {reason}")),
                (Verdict::Pass, Some(reason)) => {
                    ui::note(format!("failed as expected: {case}: {reason}"));
                }
                _ => {}
            }
        }
        self.print_skipped();
        self.infra().iter().for_each(ui::note);
        if let [(_, first), ..] = self.bypassed().as_slice() {
            let count = self.bypassed().len();
            ui::warn(format!(
                "{count} of the cases that nextest calls passed never asked for an instance, such as `{first}`: is a \
                 wrapper script in the way (`target-runner = \"ignore\"`)?"
            ));
        }
        for (what, names) in [
            ("kept", &self.report.kept),
            ("left to others that use them", &self.held()),
            ("kept earlier and not used by this run", &self.report.unused),
            ("deleted what an interrupted run left", &self.report.left),
        ] {
            if !names.is_empty() {
                ui::note(format!("{what}: {}", names.join(", ")));
            }
        }
        self.print_fixtures();
        let used = self.instance_seconds();
        if !used.is_empty() {
            ui::note(format!("instance-seconds: {used}"));
        }
        for held in &self.report.dirty {
            let (instance, cause) = (&held.instance, &held.cause);
            ui::warn(format!("{instance} is dirty: {cause}"));
        }
        for failure in &self.report.failed {
            let (instance, cause) = (&failure.instance, &failure.cause);
            ui::warn(format!("{instance} could not be deleted: {cause}"));
        }
    }

    /// How much of the tests' time was not theirs.
    fn print_fixtures(&self) {
        let outcomes = self.outcomes.iter();
        let fixtures: Duration = outcomes.clone().map(|outcome| outcome.fixtures).sum();
        if fixtures > WORTH_SAYING {
            let all: Duration = outcomes.map(|outcome| outcome.took).sum();
            let [fixtures, all] = [fixtures, all].map(|time| time.as_secs_f64());
            ui::note(format!(
                "fixtures took {fixtures:.1} s of the tests' {all:.1} s"
            ));
        }
    }

    /// Tests that run nowhere, a few of them.
    fn print_skipped(&self) {
        let few = self.skipped.len().min(OFTEN);
        for test in &self.skipped[..few] {
            ui::note(format!("skip: {test}"));
        }
        if self.skipped.len() > few {
            let more = self.skipped.len() - few;
            ui::note(format!(
                "skip: and {more} more (`cargo target-test list` shows all)"
            ));
        }
    }

    /// `debian 12.3 (2 instances), fedora 4.0`, with costs where they differ; without those of which nothing came.
    fn instance_seconds(&self) -> String {
        let costs = self.used.iter().any(|used| used.cost != self.used[0].cost);
        let one = |used: &Used| {
            let seconds = used.time.as_secs_f64();
            let several = match used.instances {
                1 => String::new(),
                count => format!(" ({count} instances)"),
            };
            let cost = match costs {
                true => format!(" at cost {}", used.cost),
                false => String::new(),
            };
            format!("{} {seconds:.1}{several}{cost}", used.target)
        };
        let used = self.used.iter();
        let used = used.filter(|used| used.instances > 0 || used.time > WORTH_SAYING);
        used.map(one).collect::<Vec<_>>().join(", ")
    }

    /// What could not be had or was lost: deploys first, each cause in full once, and no cause more often than
    /// [`OFTEN`].
    fn infra(&self) -> Vec<String> {
        let cases: BTreeSet<_> = self
            .cases
            .iter()
            .map(|(binary, case)| (binary.as_str(), case.as_str()))
            .collect();
        let mut infra: Vec<_> = last(self.outcomes)
            .into_iter()
            .filter_map(|(key, outcome)| match &outcome.verdict {
                Verdict::Infra(cause) => Some((cases.contains(&key), key.1, cause.as_str())),
                _ => None,
            })
            .collect();
        infra.sort_by_key(|(is_case, ..)| *is_case);
        let mut lines = Vec::new();
        let mut said = BTreeMap::<&str, usize>::new();
        for (_, case, cause) in infra {
            let times = said.entry(cause).or_default();
            *times += 1;
            match *times {
                1 => lines.push(format!("infra: {case}: {cause}")),
                2..=OFTEN => lines.push(format!("infra: {case}: {}", brief(cause))),
                _ => {}
            }
        }
        for (cause, times) in said.into_iter().filter(|(_, times)| *times > OFTEN) {
            let more = times - OFTEN;
            lines.push(format!("infra: and {more} more: {}", brief(cause)));
        }
        lines
    }

    /// nextest's own exit code, except that all failures being infra is 69, and an interrupt is 130.
    pub fn exit_code(&self) -> u8 {
        if self.ended.interrupts > 0 {
            return INTERRUPTED;
        }
        let code = self.ended.status.code().unwrap_or(i32::from(INTERRUPTED));
        let (mut failed, mut infra) = (false, false);
        for outcome in last(self.outcomes).values() {
            failed |= outcome.verdict == Verdict::Fail;
            infra |= matches!(outcome.verdict, Verdict::Infra(_));
        }
        let unaccounted = !self.report.failed.is_empty() || !self.bypassed().is_empty();
        match code {
            TEST_RUN_FAILED if infra && !failed => INFRA,
            0 if unaccounted => INFRA,
            code => u8::try_from(code).unwrap_or(INFRA),
        }
    }

    /// Cases that nextest has passed and we have not seen. (A run that failed may have left cases out.)
    fn bypassed(&self) -> Vec<&(String, String)> {
        if self.ended.status.code() != Some(0) {
            return Vec::new();
        }
        let seen = last(self.outcomes);
        let unseen = |(binary, case): &&(String, String)| {
            !seen.contains_key(&(binary.as_str(), case.as_str()))
        };
        self.cases.iter().filter(unseen).collect()
    }

    fn held(&self) -> Vec<String> {
        let held = self.report.held.iter();
        held.map(|held| format!("{} ({})", held.instance, held.by))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

    use super::*;

    fn outcome(binary: &str, attempt: u32, verdict: Verdict) -> Outcome {
        Outcome {
            verdict,
            ..Outcome::of_case(binary, "smoke[a]", attempt)
        }
    }

    fn exit_code(code: i32, interrupts: u32, outcomes: &[Outcome]) -> u8 {
        let results = Results {
            ended: &Ended {
                status: ExitStatus::from_raw(code << 8),
                interrupts,
            },
            outcomes,
            cases: &[("x".to_owned(), "smoke[a]".to_owned())],
            skipped: &[],
            used: &[],
            report: &Report::default(),
        };
        results.exit_code()
    }

    #[test]
    fn a_cause_is_told_in_full_once() {
        let cause = || Verdict::Infra("a-0 could not be deployed: code 3:\nno quota".to_owned());
        let mut outcomes = vec![Outcome {
            verdict: cause(),
            ..Outcome::of_case("z", "deploy[a-0]", 1)
        }];
        let mut cases = Vec::new();
        for number in 100..112 {
            let case = format!("t{number}[a]");
            outcomes.push(Outcome {
                verdict: cause(),
                ..Outcome::of_case("x", &case, 1)
            });
            cases.push(("x".to_owned(), case));
        }
        let results = Results {
            ended: &Ended {
                status: ExitStatus::from_raw(100 << 8),
                interrupts: 0,
            },
            outcomes: &outcomes,
            cases: &cases,
            skipped: &[],
            used: &[],
            report: &Report::default(),
        };
        let lines = results.infra();
        assert_eq!(lines.len(), OFTEN + 1);
        assert_eq!(
            lines[0],
            "infra: deploy[a-0]: a-0 could not be deployed: code 3:\nno quota"
        );
        assert_eq!(
            lines[1],
            "infra: t100[a]: a-0 could not be deployed: code 3"
        );
        assert_eq!(
            lines[OFTEN],
            "infra: and 3 more: a-0 could not be deployed: code 3"
        );
    }

    #[test]
    fn only_infra_is_no_failure() {
        let infra = || Verdict::Infra("gone".to_owned());
        let (lost, failed) = (outcome("x", 1, infra()), outcome("x", 1, Verdict::Fail));
        // Another binary has a case of the same name.
        let other = outcome("y", 1, infra());
        let on_retry = outcome("x", 2, Verdict::Pass);
        for (code, interrupts, outcomes, expected) in [
            (100, 0, vec![lost.clone()], 69),
            (100, 0, vec![failed.clone(), other.clone()], 100),
            (100, 0, vec![failed.clone(), on_retry.clone(), other], 69),
            (0, 0, vec![failed, on_retry], 0),
            (0, 0, vec![], 69),
            (4, 0, vec![], 4),
            (100, 1, vec![lost], 130),
        ] {
            assert_eq!(
                exit_code(code, interrupts, &outcomes),
                expected,
                "{outcomes:?}"
            );
        }
    }
}
