//! `list`: prints a plan, as text or JSON: the cases, the excluded tests with reasons, and the tests on the host.
//!
//! Must not change the plan.
//!
//! The JSON is one object. Absent values and empty lists are omitted; later versions only add keys:
//!
//! - `cases`: objects with `case` (`smoke[alpha]`), `binary` (nextest's id), `test`, `target`, `platform`,
//!   `count`, and if applicable `ignored` (true) and `expect-fail` (the reason); from the test's metadata
//!   `doc`, `area`, `category`, `priority`, `tags`, `owner`, `features`, `programs`, `requirements` (by
//!   capability), `reuse`, `fresh`, `retry-on`, `runs-on`, `any`, `timeout`, `retries`
//! - `excluded`: objects with `binary`, `test`, `reason`, and `target` unless all targets are excluded
//! - `plain`: objects with `binary`, `test`, `ignored`: tests that run once, on the host
//! - `notes`: sentences

mod listing;
mod stats;

use std::{collections::HashSet, fmt::Write};

use super::history::print_json;
use crate::{
    cli::{Global, ListArgs, RunArgs},
    error::Result,
    provision::platform::Platforms,
    run::{options::RunOptions, selection::Selection},
    ui::{self, Style},
};
use listing::{CaseLine, Listing};
use stats::Stats;

/// Cases and plain tests that nextest selected, as (binary id, name).
pub type Chosen<'a> = HashSet<(&'a str, &'a str)>;

/// Runs the verb: builds, plans, lets nextest choose, prints.
///
/// # Errors
/// The errors of a run before the first deploy.
pub fn verb(platforms: &Platforms, global: &Global, args: &ListArgs) -> Result<u8> {
    let typed = RunArgs {
        tests: args.tests.clone(),
        ..RunArgs::default()
    };
    let Some(options) = RunOptions::resolve(platforms, global, typed)? else {
        return Ok(0);
    };
    let choice = Selection::make(options)?;
    let targets = &choice.workspace.playbook.targets;
    let chosen = choice.is_filtered().then(|| choice.chosen());
    if let Some(key) = &args.stats {
        let is_chosen = |test: usize, name: &str| {
            let binary = &choice.inventory.binaries[choice.inventory.tests[test].binary];
            let key = (binary.id.as_str(), name);
            chosen.as_ref().is_none_or(|chosen| chosen.contains(&key))
        };
        let stats = Stats::new(&choice.inventory, &choice.plan, targets, is_chosen, key)?;
        ui::out(match args.json {
            true => stats.json().to_string(),
            false => stats.table(),
        });
        choice.say_warnings();
        return Ok(0);
    }
    let listing = Listing::new(&choice.inventory, &choice.plan, targets, chosen.as_ref());
    if args.json {
        print_json(&listing)?;
    } else {
        ui::out(listing.table());
        // As in a run: notes on tests that a filter excludes are not printed.
        if chosen.is_none() || listing.cases.is_empty() {
            listing.notes.iter().for_each(ui::note);
        }
    }
    choice.say_unmatched();
    choice.say_warnings();
    Ok(0)
}

impl Listing<'_> {
    /// Formats the list as text. The last line has no newline.
    fn table(&self) -> String {
        let mut text = String::new();
        self.case_lines(&mut text);
        let excluded = self.excluded.iter().map(|line| {
            let target = line
                .target
                .map(|target| format!("[{target}]"))
                .unwrap_or_default();
            (
                line.binary,
                format!("{}{target}: {}", line.test, line.reason),
            )
        });
        section(&mut text, "left out:", excluded);
        let plain = self.plain.iter().map(|line| {
            let ignored = if line.ignored { " (ignored)" } else { "" };
            (line.binary, format!("{}{ignored}", line.test))
        });
        section(&mut text, "once, on the host:", plain);
        let counts = [
            (self.cases.len(), "case"),
            (self.excluded.len(), "left out"),
            (self.plain.len(), "once, on the host"),
        ];
        let counts = counts
            .into_iter()
            .enumerate()
            .filter(|(at, (count, _))| *at == 0 || *count > 0);
        let counts: Vec<_> = counts
            .map(|(_, (count, what))| counted(count, what))
            .collect();
        let _ = write!(text, "{}", counts.join(", "));
        text
    }

    /// Writes each binary with its cases. A test's doc comment is shown at its first case.
    fn case_lines(&self, text: &mut String) {
        for cases in self.cases.chunk_by(|a, b| a.binary == b.binary) {
            let _ = writeln!(text, "{}", cases[0].binary);
            let width = cases
                .iter()
                .map(|line| line.case.chars().count())
                .max()
                .unwrap_or(0)
                .min(48);
            let mut last = None;
            for line in cases {
                let remark = line.remark(last.replace(line.test) != Some(line.test));
                if remark.is_empty() {
                    let _ = writeln!(text, "    {}", line.case);
                } else {
                    let remark = Style::Dim.paint(remark);
                    let _ = writeln!(text, "    {:width$}  {remark}", line.case);
                }
            }
        }
    }
}

impl CaseLine<'_> {
    /// Returns the first line of the doc comment if this is the test's first case, and other remarks.
    fn remark(&self, first: bool) -> String {
        let doc = self.declared.get("doc").and_then(serde_json::Value::as_str);
        let doc = doc.filter(|_| first);
        let doc = doc.and_then(|doc| doc.lines().find(|line| !line.trim().is_empty()));
        let ignored = self.ignored.then(|| "(ignored)".to_owned());
        let fails = self
            .expect_fail
            .map(|reason| format!("(expected to fail: {reason})"));
        let parts = [doc.map(|doc| doc.trim().to_owned()), ignored, fails];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

fn counted(count: usize, what: &str) -> String {
    match (count, what) {
        (1, "case") => "1 case".to_owned(),
        (_, "case") => format!("{count} cases"),
        _ => format!("{count} {what}"),
    }
}

/// Writes a heading and its lines, grouped by binary. Writes nothing without lines.
fn section<'a>(text: &mut String, title: &str, lines: impl Iterator<Item = (&'a str, String)>) {
    let mut binary = None;
    for (of, line) in lines {
        if binary.is_none() {
            let _ = writeln!(text, "{title}");
        }
        if binary.replace(of) != Some(of) {
            let _ = writeln!(text, "  {of}");
        }
        let _ = writeln!(text, "    {line}");
    }
}

#[cfg(test)]
mod tests;
