//! `flaky`: prints the cases, and the sub-results of cases, that pass and fail with the same code.

use super::history::{Recorded, print_json, print_table};
use crate::{
    aggregate::history::{PastFailure, UnstableCase},
    cli::{FlakyArgs, Global},
    error::Result,
    provision::platform::Platforms,
    ui::table::Cell,
};

/// Runs the verb.
///
/// # Errors
/// If the history cannot be read.
pub fn verb(platforms: &Platforms, global: &Global, args: &FlakyArgs) -> Result<u8> {
    let recorded = Recorded::find(platforms, global)?;
    let cases = recorded.open()?.unstable(&recorded.repository, args.runs)?;
    if args.json {
        return print_json(&cases);
    }
    let header = ["rate", "failed", "case", "target", "last failures"];
    print_table(&header, cases.iter().map(cells).collect());
    Ok(0)
}

fn cells(case: &UnstableCase) -> Vec<Cell> {
    let failures = case.last_failures.iter().map(failure);
    vec![
        Cell::right(format!("{:.1} %", case.rate * 100.0)),
        Cell::right(format!("{}/{}", case.failed, case.failed + case.passed)),
        Cell::left(&case.name),
        Cell::left(case.target.as_deref().unwrap_or("the host")),
        Cell::left(failures.collect::<Vec<_>>().join("; ")),
    ]
}

fn failure(failure: &PastFailure) -> String {
    let time = humantime::format_rfc3339_seconds(failure.ended);
    let mut text = format!("{time} run {}", failure.run);
    if !failure.instances.is_empty() {
        text += &format!(" on {}", failure.instances.join(" "));
    }
    if let Some(line) = failure.reason.as_ref().and_then(|all| all.lines().next()) {
        text += &format!(": {line}");
    }
    text
}
