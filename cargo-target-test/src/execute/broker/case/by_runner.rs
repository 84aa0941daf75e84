//! The launcher of nextest's runs: the runner of a case starts the process and is its parent.

use std::{collections::BTreeMap, process::Command};

use target_fixtures::wire::{ExpectedFailure, Reply, Run};
use tokio::sync::Mutex;

use super::{
    super::connection::ClientConnection,
    report::{report, report_unless_lost},
};
use crate::{
    error::Result,
    execute::{Launch, Launcher, ProcessEnd},
    provision::BoxFuture,
    secret,
};

/// Starts processes by the runner of one case.
pub(super) struct ByRunner<'a> {
    /// The runner, which starts one process.
    pub(super) runner: Mutex<&'a mut ClientConnection>,
    /// The failures that are expected, for a runner that has to decide without the broker.
    pub(super) expect_fail: &'a [ExpectedFailure],
    /// Called when the process has started.
    pub(super) on_start: &'a (dyn Fn() + Send + Sync),
}

impl Launcher for ByRunner<'_> {
    fn launch(&self, launch: Launch) -> BoxFuture<'_, Result<ProcessEnd>> {
        Box::pin(async move {
            let run = Run {
                command: words(&launch.command),
                env: variables(&launch.command),
                lease: launch.lease.as_ref().map(|(id, _)| id.clone()),
                timeout: launch.limit.map(|limit| limit.as_millis() as u64),
                expect_fail: self.expect_fail.to_vec(),
                output: launch.output,
                secrets: match launch.lease {
                    Some(_) => secret::registered(),
                    None => Vec::new(),
                },
            };
            let mut runner = self.runner.lock().await;
            let told = Reply::Run(Box::new(run));
            if runner.replies.send(&told).await.is_err() {
                return Ok(ProcessEnd::default());
            }
            Ok(match launch.lease {
                Some((_, lost)) => report_unless_lost(&mut runner, lost, self.on_start).await,
                None => report(&mut runner.requests, self.on_start).await,
            })
        })
    }
}

fn words(command: &Command) -> Vec<String> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

fn variables(command: &Command) -> BTreeMap<String, String> {
    let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
    let set = command.get_envs();
    set.filter_map(|(name, value)| Some((text(name), text(value?))))
        .collect()
}
