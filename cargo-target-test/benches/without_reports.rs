//! `cargo target-test` without any report, for `benches/run reports`.

fn main() -> std::process::ExitCode {
    cargo_target_test::Tool::default().without_reports().main()
}
