//! Emits the results that a test reports and the commands that a test runs as run events.
//!
//! Results of a test without a runner are dropped, because the test is not an attempt of a run.

use std::time::Duration;

use target_fixtures::wire::{Measurement, Reply, ShellCommand, SubResult};

use super::super::active_lease::ActiveLease;
use crate::{
    provision::Machine,
    run_event::{Attempt, RunEventKind, Sink},
    secret::redacted,
};

/// Emits a measurement.
pub(super) fn record(sink: &Sink, held: &ActiveLease, measurement: Measurement) -> Reply {
    emit(sink, held, |attempt| RunEventKind::Record {
        attempt,
        measurement,
    })
}

/// Emits a sub-result.
pub(super) fn sub_result(sink: &Sink, held: &ActiveLease, mut result: SubResult) -> Reply {
    let message = result.message.as_deref();
    result.message = message.map(|message| redacted(message).into_owned());
    emit(sink, held, |attempt| RunEventKind::SubResult {
        attempt,
        result,
    })
}

fn emit(sink: &Sink, held: &ActiveLease, event: impl FnOnce(Attempt) -> RunEventKind) -> Reply {
    if let Some((attempt, _)) = held.attempt() {
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
