//! Checks the arguments of an orchestration's events in a process of the test binary, which knows their types.
//!
//! Must not know descriptions.

use std::{path::Path, time::Duration};

use serde_json::json;
use target_fixtures::{
    env,
    wire::{CHECKED, InvalidEvent, OrchestrationPlan},
};

use super::broker::TestStart;
use crate::{
    error::{Error, Result},
    process,
};

/// The time limit of a check.
const LIMIT: Duration = Duration::from_secs(60);

/// Returns the events and arguments of the plan that a test binary does not accept. `start` is the plan's test.
///
/// # Errors
/// If the binary cannot be started, or does not answer.
pub fn invalid_events(
    start: &TestStart,
    (binary, directory): (&Path, &Path),
    plan: &OrchestrationPlan,
) -> Result<Vec<InvalidEvent>> {
    let mut command = start.command(binary);
    process::remove_own_variables(&mut command);
    command
        .arg("--nocapture")
        .current_dir(directory)
        .env(env::CHECK_EVENTS, "1");
    let input = json!(plan).to_string().into_bytes();
    let ended = process::Spawn::new(command).run(&input, LIMIT, &|_| {})?;
    let stdout = String::from_utf8_lossy(&ended.stdout);
    let answer = stdout.lines().find_map(|line| line.strip_prefix(CHECKED));
    let answer = answer.and_then(|line| serde_json::from_str(line).ok());
    answer.ok_or_else(|| {
        let said = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
        let ending = process::ending(ended.status);
        Error::playbook(format!(
            "failed to check the events of orchestration `{}`: its test binary {ending}\n{said}",
            plan.name
        ))
    })
}
