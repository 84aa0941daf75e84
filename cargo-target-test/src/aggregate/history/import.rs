//! Adds the runs of feeds to the history.

use std::{
    io::{BufRead, BufReader},
    path::Path,
};

use super::write::{HistoryWriter, repository};
use crate::{
    aggregate::Aggregator,
    error::{Error, Result},
    run_event::{RunEvent, RunEventKind},
};

/// The mark of a run's last event.
const END: &str = "\"event\":\"run-ended\"";

/// The result of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// The run was added, or completed.
    Added,
    /// The history had it.
    Known,
}

/// Adds the run of a feed to the history at `path`. A run that is there already is not changed, unless the feed has its
/// end and the history has not.
///
/// # Errors
/// If the feed cannot be read or is no feed, or if the history cannot be written.
pub fn import(path: &Path, feed: &Path) -> Result<Imported> {
    let lines = || Ok::<_, Error>(BufReader::new(fs_err::File::open(feed)?).lines());
    let first = lines()?.next().transpose()?.unwrap_or_default();
    let first: Option<RunEvent> = serde_json::from_str(&first).ok();
    let started = first.as_ref().map(|first| &first.kind);
    let Some((RunEventKind::RunStarted { run, .. }, repository)) =
        started.and_then(|kind| Some((kind, repository(kind)?)))
    else {
        let message = format!("`{}` is not a feed: no run starts in it", feed.display());
        return Err(Error::usage(message));
    };
    let mut has_ended = false;
    for line in lines()? {
        has_ended |= line?.contains(END);
    }
    let mut writer = HistoryWriter::new(path);
    match writer.knows(&repository, run)? {
        Some(false) if has_ended => writer.forget(&repository, run)?,
        Some(_) => return Ok(Imported::Known),
        None => {}
    }
    for line in lines()? {
        // The last line of a killed run may be torn; a newer version may write events of kinds that this one lacks.
        if let Ok(event) = serde_json::from_str::<RunEvent>(&line?) {
            writer.ingest(&event)?;
        }
    }
    writer.finish()?;
    Ok(Imported::Added)
}
