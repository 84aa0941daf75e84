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

/// The last attempt of every case.
fn last(outcomes: &[Outcome]) -> BTreeMap<&str, &Outcome> {
    outcomes
        .iter()
        .map(|outcome| (outcome.case.as_str(), outcome))
        .collect()
}

/// Prints what is worth a line.
pub fn print(ended: &Ended, outcomes: &[Outcome], report: &Report) {
    let last = last(outcomes);
    for outcome in last.values() {
        match &outcome.verdict {
            Verdict::Skip(reason) => ui::note(format!("skip: {}: {reason}", outcome.case)),
            Verdict::Infra(cause) => ui::note(format!("infra: {}: {cause}", outcome.case)),
            Verdict::Pass | Verdict::Fail => {}
        }
    }
    let ran = matches!(ended.status.code(), Some(0 | TEST_RUN_FAILED));
    if ran && last.is_empty() {
        ui::warn("no case asked for an instance: is a wrapper script or runner in the way?");
    }
    if !report.kept.is_empty() {
        ui::note(format!("kept: {}", report.kept.join(", ")));
    }
    for failure in &report.failed {
        ui::warn(format!(
            "{} could not be deleted: {}",
            failure.instance, failure.cause
        ));
    }
}

/// nextest's own exit code, except that all failures being infra is 69, and an interrupt is 130.
pub fn exit_code(ended: &Ended, outcomes: &[Outcome], report: &Report) -> u8 {
    if ended.interrupts > 0 {
        return INTERRUPTED;
    }
    let code = ended.status.code().unwrap_or(i32::from(INTERRUPTED));
    let (mut failed, mut infra) = (false, false);
    for outcome in last(outcomes).values() {
        failed |= outcome.verdict == Verdict::Fail;
        infra |= matches!(outcome.verdict, Verdict::Infra(_));
    }
    if code == TEST_RUN_FAILED && infra && !failed {
        return INFRA;
    }
    if code == 0 && !report.failed.is_empty() {
        return INFRA;
    }
    u8::try_from(code).unwrap_or(INFRA)
}
