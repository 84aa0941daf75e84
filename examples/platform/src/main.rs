//! `cargo lab-test`: `cargo target-test` with one more platform and one more report.

use std::{fs::File, io::Write, process::ExitCode};

use cargo_lab_test::Lab;
use cargo_target_test::{
    Result, Tool,
    aggregate::Aggregator,
    run_event::{RunEvent, RunEventKind},
};

/// Writes the machines of every failed attempt to a file.
struct Suspects(File);

impl Aggregator for Suspects {
    fn ingest(&mut self, event: &RunEvent) -> Result<()> {
        if let RunEventKind::AttemptEnded { attempt, result } = &event.kind
            && result.verdict.is_failure()
        {
            writeln!(
                self.0,
                "{} on {}",
                attempt.case,
                result.instances.join(", ")
            )?;
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    Tool::default()
        .subcommand("lab-test")
        .platform(Lab)
        .aggregator("the list of suspects", |run| {
            Ok(Suspects(File::create(run.join("suspects.txt"))?))
        })
        .main()
}
