//! The JUnit report: run events, joined with nextest's report.
//!
//! Infra is an error, a skip is skipped with its reason, and only a test's failure is a failure.

mod entry;
mod instances;
mod join;
mod safe;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use quick_junit::Report;

use super::{Aggregator, nextest_report::NextestReport};
use crate::{
    case::{CaseInfo, reason::NotRunReason, verdict::Verdict},
    connect,
    error::{Error, ErrorKind, Result},
    run_event::{Attempt, AttemptResult, RunEvent, RunEventKind},
};
use entry::JunitEntry;
use instances::Instances;

/// The report's name, the same as in nextest's report.
const NAME: &str = "nextest-run";
/// Reports of an unfinished run take at most 1/`SHARE` of the run's time.
const SHARE: u32 = 200;
/// Longer than a replay takes.
const REPLAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Writes the report: during the run, in case the run is killed, and at its end.
#[derive(Debug)]
pub struct Junit {
    file: PathBuf,
    /// The paths of nextest's reports; empty if nextest does not run.
    nextest: Vec<PathBuf>,
    since: SystemTime,
    /// The time of the last event since the run began.
    length: Duration,
    /// True if the run has ended.
    ended: bool,
    entries: BTreeMap<Key, JunitEntry>,
    instances: Instances,
    /// The planned cases without any entry.
    not_run: BTreeMap<(Arc<str>, String), NotRunReason>,
    /// The earliest time of the next report during the run.
    next: Instant,
    /// True if events are missing in the written report.
    stale: bool,
}

/// Binary id, case name, iteration of a stress run.
type Key = (Arc<str>, String, Option<u32>);

impl Junit {
    /// Creates a report in `file`; `nextest` has the paths of nextest's own reports, one for each nextest run.
    pub fn new(file: &Path, nextest: &[PathBuf]) -> Self {
        Self {
            nextest: nextest.to_vec(),
            ..Self::without_nextest(file)
        }
    }

    /// The report of a run without nextest, made from events alone.
    pub fn without_nextest(file: impl AsRef<Path>) -> Self {
        Self {
            file: file.as_ref().to_owned(),
            nextest: Vec::new(),
            since: SystemTime::now(),
            length: Duration::ZERO,
            ended: false,
            entries: BTreeMap::new(),
            instances: Instances::default(),
            not_run: BTreeMap::new(),
            next: Instant::now(),
            stale: false,
        }
    }

    /// The report of a run that has ended or was killed, for its events and the reports that nextest has written.
    pub fn replayed(file: &Path, nextest: &[PathBuf]) -> Self {
        Self {
            nextest: nextest.to_vec(),
            since: SystemTime::UNIX_EPOCH,
            // One report, at the end.
            next: Instant::now() + REPLAY,
            ..Self::without_nextest(file)
        }
    }

    fn entry(&mut self, attempt: &Attempt) -> &mut JunitEntry {
        let case = &attempt.case;
        let key = (
            case.binary_id.clone(),
            case.name.clone(),
            attempt.stress_index,
        );
        if !self.not_run.is_empty() {
            self.not_run.remove(&(Arc::clone(&key.0), key.1.clone()));
        }
        let entry = self.entries.entry(key).or_default();
        entry.case.get_or_insert_with(|| Arc::clone(case));
        entry
    }

    fn note_not_run(&mut self, case: &CaseInfo, reason: NotRunReason) {
        let key = (Arc::clone(&case.binary_id), case.name.clone());
        self.not_run.insert(key, reason);
    }

    /// Returns the report from events alone.
    fn event_report(&self, complete: bool) -> Report {
        let mut report = join::from_events(&self.entries, &self.instances, complete);
        join::add_not_run(&mut report, &self.not_run);
        report.set_time(self.length);
        report
    }

