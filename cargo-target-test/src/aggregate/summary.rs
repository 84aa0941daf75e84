//! The lines after nextest's own summary, and the exit code.
//!
//! Owns what nextest cannot know: verdicts beyond pass and fail, and instances. Says nothing where there
//! is nothing to add. Must not know how instances are had or deleted.

use std::collections::BTreeMap;

use crate::{
    execute::{
        outcome::{Outcome, Verdict},
        session::Ended,
    },
    provision::Report,
    ui,
};

/// nextest's exit code for failed tests.
const TEST_RUN_FAILED: i32 = nextest_metadata::NextestExitCode::TEST_RUN_FAILED;
const INFRA: u8 = 69;
const INTERRUPTED: u8 = 130;

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
    /// What became of the instances.
    pub report: &'a Report,
}

impl Results<'_> {
    /// Prints what is worth a line.
    pub fn print(&self) {
        for ((_, case), outcome) in last(self.outcomes) {
            match &outcome.verdict {
                Verdict::Skip(reason) => ui::note(format!("skip: {case}: {reason}")),
                Verdict::Infra(cause) => ui::note(format!("infra: {case}: {cause}")),
                Verdict::Pass | Verdict::Fail => {}
            }
        }
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
            (
                "kept earlier, not used (`--delete-targets` deletes all)",
                &self.report.unused,
            ),
            ("deleted what an interrupted run left", &self.report.left),
        ] {
            if !names.is_empty() {
                ui::note(format!("{what}: {}", names.join(", ")));
            }
        }
        for failure in &self.report.failed {
            let (instance, cause) = (&failure.instance, &failure.cause);
            ui::warn(format!("{instance} could not be deleted: {cause}"));
        }
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
