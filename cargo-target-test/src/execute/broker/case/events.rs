//! The events of one attempt, without secrets.

use crate::{
    case::{reason::SkipReason, verdict::Verdict},
    run_event::{Attempt, AttemptResult, RunEventKind, Sink},
    secret,
};

pub(super) fn attempt_started(sink: &Sink, attempt: &Attempt, instances: &[String]) {
    sink.emit(RunEventKind::AttemptStarted {
        attempt: attempt.clone(),
        instances: instances.to_vec(),
    });
}

pub(super) fn attempt_ended(sink: &Sink, attempt: Attempt, mut result: AttemptResult) {
    // Reasons come from tests and runners, which may not know all secrets that are registered by now.
    result.verdict = redacted(result.verdict);
    result.expected = result.expected.filter(|_| result.verdict == Verdict::Pass);
    let texts = result.expected.iter_mut().chain(&mut result.message);
    texts.for_each(secret::redact);
    sink.emit(RunEventKind::AttemptEnded {
        attempt,
        result: Box::new(result),
    });
}

/// Removes secrets from the reason of a verdict.
pub(super) fn redacted(mut verdict: Verdict) -> Verdict {
    if let Verdict::Skip(SkipReason::Test(why) | SkipReason::Instances(why))
    | Verdict::Crash(why)
    | Verdict::Infra(why) = &mut verdict
    {
        secret::redact(why);
    }
    verdict
}
