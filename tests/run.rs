//! `cargo target-test` as a whole: one nextest run over cases, on instances that it deploys, leases and deletes.

/// The surroundings of a case.
pub(crate) mod around;
/// Files and output that are collected from the instances.
mod artifacts;
/// Checks of the instances around a case.
mod checks;
/// Runs that are ended from outside.
mod ending;
/// Deploy entries, threads, stress, what cannot be done.
mod entries;
/// The history, and the verbs about it.
mod history;
/// Names of the real world.
mod names;
/// Notices to servers.
mod notices;
/// JUnit, the feed, output files.
mod reports;
/// Differences since a run.
mod repro;
/// Filters and partitions.
mod selection;
/// Verdicts and exit codes.
pub(crate) mod verdicts;
/// All that a run prints.
mod whole;
/// The crate that they run.
pub(crate) mod world;
