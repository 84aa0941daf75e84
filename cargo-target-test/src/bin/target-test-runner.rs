//! nextest's target runner as a separate small program, since it starts once per case: without SSH and the command
//! line, it loads faster. If it is missing, `cargo-target-test` is the runner.

use std::process::ExitCode;

use cargo_target_test::execute::runner;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let verb = words.next().unwrap_or_default();
    ExitCode::from(runner::main(&verb, words.collect()))
}
