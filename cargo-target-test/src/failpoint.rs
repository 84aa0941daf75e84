//! Named steps at which a test can have this process die as by `kill -9`.
//!
//! Owns the list. A point stands between two durable steps; `tests/faults.rs` walks all of them.
//! Release builds do not look.

use std::sync::atomic::{AtomicUsize, Ordering};

use target_fixtures::env;

/// All points, in the order a run meets them.
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

/// How often the wanted point was met.
static MET: AtomicUsize = AtomicUsize::new(0);

/// Dies here where the environment says so: `record-ready` the first time, `record-ready#3` the third.
pub(crate) fn point(name: &str) {
    debug_assert!(POINTS.contains(&name), "`{name}` is not in POINTS");
    if cfg!(debug_assertions) && std::env::var(env::FAULT).is_ok_and(|wanted| is_due(name, &wanted))
    {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

fn is_due(name: &str, wanted: &str) -> bool {
    let (point, time) = wanted.split_once('#').unwrap_or((wanted, "1"));
    point == name && MET.fetch_add(1, Ordering::Relaxed) + 1 == time.parse().unwrap_or(1)
}
