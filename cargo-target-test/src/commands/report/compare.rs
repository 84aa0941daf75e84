//! `report --compare A B`: prints the cases that differ between two runs.

use super::super::history::{Recorded, print_json, print_table, verdict};
use crate::{
    aggregate::history::ChangedCase,
    cli::Global,
    error::Result,
    provision::platform::Platforms,
    ui::{self, table::Cell},
};

/// Compares two runs, `before` and `after`.
///
/// # Errors
/// If the history cannot be read, or does not have the runs.
pub(super) fn compare(
    platforms: &Platforms,
    global: &Global,
    [before, after]: [&str; 2],
    json: bool,
) -> Result<u8> {
    let recorded = Recorded::find(platforms, global)?;
    let history = recorded.open()?;
    let run = |id| history.run(&recorded.repository, id);
    let changes = history.compare(run(before)?, run(after)?)?;
    if json {
        return print_json(&changes);
    }
    let lists = [
        ("newly failing", &changes.newly_failing),
        ("fixed", &changes.fixed),
        ("slower", &changes.slower),
    ];
    let rows = lists.iter().flat_map(|(change, cases)| {
        let cells = move |case: &ChangedCase| {
            let before = case.verdict_before.map(|before| verdict(Some(before), 1));
            let seconds = |time: f64| format!("{time:.3} s");
            vec![
                Cell::left(change),
                Cell::left(&case.case.name),
                before.unwrap_or_default(),
                verdict(case.verdict, 1),
                Cell::right(case.took_before.map(seconds).unwrap_or_default()),
                Cell::right(seconds(case.took)),
            ]
        };
        cases.iter().map(cells)
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        ui::note("no case is newly failing, fixed or slower");
        return Ok(0);
    }
    let header = ["change", "case", "before", "after", "took", "takes"];
    print_table(&header, rows);
    Ok(0)
}
