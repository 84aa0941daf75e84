//! The lines after nextest's own summary, and the exit code.
//!
//! Owns what nextest cannot know: verdicts beyond pass and fail, and instances. Says nothing where there
//! is nothing to add. Must not know how instances are had or deleted.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    error::one_line,
    execute::{
        broker::Used,
        outcome::{Outcome, Verdict},
        session::Ended,
    },
    process,
    provision::{Failure, Report},
    ui,
};

/// nextest's exit code for failed tests.
const TEST_RUN_FAILED: i32 = nextest_metadata::NextestExitCode::TEST_RUN_FAILED;
const INFRA: u8 = 69;
const INTERRUPTED: u8 = 130;
/// Fixtures, and machines that could not be had, that take less are not worth a line.
const WORTH_SAYING: Duration = Duration::from_millis(100);
/// How many names of a kind are worth saying.
const OFTEN: usize = 10;

/// These names, or the first of them and how many more there are.
fn few(names: &[&str]) -> String {
    let shown = names.len().min(OFTEN);
    let more = names.len() - shown;
    let end = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    names[..shown].join(", ") + &end
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
            ("cleaned up what an interrupted run left", &self.report.left),
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
        for (failures, what) in [
            (&self.report.dirty, "is dirty"),
            (&self.report.unknown, "is left as it is"),
            (&self.report.failed, "could not be deleted"),
        ] {
            for Failure { instance, cause } in failures {
                ui::warn(format!("{instance} {what}: {cause}"));
            }
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

    /// What could not be had or was lost: each cause once, on one line after the cases that it befell. A deploy that no
    /// case waited for is named itself. What nextest shows of them has it in full.
    fn infra(&self) -> Vec<String> {
        let cases: BTreeSet<_> = self
            .cases
            .iter()
            .map(|(binary, case)| (binary.as_str(), case.as_str()))
            .collect();
        let mut causes = BTreeMap::<&str, (Vec<&str>, Vec<&str>)>::new();
        for (key, outcome) in last(self.outcomes) {
            if let Verdict::Infra(cause) = &outcome.verdict {
                let (befallen, deploys) = causes.entry(cause).or_default();
                let names = if cases.contains(&key) {
                    befallen
                } else {
                    deploys
                };
                names.push(key.1);
            }
        }
        let line = |(cause, (befallen, deploys)): (&str, (Vec<&str>, Vec<&str>))| {
            let names = if befallen.is_empty() {
                deploys
            } else {
                befallen
            };
            format!("infra: {}: {}", few(&names), one_line(cause))
        };
        causes.into_iter().map(line).collect()
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
    fn a_cause_is_told_once() {
        let cause = || Verdict::Infra("a-0 could not be deployed: code 3:\nno quota".to_owned());
        let deploy = |name: &str, verdict: Verdict| Outcome {
            verdict,
            ..Outcome::of_case("z", name, 1)
        };
        let mut outcomes = vec![
            deploy("deploy[a-0]", cause()),
            deploy("deploy[b-0]", Verdict::Infra("no such image".to_owned())),
        ];
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
        assert_eq!(
            lines,
            [
                "infra: t100[a], t101[a], t102[a], t103[a], t104[a], t105[a], t106[a], t107[a], t108[a], t109[a] \
                 and 2 more: a-0 could not be deployed: code 3: no quota",
                "infra: deploy[b-0]: no such image",
            ]
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
