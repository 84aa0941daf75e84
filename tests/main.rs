//! End-to-end tests of the pair `cargo-target-test` and `target-fixtures`: one binary, a module per subject.

/// The command line, and nextest's options held against the real `--help`.
mod cli;
/// The examples, as a reader of README runs them.
mod examples;
/// Whatever dies, hangs, lies or is damaged.
mod faults;
/// Metadata read from real test binaries.
mod inventory;
/// Platforms: their schemas, and what becomes of scripts when somebody dies.
mod platform;
/// Playbooks: every error at its place, against golden files.
mod playbook;
/// The pool: leases, recycling and what dying processes leave, with many real processes.
mod pool;
/// Runs, from end to end.
mod run;
/// What the tests share: projects to run the tool in, sshd to run it against.
mod support;
/// The project's habits: layers, sizes, dependencies, documents.
mod tidy;
/// Transports against real SSH servers.
mod transport;
