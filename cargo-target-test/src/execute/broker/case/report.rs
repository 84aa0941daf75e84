//! The runner's report of its test, and the wait for the report.
//!
//! Must not know how the lease was acquired, nor how a report is judged.

use std::time::Duration;

use target_fixtures::wire::{BrokerRequest, Reply};

use super::super::connection::{ClientConnection, Requests, failure_of};
use crate::{execute::ProcessEnd, provision::Lost};

/// The time that a test has to end by itself after one of its instances is lost.
const LOST: Duration = Duration::from_secs(3);

/// Waits for the runner's report. After an instance is lost, requests of the test fail; a test that does not end in
/// time is killed.
pub(super) async fn report_unless_lost(
    connection: &mut ClientConnection,
    lost: Lost,
    on_start: impl FnMut(),
) -> ProcessEnd {
    let ClientConnection {
        requests, replies, ..
    } = connection;
    let report = report(requests, on_start);
    tokio::pin!(report);
    let lost = tokio::select! {
        ended = &mut report => return ended,
        lost = lost.wait() => lost,
    };
    if let Ok(ended) = tokio::time::timeout(LOST, &mut report).await {
        return ended;
    }
    let _ = replies.send(&Reply::Refused(failure_of(&lost))).await;
    report.await
}

/// Waits for the runner's report: the default if the runner was killed before it could report. Calls `on_start` when the test process has started.
pub(super) async fn report(requests: &mut Requests, mut on_start: impl FnMut()) -> ProcessEnd {
    let mut report = ProcessEnd::default();
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
