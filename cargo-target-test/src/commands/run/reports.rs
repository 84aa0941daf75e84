//! The reports of a run.
//!
//! Must not know the content of reports.

use crate::{
    aggregate::{
        Aggregator, NewAggregator,
        feed::Feed,
        history::HistoryWriter,
        html::{self, Html, PastRuns},
        junit::Junit,
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
    let html = Html::new(html::in_folder(folder.path()), folder.path());
    let html = html.with_earlier(PastRuns::new(&choice.history));
    let mut all: Vec<(_, Box<dyn Aggregator>)> = vec![
        ("the summary", Box::new(Summary::new(level))),
        ("the history", Box::new(HistoryWriter::new(&choice.history))),
        ("the feed", Box::new(Feed::create(&folder.feed())?)),
        ("the HTML report", Box::new(html)),
    ];
    if let Some(count) = choice.run.durations {
        let least = choice.run.durations_min.unwrap_or_default();
        all.push(("the slowest cases", Box::new(Slowest::new(count, least))));
    }
    if let Some(file) = &choice.run.junit {
        let junit = Junit::new(file, &nextest.reports());
        all.push(("the JUnit report", Box::new(junit)));
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
    if level != SummaryLevel::Table && report.exists() && choice.keeps(folder) {
        let report = playbook::shown_path(&report);
        ui::status("Report", Style::Good, report.display());
    }
}
