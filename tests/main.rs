//! End-to-end tests of the pair `cargo-target-test` and `target-fixtures`: one binary, a module per subject.

/// A test author's view: what `#[target_test]` and `Target` offer, against the tool itself.
mod author;
/// README and the book: what they show is so.
mod book;
/// Which test runs where, how often, and when.
mod choosing;
/// The command line, and nextest's options held against the real `--help`.
mod cli;
/// The contract that every platform fulfils.
mod contract;
/// Environments of several machines.
mod environments;
/// The examples, as a reader of README runs them.
mod examples;
/// Whatever dies, hangs, lies or is damaged.
mod faults;
/// Fixtures, and what tests say of themselves.
mod fixtures;
/// The HTML report, in a real browser.
mod html;
/// Metadata read from real test binaries.
mod init;
mod inventory;
/// A platform and a tool of somebody else, beside ours.
mod lab;
/// Machines that are made, prepared, lost and found.
mod machines;
/// Messages for mistyped command lines.
mod messages;
/// Metrics, and their comparison with earlier runs.
mod metrics;
/// Tests that run on their target.
mod on_target;
/// Timed orchestrations.
mod orchestrations;
/// People who look at a target: shells, commands, copies, leases by hand.
mod people;
/// Platforms: their schemas, and what becomes of scripts when somebody dies.
mod platform;
/// Playbooks: every error at its place, against golden files.
mod playbook;
/// The pool: leases, recycling and what dying processes leave, with many real processes.
mod pool;
/// Programs of the workspace on targets.
mod programs;
/// Runs, from end to end.
mod run;
/// Secrets: used, and shown nowhere.
mod secrets;
/// Many processes, one pool: clones, shards, kept instances.
mod share;
/// Shared parts of the tests: projects to run the tool in, sshd to run it against.
mod support;
/// Verbs, flags, exit codes, error kinds, playbook keys, variables: none may vanish.
mod surface;
/// The project's habits: layers, words, dependencies, documents.
mod tidy;
/// Transports against real SSH servers.
mod transport;