    /// Writes the report during the run.
    fn write_early(&mut self) -> Result<()> {
        // A device or a FIFO gets one report, at the end.
        if self.file.metadata().is_ok_and(|file| !file.is_file()) {
            return Ok(());
        }
        let began = Instant::now();
        self.write(&self.event_report(self.ended))?;
        self.next = Instant::now() + SHARE * began.elapsed();
        self.stale = false;
        Ok(())
    }

    fn write(&self, report: &Report) -> Result<()> {
        write(report, &self.file)
    }
}

/// Writes a report to a file, and creates the file's folder.
///
/// # Errors
/// Fails if the file cannot be written.
pub fn write(report: &Report, file: &Path) -> Result<()> {
    let failed = || {
        let message = format!("failed to write the JUnit report `{}`", file.display());
        Error::new(ErrorKind::Other, message)
    };
    let text = safe::text(report).map_err(|error| failed().with_source(error))?;
    fs_err::create_dir_all(file.parent().unwrap_or(Path::new("/")))?;
    // Readers never see a partial report, unless the file must be written in place.
    connect::write_local(file, text.as_bytes()).map_err(|error| failed().with_source(error))
}

impl Aggregator for Junit {
    fn ingest(&mut self, event: &RunEvent) -> Result<()> {
        self.instances.note(&event.kind);
        self.length = event.monotonic;
        match &event.kind {
            RunEventKind::RunEnded { .. } => {
                self.ended = true;
                return Ok(());
            }
            RunEventKind::AttemptStarted { attempt, .. } => {
                self.entry(attempt).started(attempt.number);
            }
            RunEventKind::AttemptEnded { attempt, result } => {
                let facts = |name: &String| (name.clone(), self.instances.facts(name));
                let facts = result.instances.iter().map(facts).collect();
                let entry = self.entry(attempt);
                entry.facts = facts;
                entry.ended(attempt.number, result);
            }
            RunEventKind::Planned { case } => {
                self.note_not_run(case, NotRunReason::RunKilled);
            }
            RunEventKind::NotRun { case, reason } => self.note_not_run(case, reason.clone()),
            RunEventKind::Overruled {
                attempt, verdict, ..
            } => self.entry(attempt).overruled(attempt.number, verdict),
            RunEventKind::SubResult { attempt, result } => {
                self.entry(attempt).reported(attempt.number, result);
            }
            RunEventKind::DeployShown {
                attempt,
                took,
                verdict,
                instance,
            } => {
                let result = AttemptResult {
                    took: *took,
                    instances: vec![instance.clone()],
                    ..AttemptResult::new(verdict.clone())
                };
                self.entry(attempt).ended(attempt.number, &result);
            }
            RunEventKind::Skipped { case, reason } => {
                let key = (case.binary_id.clone(), case.name.clone(), None);
                let result = AttemptResult::new(Verdict::Skip(reason.clone()));
                let entry = self.entries.entry(key).or_default();
                entry.case = Some(Arc::clone(case));
                entry.ended(1, &result);
            }
            _ => return Ok(()),
        }
        self.stale = true;
        match Instant::now() >= self.next {
            true => self.write_early(),
            false => Ok(()),
        }
    }

    fn idle(&mut self) -> Result<()> {
        match self.stale {
            true => self.write_early(),
            false => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<()> {
        if self.nextest.is_empty() {
            return self.write(&self.event_report(true));
        }
        let nextest = NextestReport::read(&self.nextest, self.since);
        if let Ok(Some(nextest)) = nextest {
            let file = match self.nextest.as_slice() {
                [file] => Some(file.as_path()),
                _ => None,
            };
            let mut report = join::joined(nextest.0, file, &self.entries, &self.instances);
            join::add_not_run(&mut report, &self.not_run);
            return self.write(&report);
        }
        if !self.entries.is_empty() {
            self.write(&self.event_report(self.ended))?;
        }
        // An unreadable report causes a warning.
        nextest.map(drop)
    }
}

/// Formats seconds for reports.
fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

#[cfg(test)]
mod tests;
