//! Emits the results that a test reports and the commands that a test runs as run events.
//!
//! Results of a test without a runner are dropped, and it has no earlier ones, because the test is not an attempt of a
//! run.

use std::{sync::Arc, time::Duration};

use target_fixtures::wire::{Measurement, PreviousQuery, Reply, ShellCommand, SubResult};

use super::{
    super::{
        active_lease::ActiveLease,
        previous::{self, PreviousOf},
    },
    SessionParts,
};
use crate::{
    case::CaseInfo,
    provision::Machine,
    run_event::{Attempt, RunEventKind, Sink},
    secret::redacted,
};

/// Emits a measurement.
pub(in crate::execute::broker) fn record(
    sink: &Sink,
    attempt: Option<&Attempt>,
    measurement: Measurement,
) -> Reply {
    emit(sink, attempt, |attempt| RunEventKind::Record {
        attempt,
        measurement,
    })
}

/// Answers with values of earlier runs.
pub(in crate::execute::broker) async fn previous(
    sessions: &SessionParts,
    case: Option<&Arc<CaseInfo>>,
    query: PreviousQuery,
) -> Reply {
    let (Some(case), Some(lookup)) = (case.cloned(), sessions.previous.clone()) else {
        return Reply::Previous {
            values: Vec::new(),
            missing: Some("this is not a run of `cargo target-test`".to_owned()),
        };
    };
    let of = PreviousOf { case, query };
    previous::answer(lookup, of).await
}

/// Emits a sub-result.
pub(super) fn sub_result(sink: &Sink, held: &ActiveLease, mut result: SubResult) -> Reply {
    let message = result.message.as_deref();
    result.message = message.map(|message| redacted(message).into_owned());
    let attempt = held.attempt().map(|(attempt, _)| attempt);
    emit(sink, attempt, |attempt| RunEventKind::SubResult {
        attempt,
        result,
    })
}

fn emit(
    sink: &Sink,
    attempt: Option<&Attempt>,
    event: impl FnOnce(Attempt) -> RunEventKind,
) -> Reply {
    if let Some(attempt) = attempt {
        sink.emit(event(attempt.clone()));
    }
    Reply::Done
}

/// Emits a command that has exited.
pub(super) fn command(
    sink: &Sink,
    held: &ActiveLease,
    at: &Machine,
    command: &ShellCommand,
    reply: &Reply,
) {
    if let Reply::Exited { exit, millis } = reply {
        sink.emit(RunEventKind::RemoteCommand {
            instance: at.name().to_owned(),
            lease: held.id.clone(),
            command: redacted(&command.text()).into_owned(),
            took: Duration::from_millis(*millis),
            exit: exit.clone(),
        });
    }
}
