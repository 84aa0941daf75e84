//! Facts of an instance, probed once. Unknown facts are left out.

use super::run::{SHORT, Shell};
use crate::{connect::shell, error::Result, provision::pool::InstanceFacts};

/// Probes all facts with one command.
pub(super) async fn probe(shell: &Shell) -> Result<InstanceFacts> {
    let text = shell.run(shell::FACTS, SHORT).await?.tail;
    Ok(shell::facts(&text).into_iter().map(in_mib).collect())
}

/// Converts memory and disk into MiB.
fn in_mib((key, value): (String, String)) -> (String, String) {
    match (key.as_str(), value.parse::<u64>()) {
        ("memory" | "disk", Ok(bytes)) => (key, format!("{} MiB", bytes >> 20)),
        _ => (key, value),
    }
}
