//! The runner's report of its test.
//!
//! Owns the wait for it. Must not know how the lease was had, nor what a report means: `case::verdict` does.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    time::Duration,
};

use target_fixtures::wire::{Exit, Reply, Request};

use super::super::{
    ActiveLease,
    connection::{Connection, Requests},
    infra,
};
use crate::{
    case::verdict::{Evidence, Verdict, judge},
    execute::output_file,
    provision::LeaseEnd,
    run_event::{OutputFile, TAIL},
};

/// How long a test may take to end by itself once an instance of its is lost.
const LOST: Duration = Duration::from_secs(3);

/// What a runner reports of its test; the default is that of a runner which was killed before it could.
#[derive(Default)]
pub(super) struct RunnerReport {
    /// The end of the test process; `None`: nothing was reported.
    pub(super) exit: Option<Exit>,
    /// How long the test process lived.
    pub(super) took: Duration,
    started: bool,
    timed_out: bool,
    interrupted: bool,
}

impl RunnerReport {
    /// The way in which the lease ends.
    pub(super) fn lease_end(&self) -> LeaseEnd {
        match &self.exit {
            Some(exit) if exit.success() => LeaseEnd::Done,
            Some(_) => LeaseEnd::Failed,
            None => LeaseEnd::Abandoned,
        }
    }

    /// True if a test that says so is skipped: it ended well.
    pub(super) fn succeeded(&self) -> bool {
        self.exit.as_ref().is_some_and(Exit::success) && !self.timed_out
    }

    /// The verdict; `lost` is the reason an instance does not answer any more.
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

/// Waits for the runner's report. A test whose instance is lost hears so from what it asks; one that asks nothing is
/// ended.
pub(super) async fn report_unless_lost(
    connection: &mut Connection,
    held: &ActiveLease,
    on_start: impl FnMut(),
) -> RunnerReport {
    let Connection {
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
    let _ = replies.send(&Reply::Refused(infra(&lost))).await;
    report.await
}

/// Waits for the runner's report; `on_start` is called when there is a test process.
pub(super) async fn report(requests: &mut Requests, mut on_start: impl FnMut()) -> RunnerReport {
    let mut report = RunnerReport::default();
    while let Some((request, _)) = requests.recv().await {
        match request {
            Request::Started { .. } => {
                report.started = true;
                on_start();
            }
            Request::Finished {
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

/// The files in which the runner kept standard output and standard error.
pub(super) fn output_files(output: Option<&Path>) -> [Option<OutputFile>; 2] {
    ["stdout", "stderr"].map(|ending| {
        let path = output_file(output?, ending);
        let mut file = File::open(&path).ok()?;
        let length = file.metadata().ok()?.len();
        let start = length.saturating_sub(TAIL as u64);
        file.seek(SeekFrom::Start(start)).ok()?;
        let mut tail = Vec::new();
        file.take(TAIL as u64).read_to_end(&mut tail).ok()?;
        Some(OutputFile {
            path,
            length,
            tail: String::from_utf8_lossy(&tail).into_owned(),
        })
    })
}
