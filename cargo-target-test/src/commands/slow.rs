//! `slow`: prints the slowest cases, by the median of their last passing runs.

use super::history::{Recorded, print_json, print_table, seconds};
use crate::{
    cli::{Global, SlowArgs},
    error::Result,
    provision::platform::Platforms,
    ui::table::Cell,
};

/// Runs the verb.
///
/// # Errors
/// If the history cannot be read.
pub fn verb(platforms: &Platforms, global: &Global, args: &SlowArgs) -> Result<u8> {
    let recorded = Recorded::find(platforms, global)?;
    let mut cases = recorded.open()?.slow(&recorded.repository, args.runs)?;
    cases.truncate(args.limit);
    if args.json {
        return print_json(&cases);
    }
    let rows = cases.iter().map(|case| {
        vec![
            seconds(case.median),
            seconds(case.newest),
            Cell::right(case.runs),
            Cell::left(&case.name),
        ]
    });
    print_table(&["median", "newest", "runs", "case"], rows.collect());
    Ok(0)
}
