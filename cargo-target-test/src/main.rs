//! The `cargo target-test` binary.

use std::process::ExitCode;

use cargo_target_test::Tool;

fn main() -> ExitCode {
    Tool::default().main()
}
