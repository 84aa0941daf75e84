//! Named points at which a test can make this process kill itself with `SIGKILL`.
//!
//! Each point is between two durable steps. `tests/faults.rs` covers all of them; release builds ignore them.

use std::sync::atomic::{AtomicUsize, Ordering};

use target_fixtures::env;

/// The failpoints that every run reaches, in this order.
pub const POINTS: &[&str] = &[
    "pool-opened",
    "pool-written-not-renamed",
    "pool-renamed",
    "record-noted",
    "record-planned",
    "record-creating",
    "platform-deployed",
    "prepare-started",
    "prepare-step",
    "prepare-done",
    "record-ready",
    "lease-locked",
    "lease-held",
    "lease-cleared",
    "record-dirty",
    "record-deleting",
    "platform-deleted",
    "record-gone",
];

/// Failpoints between the steps in which an environment with networks is created and deleted.
pub const ENVIRONMENT_POINTS: &[&str] = &[
    "switch-started",
    "network-up",
    "environment-machine-deployed",
    "environment-machine-deleted",
    "network-down",
];

/// Number of times the requested failpoint was reached.
static REACHED: AtomicUsize = AtomicUsize::new(0);

/// Kills this process if the environment requests it: `record-ready` on the first call, `record-ready#3` on the third.
pub(crate) fn point(name: &str) {
    debug_assert!(
        POINTS.contains(&name) || ENVIRONMENT_POINTS.contains(&name),
        "`{name}` is not in POINTS"
    );
    if cfg!(debug_assertions) && std::env::var(env::FAULT).is_ok_and(|wanted| is_due(name, &wanted))
    {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

fn is_due(name: &str, wanted: &str) -> bool {
    let (point, time) = wanted.split_once('#').unwrap_or((wanted, "1"));
    point == name && REACHED.fetch_add(1, Ordering::Relaxed) + 1 == time.parse().unwrap_or(1)
}
