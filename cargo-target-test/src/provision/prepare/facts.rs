//! Facts of an instance, probed once. Unknown facts are left out.

use super::run::{SHORT, Shell};
use crate::{connect::shell, error::Result, provision::pool::InstanceFacts};

/// Probes all facts with one command.
pub(super) async fn probe(shell: &Shell) -> Result<InstanceFacts> {
    let text = shell.run(shell::FACTS, SHORT).await?.tail;
    Ok(read(&text))
}

/// Parses `key=value` lines, of which the last one with a key counts; memory and disk are in KiB.
fn read(text: &str) -> InstanceFacts {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.trim().trim_matches('"').to_owned()))
        .filter(|(key, value)| KEYS.contains(&key.as_str()) && !value.is_empty())
        .map(|(key, value)| match (key.as_str(), value.parse::<u64>()) {
            ("memory" | "disk", Ok(kib)) => (key, format!("{} MiB", kib >> 10)),
            _ => (key, value),
        })
        .collect()
}

/// The facts that are kept.
const KEYS: [&str; 8] = [
    "arch", "boot-id", "cores", "disk", "kernel", "memory", "nics", "os",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_left_out() {
        let facts = read(
            "cores=2\nmemory=507684\ndisk=1K-blocks\ndisk=2048\nos=\"debian 12\"\nkernel=\nnoise\nx=y\n",
        );
        let facts: Vec<_> = facts
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(
            facts,
            ["cores=2", "disk=2 MiB", "memory=495 MiB", "os=debian 12"]
        );
    }
}
