//! Emits the results that a test reports and the commands that a test runs as run events.
//!
//! Results of a test without a runner are dropped, and it has no earlier ones, because the test is not an attempt of a
//! run.

use std::{sync::Arc, time::Duration};

use target_fixtures::wire::{Measurement, PreviousQuery, Reply, ShellCommand, SubResult};

use super::{
    super::{
        Server,
        previous::{self, PreviousOf},
    },
    Client,
};
use crate::{
    case::CaseInfo,
    provision::Machine,
    run_event::{Attempt, RunEventKind},
    secret::{redact, redacted},
};

impl Server {
    /// Emits a measurement.
    pub(in crate::execute::broker) fn record(
        &self,
        attempt: Option<&Attempt>,
        measurement: Measurement,
    ) -> Reply {
        self.emit(attempt, |attempt| RunEventKind::Record {
            attempt,
            measurement,
        })
    }

    /// Answers with values of earlier runs.
    pub(in crate::execute::broker) async fn previous(
        &self,
        case: Option<&Arc<CaseInfo>>,
        query: PreviousQuery,
    ) -> Reply {
        let (Some(case), Some(lookup)) = (case.cloned(), self.setup.previous.clone()) else {
            return Reply::Previous {
                values: Vec::new(),
                missing: Some("this is not a run of `cargo target-test`".to_owned()),
            };
        };
        let of = PreviousOf { case, query };
        previous::answer(lookup, of).await
    }

    /// Emits a sub-result.
    pub(super) fn sub_result(&self, attempt: Option<&Attempt>, mut result: SubResult) -> Reply {
        result.message.iter_mut().for_each(redact);
        self.emit(attempt, |attempt| RunEventKind::SubResult {
            attempt,
            result,
        })
    }

    fn emit(
        &self,
        attempt: Option<&Attempt>,
        event: impl FnOnce(Attempt) -> RunEventKind,
    ) -> Reply {
        if let Some(attempt) = attempt {
            self.setup.sink.emit(event(attempt.clone()));
        }
        Reply::Done
    }
}

impl Client<'_> {
    /// Emits a command that has exited.
    pub(super) fn emit_command(&self, at: &Machine, command: &ShellCommand, reply: &Reply) {
        if let Reply::Exited { exit, millis } = reply {
            self.server.setup.sink.emit(RunEventKind::RemoteCommand {
                instance: at.name().to_owned(),
                lease: self.held.id.clone(),
                command: redacted(&command.text()).into_owned(),
                took: Duration::from_millis(*millis),
                exit: exit.clone(),
            });
        }
    }
}
