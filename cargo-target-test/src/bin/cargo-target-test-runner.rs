//! nextest's target runner as a program of its own: it starts once for each case, and what it does not carry
//! (SSH, the command line) need not be loaded. `cargo-target-test` does the same where this one is missing.

use std::process::ExitCode;

use cargo_target_test::execute::runner;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let verb = words.next().unwrap_or_default();
    ExitCode::from(runner::main(&verb, words.collect()))
}
