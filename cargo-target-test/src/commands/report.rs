//! `report`: makes the reports of a run again, by replaying its feed through the aggregators of a run.
//!
//! Must not know what reports contain.

mod compare;

use std::path::PathBuf;

use super::history::Recorded;
use crate::{
    aggregate::{
        Aggregator, feed,
        html::{self, Html, PastRuns},
        junit::Junit,
    },
    cli::{Global, ReportArgs},
    error::Result,
    execute::run_folder::{self, FEED, JUNIT},
    provision::platform::Platforms,
    run::workspace,
    ui,
};

/// Runs the verb.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the run is not found or not unique; fails if its feed cannot be
/// read or a report cannot be written.
pub fn verb(platforms: &Platforms, global: &Global, args: &ReportArgs) -> Result<u8> {
    if let [before, after] = &args.compare[..] {
        return compare::compare(platforms, global, [before, after], args.json);
    }
    let folder = run_folder::find(&workspace::target_directory()?, &args.run)?;
    let (html, junit) = match (&args.html, &args.junit) {
        (None, None) => (Some(html::in_folder(&folder)), Some(folder.join(JUNIT))),
        (html, junit) => (html.clone(), junit.clone()),
    };
    let mut reports: Vec<(PathBuf, Box<dyn Aggregator>)> = Vec::new();
    if let Some(file) = html {
        let mut report = Html::new(std::path::absolute(&file)?, &folder);
        // A report is also written if the playbook is invalid.
        if let Ok(recorded) = Recorded::find(platforms, global) {
            report = report.with_earlier(PastRuns::new(&recorded.path));
        }
        reports.push((file, Box::new(report)));
    }
    if let Some(file) = junit {
        let report = Junit::replayed(&file, &run_folder::nextest_reports(&folder)?);
        reports.push((file, Box::new(report)));
    }
    let unknown = feed::replay(&folder.join(FEED), |event| {
        let mut reports = reports.iter_mut();
        reports.try_for_each(|(_, report)| report.ingest(event))
    })?;
    if unknown > 0 {
        let file = folder.join(FEED);
        ui::warn(format!(
            "skipped {unknown} lines of `{}` that this version does not know",
            file.display()
        ));
    }
    for (file, mut report) in reports {
        report.finish()?;
        ui::out(file.display());
    }
    Ok(0)
}
