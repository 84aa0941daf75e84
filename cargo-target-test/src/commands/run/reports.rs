//! The reports of a run.
//!
//! Must not know the content of reports.

use std::path::Path;

use crate::{
    aggregate::{
        Aggregator, NewAggregator,
        feed::Feed,
        github::Github,
        history::HistoryWriter,
        html::{self, Html, PastRuns},
        junit::Junit,
        notify::Notify,
        slowest::Slowest,
        summary::{Summary, SummaryLevel},
    },
    error::Result,
    execute::run_folder::RunFolder,
    orchestrate::Nextest,
    playbook,
    run::selection::Selection,
    ui::{self, Style},
};

/// Returns the aggregators of a run, with names for warnings: ours and those that the tool adds.
pub(super) fn aggregators(
    added: &[NewAggregator],
    choice: &Selection,
    folder: &RunFolder,
    nextest: &Nextest,
) -> Result<Vec<(&'static str, Box<dyn Aggregator>)>> {
    let level = choice.run.summary.unwrap_or_default();
    let feed = Feed::create(&folder.feed())?;
    let feed = match &choice.run.feed {
        Some(to) => feed.and_to(to)?,
        None => feed,
    };
    let html = Html::new(html::in_folder(folder.path()), folder.path());
    let html = html.with_earlier(PastRuns::new(&choice.history));
    let keep = choice.workspace.playbook.history.keep_for;
    let history = HistoryWriter::new(&choice.history).pruning(keep.0);
    let mut all: Vec<(_, Box<dyn Aggregator>)> = vec![
        ("the summary", Box::new(Summary::new(level))),
        ("the history", Box::new(history)),
        ("the feed", Box::new(feed)),
        ("the HTML report", Box::new(html)),
    ];
    if let Some(count) = choice.run.durations {
        let least = choice.run.durations_min.unwrap_or_default();
        all.push(("the slowest cases", Box::new(Slowest::new(count, least))));
    }
    let junit = |file: &Path| Box::new(Junit::new(file, &nextest.reports()));
    all.push(("the JUnit report", junit(&folder.junit())));
    if let Some(file) = &choice.run.junit {
        all.push(("the JUnit report of `--junit`", junit(file)));
    }
    let playbook = &choice.workspace.playbook;
    let notify = Notify::new(&playbook.notify, &playbook.directory, folder.path())?;
    if let Some(notify) = notify {
        all.push(("the list of notices", Box::new(notify)));
    }
    if let Some(github) = Github::here(folder.path()) {
        all.push(("the summary for GitHub", Box::new(github)));
    }
    for NewAggregator { name, new } in added {
        all.push((name, new(folder.path())?));
    }
    Ok(all)
}

/// Prints the path of the report that people read, if there is one.
pub(super) fn say_report(choice: &Selection, folder: &RunFolder) {
    let level = choice.run.summary.unwrap_or_default();
    let report = html::in_folder(folder.path());
    if level == SummaryLevel::Full && report.exists() && choice.keeps(folder) {
        let report = playbook::shown_path(&report);
        ui::status("Report", Style::Good, report.display());
    }
}
