//! End-to-end tests of the pair `cargo-target-test` and `target-fixtures`: one binary, a module per subject.

/// The examples, as a reader of README runs them.
mod examples;
/// What the tests share: projects to run the tool in, sshd to run it against.
mod support;
/// The project's habits: layers, sizes, dependencies, documents.
mod tidy;
