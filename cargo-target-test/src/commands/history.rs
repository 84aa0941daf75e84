//! `history`: prints the results of cases in earlier runs, and imports feeds.
//!
//! Also owns how the other verbs about earlier runs find the history and print. Must not know how runs are stored.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::Serialize;
use target_fixtures::wire::VerdictKind;

use crate::{
    aggregate::history::{self, History, Imported, PastResult},
    cli::{Global, HistoryArgs, HistoryVerb},
    error::{Error, Result, one_line},
    execute::run_folder::{self, FEED},
    provision::platform::Platforms,
    run::{
        checkout,
        workspace::{self, Workspace},
    },
    ui::{
        self, Style,
        table::{self, Cell},
    },
};

/// The number of digits of a commit that are printed.
const COMMIT: usize = 10;

/// The history of the current workspace.
pub(super) struct Recorded {
    pub(super) workspace: Workspace,
    pub(super) path: PathBuf,
    pub(super) repository: String,
}

impl Recorded {
    /// Finds the workspace and its history.
    pub(super) fn find(platforms: &Platforms, global: &Global) -> Result<Self> {
        let workspace = Workspace::find_for_history(platforms, global)?;
        let pool = workspace::pool_directory(global)?;
        Ok(Self {
            path: history::path(&pool, workspace.playbook.history.path.as_deref()),
            repository: checkout::repository(&workspace.root),
            workspace,
        })
    }

    /// Opens the history, after runs that were killed are completed in it.
    ///
    /// # Errors
    /// If no run is recorded yet, or the file cannot be read.
    pub(super) fn open(&self) -> Result<History> {
        let history = History::open(&self.path)?.ok_or_else(|| {
            let path = self.path.display();
            let message = format!("no run is recorded yet: `{path}` not found");
            Error::usage(message).with_hint("`cargo target-test history import FEED` adds runs")
        })?;
        for run in history.without_end(&self.repository)? {
            let folder = &self.workspace.target_directory;
            if let Some(feed) = run_folder::ended_feed(folder, &run) {
                // The history is as good without it: `history import` shows the error.
                let _ = history::complete(&self.path, &feed);
            }
        }
        Ok(history)
    }
}

/// Runs the verb.
///
/// # Errors
/// If the history cannot be read, or a feed cannot be imported.
pub fn verb(platforms: &Platforms, global: &Global, args: &HistoryArgs) -> Result<u8> {
    let recorded = Recorded::find(platforms, global)?;
    if let Some(HistoryVerb::Import { feeds }) = &args.verb {
        return import(&recorded.path, feeds);
    }
    let name = args.test.as_deref().unwrap_or_default();
    let results = recorded
        .open()?
        .results(&recorded.repository, name, args.limit)?;
    if args.json {
        return print_json(&results);
    }
    let header = [
        "ended", "run", "case", "verdict", "took", "on", "commit", "reason",
    ];
    print_table(&header, results.iter().map(cells).collect());
    Ok(0)
}

/// Imports all feeds that can be read.
///
/// # Errors
/// The error of the last feed that cannot be imported, after warnings about the others.
fn import(path: &Path, feeds: &[PathBuf]) -> Result<u8> {
    let (mut added, mut known, mut failed) = (0, 0, None);
    for feed in feeds {
        let file = match feed.is_dir() {
            true => feed.join(FEED),
            false => feed.clone(),
        };
        match history::import(path, &file) {
            Ok(Imported::Added) => added += 1,
            Ok(Imported::Known) => known += 1,
            Err(error) => {
                let earlier: Option<Error> = failed.replace(error);
                earlier.iter().for_each(|error| ui::warn(error.chain()));
            }
        }
    }
    ui::result(format!("imported: {added} new, {known} known"));
    failed.map_or(Ok(0), Err)
}

fn cells(result: &PastResult) -> Vec<Cell> {
    let commit = result.revision.as_deref().unwrap_or_default();
    let reason = result.reason.as_deref().map(one_line);
    let took = (result.attempts > 0).then(|| seconds(result.took));
    vec![
        time(result.ended),
        Cell::left(&result.run),
        Cell::left(&result.name),
        verdict(result.verdict, result.attempts),
        took.unwrap_or_default(),
        Cell::left(result.instances.join(" ")),
        Cell::left(short(commit)),
        Cell::left(reason.unwrap_or_default()),
    ]
}

/// The beginning of a commit, which may be any text if a feed was imported.
fn short(commit: &str) -> &str {
    let end = commit.char_indices().nth(COMMIT);
    end.map_or(commit, |(end, _)| &commit[..end])
}

pub(super) fn time(time: SystemTime) -> Cell {
    Cell::left(humantime::format_rfc3339_seconds(time))
}

pub(super) fn seconds(time: Duration) -> Cell {
    Cell::right(format!("{:.3} s", time.as_secs_f64()))
}

/// A verdict, with the number of attempts if there were several; `None` for a case that has not run.
pub(super) fn verdict(verdict: Option<VerdictKind>, attempts: u32) -> Cell {
    let style = match verdict {
        Some(VerdictKind::Pass) => Style::Good,
        Some(VerdictKind::Fail | VerdictKind::Crash) => Style::Bad,
        Some(VerdictKind::Skip) | None => Style::Remarkable,
        Some(VerdictKind::Infra) => Style::Infra,
    };
    let name = verdict.map_or("not run", VerdictKind::name);
    let text = match attempts {
        0 | 1 => name.to_owned(),
        several => format!("{name} (attempt {several})"),
    };
    Cell::left(text).styled(style)
}

/// Prints a table to standard output; a remark if it is empty.
pub(super) fn print_table(header: &[&str], rows: Vec<Vec<Cell>>) {
    if rows.is_empty() {
        ui::note("nothing found in the history");
        return;
    }
    let header = header
        .iter()
        .map(|word| Cell::left(word).styled(Style::Bold));
    let all: Vec<_> = std::iter::once(header.collect()).chain(rows).collect();
    ui::try_lines_out(&table::lines(&all, ui::columns()));
}

/// Prints JSON to standard output.
pub(super) fn print_json(value: &impl Serialize) -> Result<u8> {
    let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from)?;
    ui::out(text);
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_of_any_text_is_shortened() {
        assert_eq!(short("0123456789abcdef"), "0123456789");
        assert_eq!(short("012345678é and more"), "012345678é");
        assert_eq!(short("é"), "é");
    }
}
