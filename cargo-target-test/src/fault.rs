//! Named steps at which a test can have this process die as by `kill -9`.
//!
//! Owns the list. A point stands between two durable steps; `tests/faults.rs` walks all of them.
//! Release builds do not look.

use target_fixtures::env;

/// All points, in the order a run meets them.
pub const POINTS: &[&str] = &[
    "pool-opened",
    "pool-written-not-renamed",
    "pool-renamed",
    "record-planned",
    "record-creating",
    "platform-deployed",
    "record-ready",
    "lease-locked",
    "lease-held",
    "lease-cleared",
    "record-dirty",
    "record-deleting",
    "platform-deleted",
    "record-gone",
];

/// Dies here where the environment says so.
pub(crate) fn point(name: &str) {
    debug_assert!(POINTS.contains(&name), "`{name}` is not in POINTS");
    if cfg!(debug_assertions) && std::env::var(env::FAULT).is_ok_and(|wanted| wanted == name) {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
