//! End-to-end tests of the pair `cargo-target-test` and `target-fixtures`: one binary, a module per subject.

/// Platforms: their schemas, and what becomes of scripts when somebody dies.
mod platform;
/// Playbooks: every error at its place, against golden files.
mod playbook;
