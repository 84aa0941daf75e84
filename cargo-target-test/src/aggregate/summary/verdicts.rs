//! The table of targets and verdicts.

use std::time::Duration;

use crate::{
    case::verdict::CaseCounts,
    run_event::TargetTime,
    ui::{
        Style, WORD_WIDTH,
        table::{self, Cell},
    },
};

/// The row of cases that run on no target.
const NO_TARGET: &str = "no target";

/// A column of counts: its title, the count, and the style of counts above zero.
struct Column {
    title: &'static str,
    count: fn(&CaseCounts) -> usize,
    style: Style,
}

/// The columns of counts, in the order of the sum below the table. Columns without any count are left out.
const COLUMNS: [Column; 6] = [
    Column {
        title: "PASSED",
        count: |counts| counts.passed,
        style: Style::Good,
    },
    Column {
        title: "SKIPPED",
        count: |counts| counts.skipped,
        style: Style::Remarkable,
    },
    Column {
        title: "EXPECTED",
        count: |counts| counts.expected,
        style: Style::Remarkable,
    },
    Column {
        title: "FAILED",
        count: |counts| counts.failed,
        style: Style::Bad,
    },
    Column {
        title: "INFRA",
        count: |counts| counts.infra,
        style: Style::Infra,
    },
    Column {
        title: "NOT RUN",
        count: |counts| counts.not_run,
        style: Style::Remarkable,
    },
];

/// Returns the lines of the table. `all` counts the cases of the run, also those on no target. The use of the targets is
/// left out if it does not fit into `room`.
pub(super) fn lines(used: &[TargetTime], all: &CaseCounts, room: Option<usize>) -> Vec<String> {
    let whole = rows(used, all, true);
    match room {
        Some(room) if table::width(&whole) > room => {
            table::lines(&rows(used, all, false), Some(room))
        }
        room => table::lines(&whole, room),
    }
}

fn rows(used: &[TargetTime], all: &CaseCounts, with_use: bool) -> Vec<Vec<Cell>> {
    let columns = || COLUMNS.iter().filter(|column| (column.count)(all) > 0);
    let counts = |counts: &CaseCounts| -> Vec<_> {
        let cell = |column: &Column| match (column.count)(counts) {
            0 => Cell::right("-"),
            count => Cell::right(count).styled(column.style),
        };
        columns().map(cell).collect()
    };
    let use_columns = if with_use {
        UseColumn::of(used)
    } else {
        Vec::new()
    };
    let titles = columns().map(|column| column.title);
    let titles = titles.chain(use_columns.iter().map(|column| column.title()));
    let mut rows = vec![named("TARGET", titles.map(Cell::right).collect())];
    for target in used {
        let times = use_columns
            .iter()
            .map(|column| Cell::right(column.value(target)));
        let cells = counts(&target.cases).into_iter().chain(times).collect();
        rows.push(named(&target.target, cells));
    }
    let on_targets: CaseCounts = used.iter().map(|target| &target.cases).sum();
    let rest = all.clone().without(&on_targets);
    if !rest.is_empty() {
        rows.push(named(NO_TARGET, counts(&rest)));
    }
    rows
}

/// Returns a row whose name ends where the words of nextest's lines end.
fn named(name: &str, mut cells: Vec<Cell>) -> Vec<Cell> {
    cells.insert(
        0,
        Cell::right(format!("{name:>WORD_WIDTH$}")).styled(Style::Bold),
    );
    cells
}

/// A column of the use of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UseColumn {
    Instances,
    Seconds,
    Cost,
}

impl UseColumn {
    /// Returns the columns that say something about these targets.
    fn of(used: &[TargetTime]) -> Vec<Self> {
        let times = used.iter().any(|target| target.time > Duration::ZERO);
        let costs = used.iter().any(|target| target.cost != used[0].cost);
        let all = [
            (Self::Instances, times),
            (Self::Seconds, times),
            (Self::Cost, costs),
        ];
        let shown = all.into_iter().filter(|(_, is_shown)| *is_shown);
        shown.map(|(column, _)| column).collect()
    }

    fn title(self) -> &'static str {
        match self {
            Self::Instances => "INSTANCES",
            Self::Seconds => "SECONDS",
            Self::Cost => "COST",
        }
    }

    fn value(self, target: &TargetTime) -> String {
        match self {
            Self::Instances => target.instances.to_string(),
            Self::Seconds => format!("{:.1}", target.time.as_secs_f64()),
            Self::Cost => target.cost.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str, cost: f64, cases: CaseCounts) -> TargetTime {
        TargetTime {
            target: name.to_owned(),
            instances: 2,
            time: Duration::from_millis(12_340),
            cost,
            cases,
        }
    }

    fn counts(passed: usize, failed: usize, infra: usize) -> CaseCounts {
        let mut counts = CaseCounts::default();
        (counts.passed, counts.failed, counts.infra) = (passed, failed, infra);
        counts
    }

    fn plain(lines: &[String]) -> Vec<String> {
        let codes = regex::Regex::new("\x1b\\[[0-9;]*m").expect("a pattern");
        let plain = |line: &String| codes.replace_all(line, "").into_owned();
        lines.iter().map(plain).collect()
    }

    #[test]
    fn targets_meet_verdicts() {
        let used = [
            target("east", 1.0, counts(120, 1, 0)),
            target("nightly/ubuntu-24.04", 1.0, counts(0, 0, 4)),
        ];
        let all = counts(121, 1, 4);
        assert_eq!(
            plain(&lines(&used, &all, None)),
            [
                "              TARGET  PASSED  FAILED  INFRA  INSTANCES  SECONDS",
                "                east     120       1      -          2     12.3",
                "nightly/ubuntu-24.04       -       -      4          2     12.3",
                "           no target       1       -      -",
            ]
        );
        let narrow = lines(&used, &all, Some(45));
        assert_eq!(
            plain(&narrow)[0],
            "              TARGET  PASSED  FAILED  INFRA"
        );
        assert!(narrow[1].contains(&Style::Bad.paint(1)), "{narrow:?}");
    }

    #[test]
    fn columns_without_content_are_left_out() {
        let used = [
            target("a", 1.0, counts(1, 0, 0)),
            target("b", 2.5, counts(1, 0, 0)),
        ];
        let shown = plain(&lines(&used, &counts(2, 0, 0), None));
        assert_eq!(
            shown,
            [
                "      TARGET  PASSED  INSTANCES  SECONDS  COST",
                "           a       1          2     12.3     1",
                "           b       1          2     12.3   2.5",
            ]
        );
    }
}
