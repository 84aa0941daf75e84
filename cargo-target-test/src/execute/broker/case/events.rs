//! The events of one attempt, without secrets.

use std::time::Duration;

use super::super::{ActiveLease, Core, lock};
use crate::{
    case::{reason::SkipReason, verdict::Verdict},
    run_event::{Attempt, AttemptResult, RunEventKind},
    secret,
};

impl Core {
    pub(super) fn attempt_started(&self, attempt: &Attempt, instances: &[String]) {
        self.sink.emit(RunEventKind::AttemptStarted {
            attempt: attempt.clone(),
            instances: instances.to_vec(),
        });
    }

    pub(super) fn lease_granted(&self, attempt: &Attempt, held: &ActiveLease, waited: Duration) {
        self.sink.emit(RunEventKind::LeaseGranted {
            lease: held.id.clone(),
            attempt: attempt.clone(),
            instances: super::names(held),
            waited,
        });
        lock(&self.attempts).insert(held.id.clone(), attempt.clone());
    }

    pub(super) fn lease_ended(&self, lease: String, instances: Vec<String>, held: Duration) {
        lock(&self.attempts).remove(&lease);
        self.sink.emit(RunEventKind::LeaseEnded {
            lease,
            instances,
            held,
        });
    }

    pub(super) fn attempt_ended(&self, attempt: Attempt, mut result: AttemptResult) {
        // Reasons come from tests and runners, which may not know all secrets that are registered by now.
        result.verdict = redacted(result.verdict);
        result.expected = result.expected.filter(|_| result.verdict == Verdict::Pass);
        result.expected.iter_mut().for_each(secret::redact);
        self.sink.emit(RunEventKind::AttemptEnded {
            attempt,
            result: Box::new(result),
        });
    }
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
