//! `report`: makes the reports of a run again, by replaying its feed through the aggregators of a run.
//!
//! Must not know what reports contain.

mod compare;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use super::history::Recorded;
use crate::{
    aggregate::{
        Aggregator, feed,
        html::{self, Html, PastRuns},
        junit::Junit,
    },
    cli::{Global, ReportArgs},
    error::{Error, Result},
    execute::run_folder::RunFolder,
    provision::platform::Platforms,
    run::workspace,
    ui,
};

/// The name of the newest run.
const LATEST: &str = "latest";
/// The file of events in a run's folder.
const FEED: &str = "feed.jsonl";
/// The beginning of the names of nextest's own reports.
const NEXTEST: &str = "nextest-junit";

/// Runs the verb.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the run is not found or not unique; fails if its feed cannot be
/// read or a report cannot be written.
pub fn verb(platforms: &Platforms, global: &Global, args: &ReportArgs) -> Result<u8> {
    if let [before, after] = &args.compare[..] {
        return compare::compare(platforms, global, [before, after], args.json);
    }
    let folder = find(&args.run)?;
    let (html, junit) = match (&args.html, &args.junit) {
        (None, None) => (
            Some(html::in_folder(&folder)),
            Some(folder.join("junit.xml")),
        ),
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
        let report = Junit::replayed(&file, &nextest_reports(&folder)?);
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

/// Finds the folder of a run.
fn find(run: &str) -> Result<PathBuf> {
    let here = Path::new(run);
    if here.join(FEED).is_file() {
        return Ok(std::path::absolute(here)?);
    }
    let all = RunFolder::all(&workspace::target_directory()?);
    let mut runs = runs_in(&all);
    if run == LATEST {
        return runs.pop().ok_or_else(|| {
            let message = format!("no run found in `{}`", all.display());
            Error::usage(message)
        });
    }
    let name = |folder: &PathBuf| folder.file_name().map(OsStr::to_os_string);
    if let Some(exact) = runs
        .iter()
        .find(|folder| folder.file_name() == Some(run.as_ref()))
    {
        return Ok(exact.clone());
    }
    runs.retain(|folder| name(folder).is_some_and(|name| name.to_string_lossy().starts_with(run)));
    match runs.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Error::usage(format!("run `{run}` not found"))
            .with_hint(format!("the folders of runs are in `{}`", all.display()))),
        several => {
            let names = several.iter().filter_map(name);
            let names: Vec<_> = names
                .map(|name| name.to_string_lossy().into_owned())
                .collect();
            let message = format!("`{run}` is the beginning of several runs");
            Err(Error::usage(message).with_hint(names.join(", ")))
        }
    }
}

/// Returns the folders that have a feed, the newest last.
fn runs_in(all: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(all).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let with_feed = folders.filter_map(|entry| {
        let folder = entry.path();
        // A feed is created at the start of its run.
        let feed = folder.join(FEED).metadata().ok()?;
        let started = feed.created().or_else(|_| feed.modified()).ok()?;
        Some((started, folder))
    });
    let mut with_feed: Vec<_> = with_feed.collect();
    with_feed.sort();
    with_feed.into_iter().map(|(_, folder)| folder).collect()
}

/// Returns nextest's own reports in a run's folder, in the order of their partitions.
fn nextest_reports(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(NEXTEST) && name.ends_with(".xml") {
            files.push(folder.join(&*name));
        }
    }
    files.sort();
    if files.is_empty() {
        // nextest writes at its end, which did not come.
        files.push(folder.join(format!("{NEXTEST}.xml")));
    }
    Ok(files)
}
