//! End-to-end tests of the pair `cargo-target-test` and `target-fixtures`: one binary, a module per subject.

/// The command line, and nextest's options held against the real `--help`.
mod cli;
/// Metadata read from real test binaries.
mod inventory;
/// Platforms: their schemas, and what becomes of scripts when somebody dies.
mod platform;
/// Playbooks: every error at its place, against golden files.
mod playbook;
