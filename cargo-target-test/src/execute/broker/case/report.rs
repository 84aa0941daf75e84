//! The runner's report of its test, and the wait for the report.
//!
//! Must not know how the lease was acquired, nor how a report is judged (see `case::verdict`).

use std::time::Duration;

use target_fixtures::wire::{BrokerRequest, Exit, Reply};

use super::super::{
    active_lease::ActiveLease,
    connection::{ClientConnection, Requests, failure_of},
};
use crate::{
    case::verdict::{Evidence, Verdict, judge},
    provision::LeaseEnd,
};

/// The time that a test has to end by itself after one of its instances is lost.
const LOST: Duration = Duration::from_secs(3);

/// A runner's report of its test. The default stands for a runner that was killed before it could report.
#[derive(Default)]
pub(super) struct RunnerReport {
    /// The exit of the test process; `None` if the runner did not report.
    pub(super) exit: Option<Exit>,
    /// The lifetime of the test process.
    pub(super) took: Duration,
    started: bool,
    timed_out: bool,
    interrupted: bool,
}

impl RunnerReport {
    /// Returns the way in which the lease ends.
    pub(super) fn lease_end(&self) -> LeaseEnd {
        match &self.exit {
            Some(exit) if exit.success() => LeaseEnd::Done,
            Some(_) => LeaseEnd::Failed,
            None => LeaseEnd::Abandoned,
        }
    }

    /// Returns true if the test succeeded: the verdict then does not depend on the instances.
    pub(super) fn succeeded(&self) -> bool {
        self.exit.as_ref().is_some_and(Exit::success) && !self.timed_out
    }

    /// Returns the verdict; `lost` is the reason an instance does not answer any more.
    pub(super) fn judge(
        &self,
        expect_fail: Option<&str>,
        skipped: Option<&str>,
        lost: Option<&str>,
    ) -> Verdict {
        judge(&Evidence {
            exit: self.exit.as_ref(),
            started: self.started,
            timed_out: self.timed_out,
            interrupted: self.interrupted,
            expect_fail,
            skipped,
            lost,
            crashed: None,
        })
    }
}

/// Waits for the runner's report. After an instance is lost, requests of the test fail; a test that does not end in
/// time is killed.
pub(super) async fn report_unless_lost(
    connection: &mut ClientConnection,
    held: &ActiveLease,
    on_start: impl FnMut(),
) -> RunnerReport {
    let ClientConnection {
        requests, replies, ..
    } = connection;
    let report = report(requests, on_start);
    tokio::pin!(report);
    let lost = tokio::select! {
        ended = &mut report => return ended,
        lost = held.lost() => lost,
    };
    if let Ok(ended) = tokio::time::timeout(LOST, &mut report).await {
        return ended;
    }
    let _ = replies.send(&Reply::Refused(failure_of(&lost))).await;
    report.await
}

/// Waits for the runner's report. Calls `on_start` when the test process has started.
pub(super) async fn report(requests: &mut Requests, mut on_start: impl FnMut()) -> RunnerReport {
    let mut report = RunnerReport::default();
    while let Some((request, _)) = requests.recv().await {
        match request {
            BrokerRequest::Started { .. } => {
                report.started = true;
                on_start();
            }
            BrokerRequest::Finished {
                exit,
                timed_out,
                interrupted,
                millis,
            } => {
                report.exit = Some(exit);
                report.took = Duration::from_millis(millis);
                report.timed_out = timed_out;
                report.interrupted = interrupted;
                break;
            }
            _ => {}
        }
    }
    report
}
