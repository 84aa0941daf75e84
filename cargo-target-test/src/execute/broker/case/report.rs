//! What a runner says of its test, and what that means.
//!
//! Owns the verdict. Must not know how the lease was had.

use std::time::Duration;

use target_fixtures::wire::{Exit, Reply, Request, Run};

use super::super::{
    ActiveLease,
    connection::{Connection, Requests},
    infra,
};
use crate::{
    execute::outcome::{Outcome, Verdict},
    provision::LeaseEnd,
};

/// How long a test may take to end by itself once an instance of its is lost.
const LOST: Duration = Duration::from_secs(3);

/// What a runner reports of its test.
pub(super) struct Report {
    exit: Exit,
    timed_out: bool,
    took: Duration,
    stdout: String,
    stderr: String,
}

pub(super) fn end_of(ended: &Result<Report, Silence>) -> LeaseEnd {
    match ended {
        Ok(report) if report.exit == Exit::Code(0) => LeaseEnd::Done,
        Ok(_) => LeaseEnd::Failed,
        Err(_) => LeaseEnd::Abandoned,
    }
}

impl Report {
    /// Whether a test that said so may be skipped: it ended well.
    pub(super) fn skips(&self) -> bool {
        self.exit == Exit::Code(0) && !self.timed_out
    }
}

/// A runner that was killed before it could report.
pub(super) struct Silence {
    /// Whether there was a test process by then.
    pub(super) started: bool,
}

/// Waits for the runner's report. A test whose instance is lost hears so from what it asks; one that asks nothing is
/// ended.
pub(super) async fn report_unless_lost(
    connection: &mut Connection,
    held: &ActiveLease,
) -> Result<Report, Silence> {
    let Connection {
        requests, replies, ..
    } = connection;
    let report = report(requests);
    tokio::pin!(report);
    let lost = tokio::select! {
        ended = &mut report => return ended,
        lost = held.lost() => lost,
    };
    if let Ok(ended) = tokio::time::timeout(LOST, &mut report).await {
        return ended;
    }
    let _ = replies.send(&Reply::Refused(infra(&lost))).await;
    report.await
}

/// Waits for the runner's report.
pub(super) async fn report(requests: &mut Requests) -> Result<Report, Silence> {
    let mut started = false;
    while let Some((request, body)) = requests.recv().await {
        started |= matches!(request, Request::Started { .. });
        if let Request::Finished {
            exit,
            timed_out,
            millis,
            stdout,
        } = request
        {
            let (out, err) = body.split_at(stdout.min(body.len()));
            return Ok(Report {
                exit,
                timed_out,
                took: Duration::from_millis(millis),
                stdout: String::from_utf8_lossy(out).into_owned(),
                stderr: String::from_utf8_lossy(err).into_owned(),
            });
        }
    }
    Err(Silence { started })
}

/// `lost` says why an instance does not answer any more: then it is not the test that failed. The runner's
/// own verdict, for nextest, follows the same rules: see `runner::verdict`.
pub(super) fn judge(
    outcome: &mut Outcome,
    ended: Result<Report, Silence>,
    lost: Option<String>,
    skipped: Option<String>,
    run: &Run,
) {
    let report = match ended {
        Ok(report) => report,
        Err(Silence { started }) => {
            outcome.verdict = match lost {
                Some(cause) => Verdict::Infra(cause),
                None if started => Verdict::Fail,
                None => Verdict::Infra("the runner ended before the test started".to_owned()),
            };
            "the runner was killed".clone_into(&mut outcome.stderr);
            return;
        }
    };
    let as_expected = run.expect_fail.is_some() == (report.exit != Exit::Code(0));
    outcome.verdict = match (skipped, lost) {
        (Some(reason), _) if report.skips() => Verdict::Skip(reason),
        _ if as_expected && !report.timed_out => Verdict::Pass,
        (_, Some(cause)) => Verdict::Infra(cause),
        _ => Verdict::Fail,
    };
    outcome.expected = run.expect_fail.clone();
    outcome.took = report.took;
    // Of a test that passed nobody reads it, and a run may have a hundred thousand.
    if outcome.verdict != Verdict::Pass {
        outcome.stdout = report.stdout;
        outcome.stderr = report.stderr;
    }
}
