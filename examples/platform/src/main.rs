//! `cargo lab-test`: `cargo target-test` with one more platform.

use std::process::ExitCode;

use cargo_lab_test::Lab;
use cargo_target_test::Tool;

fn main() -> ExitCode {
    Tool::default().subcommand("lab-test").platform(Lab).main()
}
