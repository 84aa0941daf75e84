//! Adds the runs of feeds to the history.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Lines},
    path::Path,
    sync::Arc,
    time::Duration,
};

use super::write::{HistoryWriter, repository};
use crate::{
    aggregate::Aggregator,
    case::{CaseInfo, reason::NotRunReason},
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
    let feed = KnownFeed::open(feed)?;
    let mut writer = HistoryWriter::new(path);
    match writer.knows(&feed.repository, &feed.run)? {
        Some(false) if feed.has_ended()? => writer.forget(&feed.repository, &feed.run)?,
        Some(_) => return Ok(Imported::Known),
        None => {}
    }
    feed.replay(&mut writer)?;
    writer.finish()?;
    Ok(Imported::Added)
}

/// Adds to the history at `path` what it lacks of a run whose process has ended. The cases that the end of the process
/// kept from running are noted. A run that the history does not know is not added.
///
/// # Errors
/// As [`import`].
pub fn complete(path: &Path, feed: &Path) -> Result<()> {
    let feed = KnownFeed::open(feed)?;
    let mut writer = HistoryWriter::new(path);
    if writer.knows(&feed.repository, &feed.run)? != Some(false) {
        return Ok(());
    }
    writer.forget(&feed.repository, &feed.run)?;
    if let Some(killed) = feed.replay(&mut writer)? {
        for case in killed.without_result.into_values() {
            let reason = NotRunReason::RunKilled;
            let kind = RunEventKind::NotRun { case, reason };
            writer.ingest(&RunEvent::new(0, Duration::ZERO, killed.at, kind))?;
        }
        writer.killed(killed.at);
    }
    writer.finish()
}

/// A feed whose first line was read.
struct KnownFeed<'a> {
    path: &'a Path,
    repository: String,
    run: String,
}

/// A run without an end.
#[derive(Default)]
struct KilledRun {
    /// The time of the last event, since 1970.
    at: Duration,
    /// The cases without a result, by binary id and name.
    without_result: BTreeMap<(Arc<str>, String), Arc<CaseInfo>>,
}

impl<'a> KnownFeed<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let first = lines(path)?.next().transpose()?.unwrap_or_default();
        let first: Option<RunEvent> = serde_json::from_str(&first).ok();
        match first.map(|first| (repository(&first.kind), first.kind)) {
            Some((Some(repository), RunEventKind::RunStarted { run, .. })) => Ok(Self {
                path,
                repository,
                run,
            }),
            _ => {
                let message = format!("`{}` is not a feed: no run starts in it", path.display());
                Err(Error::usage(message))
            }
        }
    }

    fn has_ended(&self) -> Result<bool> {
        for line in lines(self.path)? {
            if line?.contains(END) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Passes the events to the writer; returns the state of a run without an end.
    fn replay(&self, writer: &mut HistoryWriter) -> Result<Option<KilledRun>> {
        let (mut killed, mut has_ended) = (KilledRun::default(), false);
        for line in lines(self.path)? {
            // The last line of a killed run may be torn; a newer version may write events of kinds that this one lacks.
            if let Ok(event) = serde_json::from_str::<RunEvent>(&line?) {
                writer.ingest(&event)?;
                killed.note(&event);
                has_ended |= matches!(event.kind, RunEventKind::RunEnded { .. });
            }
        }
        Ok((!has_ended).then_some(killed))
    }
}

impl KilledRun {
    fn note(&mut self, event: &RunEvent) {
        self.at = event.wall;
        let key = |case: &CaseInfo| (Arc::clone(&case.binary_id), case.name.clone());
        match &event.kind {
            RunEventKind::Planned { case } => {
                self.without_result.insert(key(case), Arc::clone(case));
            }
            RunEventKind::AttemptEnded { attempt, .. } => {
                self.without_result.remove(&key(&attempt.case));
            }
            RunEventKind::NotRun { case, .. } => {
                self.without_result.remove(&key(case));
            }
            _ => {}
        }
    }
}

fn lines(feed: &Path) -> Result<Lines<BufReader<fs_err::File>>> {
    Ok(BufReader::new(fs_err::File::open(feed)?).lines())
}
