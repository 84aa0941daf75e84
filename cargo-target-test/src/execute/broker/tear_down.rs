//! The tear-down of a fixture, in a process of the test binary that set the fixture up.
//!
//! Must not know the tests that share a fixture.

use std::{collections::BTreeMap, process::Command, sync::Arc, time::Duration};

use serde_json::{Value, json};
use target_fixtures::{env, wire::TORN_DOWN};

use super::active_lease::ActiveLease;
use crate::{execute::on_target::PlacedBinary, process};

/// The time limit of a tear-down.
const LIMIT: Duration = Duration::from_secs(120);
/// The length of a failed tear-down's output that a message repeats, in bytes.
const TAIL: usize = 2000;

/// The test that set a fixture up. Its binary can tear the fixture down. The default stands for the broker.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Maker {
    /// The test binary's path.
    pub(super) binary: String,
    /// The program and arguments before the test binary.
    pub(super) prefix: Vec<String>,
    /// The binary on the machine of the test; `None` if the test runs on this host.
    pub(super) placed: Option<Arc<PlacedBinary>>,
    /// The test's own name: `smoke`.
    pub(super) test: String,
    /// The test's path with its crate: `hello::smoke`.
    pub(super) full_name: String,
    /// True if this is a retry: failed fixtures are then set up again.
    pub(super) again: bool,
}

/// A fixture that is set up, and the test that can tear it down.
#[derive(Clone, Debug)]
pub(super) struct Up {
    pub(super) name: String,
    pub(super) state: Value,
    pub(super) instance: Option<String>,
    pub(super) maker: Maker,
}

impl Up {
    /// Tears the fixture down in a process of its maker's binary with these environment variables, on the machine of its
    /// maker. Fails with the cause, which may have several lines.
    pub(super) async fn tear_down(
        &self,
        variables: BTreeMap<String, String>,
        held: Option<&ActiveLease>,
    ) -> Result<(), String> {
        let Maker { binary, prefix, .. } = &self.maker;
        if let (Some(placed), Some(held)) = (&self.maker.placed, held) {
            let there = async |mut command: Command| {
                command.arg(binary);
                self.run(command).await
            };
            let torn = placed.tear_down(held, variables, there).await;
            return torn.unwrap_or_else(|error| Err(error.chain()));
        }
        let mut words = prefix.iter().chain([binary]);
        let mut command = process::command(words.next().map_or("", String::as_str));
        command.args(words).envs(variables);
        self.run(command).await
    }

    /// Runs the process that tears the fixture down; the command ends with the test binary.
    async fn run(&self, mut command: Command) -> Result<(), String> {
        let test = &self.maker.test;
        command
            .args(["--exact", test, "--nocapture", "--include-ignored"])
            .env(env::TEAR_DOWN, "1");
        let order = json!({ "name": self.name, "instance": self.instance, "state": self.state });
        let input = order.to_string().into_bytes();
        let ended = tokio::task::spawn_blocking(move || {
            // The process must not outlive the broker, which it needs to reach instances.
            process::Spawn::new(command)
                .dies_with_parent()
                .run(&input, LIMIT, &|_| {})
        });
        match ended.await {
            Ok(Ok(ended)) if ended.status.code() == Some(TORN_DOWN) => Ok(()),
            Ok(Ok(ended)) if ended.status.success() => {
                Err("its process exited without a tear-down".to_owned())
            }
            Ok(Ok(ended)) => {
                let said = [ended.stdout.as_slice(), ended.stderr.as_slice()].concat();
                let said = String::from_utf8_lossy(&said).into_owned();
                let from = said.len().saturating_sub(TAIL);
                let from = (from..).find(|at| said.is_char_boundary(*at)).unwrap_or(0);
                Err(format!(
                    "it {}\n{}",
                    process::ending(ended.status),
                    said[from..].trim()
                ))
            }
            Ok(Err(error)) => Err(error.chain()),
            Err(error) => Err(error.to_string()),
        }
    }
}
