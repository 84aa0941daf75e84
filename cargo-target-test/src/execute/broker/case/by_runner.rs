//! The launcher of nextest's runs: the runner of a case starts the process and is its parent.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use target_fixtures::wire::{BrokerRequest, ExpectedFailure, Reply, Run};
use tokio::sync::Mutex;

use super::super::{
    active_lease::ActiveLease,
    connection::{ClientConnection, Requests, failure_of},
};
use crate::{
    error::Result,
    execute::{Launch, Launcher, ProcessEnd},
    process,
    provision::{BoxFuture, Lost},
    secret,
};

/// The time that a test has to end by itself after one of its instances is lost.
const LOST: Duration = Duration::from_secs(3);

/// Starts processes by the runner of one case.
pub(super) struct ByRunner<'a> {
    /// The runner, which starts one process.
    pub(super) runner: Mutex<&'a mut ClientConnection>,
    /// True once the runner was told to start a process.
    pub(super) has_launched: AtomicBool,
    /// The failures that are expected, for a runner that has to decide without the broker.
    pub(super) expect_fail: &'a [ExpectedFailure],
    /// The lease of a process that runs an orchestration, and ends by itself.
    pub(super) orchestrates: Option<&'a ActiveLease>,
    /// Called when the process has started.
    pub(super) on_start: &'a (dyn Fn() + Send + Sync),
}

impl Launcher for ByRunner<'_> {
    fn launch(&self, launch: Launch) -> BoxFuture<'_, Result<ProcessEnd>> {
        Box::pin(async move {
            let run = Run {
                command: process::words(&launch.command),
                env: variables(&launch.command),
                lease: launch.lease.as_ref().map(|(id, _)| id.clone()),
                timeout: launch.limit.map(|limit| limit.as_millis() as u64),
                expect_fail: self.expect_fail.to_vec(),
                output: launch.output,
                stops_within: launch.stops_within.map(|limit| limit.as_millis() as u64),
                set_up_limit: launch.set_up_limit.map(|limit| limit.as_millis() as u64),
                secrets: match launch.lease {
                    Some(_) => secret::registered(),
                    None => Vec::new(),
                },
            };
            let mut runner = self.runner.lock().await;
            let told = Reply::Run(Box::new(run));
            self.has_launched.store(true, Ordering::Relaxed);
            if runner.replies.send(&told).await.is_err() {
                return Ok(ProcessEnd::default());
            }
            Ok(match launch.lease {
                Some((_, lost)) => report_unless_lost(&mut runner, lost, self).await,
                None => report(&mut runner.requests, self).await,
            })
        })
    }

    fn abandoned(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut runner = self.runner.lock().await;
            while runner.requests.recv().await.is_some() {}
        })
    }
}

fn variables(command: &Command) -> BTreeMap<String, String> {
    let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
    let set = command.get_envs();
    set.filter_map(|(name, value)| Some((text(name), text(value?))))
        .collect()
}

/// Waits for the runner's report, and tells the runner when an orchestration is set up. After an instance is lost, requests
/// of the test fail; a test that does not end in time is killed.
async fn report_unless_lost(
    connection: &mut ClientConnection,
    lost: Lost,
    told: &ByRunner<'_>,
) -> ProcessEnd {
    let ClientConnection {
        requests, replies, ..
    } = connection;
    let report = report(requests, told);
    let set_up = set_up(told.orchestrates);
    let lost = lost.wait();
    tokio::pin!(report, set_up, lost);
    let mut is_set_up = false;
    let lost = loop {
        tokio::select! {
            ended = &mut report => return ended,
            () = &mut set_up, if !is_set_up => {
                is_set_up = true;
                let _ = replies.send(&Reply::ClockStarts).await;
            }
            lost = &mut lost => break lost,
        }
    };
    if let Ok(ended) = tokio::time::timeout(LOST, &mut report).await {
        return ended;
    }
    let _ = replies.send(&Reply::Refused(failure_of(&lost))).await;
    report.await
}

/// Completes when the orchestration of a lease is set up; never without one.
async fn set_up(lease: Option<&ActiveLease>) {
    match lease {
        Some(lease) => lease.is_set_up().await,
        None => std::future::pending().await,
    }
}

/// Waits for the runner's report: the default if the runner was killed before it could report. Tells when the test process
/// has started, and when it must end.
async fn report(requests: &mut Requests, told: &ByRunner<'_>) -> ProcessEnd {
    let mut report = ProcessEnd::default();
    while let Some((request, _)) = requests.recv().await {
        match request {
            BrokerRequest::Started { .. } => {
                report.started = true;
                (told.on_start)();
            }
            BrokerRequest::Stop { reason } => {
                told.orchestrates
                    .iter()
                    .for_each(|lease| lease.stop(reason));
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
