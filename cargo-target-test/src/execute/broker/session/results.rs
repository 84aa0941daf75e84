//! Emits the results that a test reports and the commands that a test runs as run events.
//!
//! Results of a test without a runner are dropped, because the test is not an attempt of a run.

use std::time::Duration;

use target_fixtures::wire::{Measurement, Reply, ShellCommand, SubResult};

use super::super::{ActiveLease, Core, lock};
use crate::{
    provision::Machine,
    run_event::{Attempt, RunEventKind},
    secret::redacted,
};

/// Emits a measurement.
pub(super) fn record(core: &Core, held: &ActiveLease, measurement: Measurement) -> Reply {
    emit(core, held, |attempt| RunEventKind::Record {
        attempt,
        measurement,
    })
}

/// Emits a sub-result.
pub(super) fn sub_result(core: &Core, held: &ActiveLease, mut result: SubResult) -> Reply {
    let message = result.message.as_deref();
    result.message = message.map(|message| redacted(message).into_owned());
    emit(core, held, |attempt| RunEventKind::SubResult {
        attempt,
        result,
    })
}

fn emit(core: &Core, held: &ActiveLease, event: impl FnOnce(Attempt) -> RunEventKind) -> Reply {
    let attempt = lock(&core.attempts).get(&held.id).cloned();
    if let Some(attempt) = attempt {
        core.sink.emit(event(attempt));
    }
    Reply::Done
}

/// Emits a command that has exited.
pub(super) fn command(
    core: &Core,
    held: &ActiveLease,
    at: &Machine,
    command: &ShellCommand,
    reply: &Reply,
) {
    if let Reply::Exited { exit, millis } = reply {
        core.sink.emit(RunEventKind::RemoteCommand {
            instance: at.name().to_owned(),
            lease: held.id.clone(),
            command: redacted(&command.text()).into_owned(),
            took: Duration::from_millis(*millis),
            exit: exit.clone(),
        });
    }
}
