//! Reads nextest's own JUnit reports, one for each nextest run, and defines the key that joins their entries with run
//! events.

// Must not know how a report is used.

mod shortened;

use std::{io::BufReader, path::PathBuf, time::SystemTime};

use quick_junit::{Report, TestCase, TestCaseStatus, TestSuite};

use crate::{
    bounded,
    error::{Error, ErrorKind, Result},
    run_event::{Attempt, TAIL},
};
use shortened::Shortened;
pub(super) use shortened::end_of_shortened;

/// The text before the iteration in the suite names of a stress run.
const STRESS: &str = "@stress-";
/// The prefix of the suite names of setup scripts.
const SETUP_SCRIPT: &str = "@setup-script:";

/// A report of nextest.
#[derive(Debug)]
pub struct NextestReport(pub Report);

/// One entry of a run: a case, a test on the host or a deploy, in one iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryKey<'a> {
    /// nextest's id of the binary.
    pub binary_id: &'a str,
    /// The case's name.
    pub name: &'a str,
    /// The iteration of a stress run, from 0.
    pub stress_index: Option<u32>,
}

impl<'a> EntryKey<'a> {
    /// Returns the entry of an attempt.
    pub fn of(attempt: &'a Attempt) -> Self {
        Self {
            binary_id: &attempt.case.binary_id,
            name: &attempt.case.name,
            stress_index: attempt.stress_index,
        }
    }

    /// Returns the entry of a case in nextest's report; `None` for a setup script.
    pub fn in_report(suite: &'a TestSuite, case: &'a TestCase) -> Option<Self> {
        let suite = suite.name.as_str();
        if suite.starts_with(SETUP_SCRIPT) {
            return None;
        }
        let binary_id = case.classname.as_ref().map_or(suite, |name| name.as_str());
        let stress = suite.strip_prefix(binary_id);
        let stress_index = stress.and_then(|rest| rest.strip_prefix(STRESS)?.parse().ok());
        Some(Self {
            binary_id,
            name: case.name.as_str(),
            stress_index,
        })
    }

    /// Returns nextest's name of the entry's suite.
    pub fn suite(&self) -> String {
        match self.stress_index {
            None => self.binary_id.to_owned(),
            Some(index) => format!("{}{STRESS}{index}", self.binary_id),
        }
    }
}

impl NextestReport {
    /// Reads the reports of parallel nextest runs as one report; `None` if a run has written no report since `since`.
    /// Of long outputs, the report has the ends.
    ///
    /// # Errors
    /// Fails if a file is not a report.
    pub fn read(files: &[PathBuf], since: SystemTime) -> Result<Option<Self>> {
        Self::read_within(TAIL, files, since)
    }

    /// As [`NextestReport::read`], with whole outputs.
    ///
    /// # Errors
    /// As [`NextestReport::read`].
    pub fn read_whole(files: &[PathBuf], since: SystemTime) -> Result<Option<Self>> {
        Self::read_within(usize::MAX, files, since)
    }

    fn read_within(most: usize, files: &[PathBuf], since: SystemTime) -> Result<Option<Self>> {
        let mut whole: Option<Report> = None;
        for file in files {
            let written = std::fs::metadata(file).and_then(|file| file.modified());
            if !written.is_ok_and(|written| written >= since) {
                return Ok(None);
            }
            let text = BufReader::new(Shortened::new(bounded::open(file)?, most));
            let report = Report::deserialize(text);
            let report = report.map_err(|error| {
                let message = format!("failed to read the JUnit report `{}`", file.display());
                Error::new(ErrorKind::Nextest, message).with_source(error)
            })?;
            whole = Some(match whole {
                Some(whole) => merged(whole, report),
                None => report,
            });
        }
        Ok(whole.map(Self))
    }

    /// Returns the entries.
    pub fn entries(&self) -> impl Iterator<Item = (EntryKey<'_>, &TestCase)> {
        let suites = self.0.test_suites.iter();
        let cases = suites.flat_map(|suite| suite.test_cases.iter().map(move |case| (suite, case)));
        cases.filter_map(|(suite, case)| Some((EntryKey::in_report(suite, case)?, case)))
    }

    /// Returns the entries that nextest counts as failed.
    pub fn failed(&self) -> impl Iterator<Item = EntryKey<'_>> {
        let failed = |case: &TestCase| matches!(case.status, TestCaseStatus::NonSuccess { .. });
        let failed = self.entries().filter(move |(_, case)| failed(case));
        failed.map(|(key, _)| key)
    }

    /// Returns the name of a setup script that failed, if one did.
    pub fn failed_setup_script(&self) -> Option<&str> {
        let mut suites = self.0.test_suites.iter();
        suites.find_map(|suite| {
            let name = suite.name.as_str().strip_prefix(SETUP_SCRIPT)?;
            let failed = |case: &TestCase| matches!(case.status, TestCaseStatus::NonSuccess { .. });
            suite.test_cases.iter().any(failed).then_some(name)
        })
    }
}

/// Merges the reports of two parallel runs: adds their counts, but not their times.
fn merged(mut one: Report, other: Report) -> Report {
    one.timestamp = one.timestamp.into_iter().chain(other.timestamp).min();
    one.time = one.time.max(other.time);
    one.tests += other.tests;
    one.failures += other.failures;
    one.errors += other.errors;
    one.skipped += other.skipped;
    for suite in other.test_suites {
        let mut suites = one.test_suites.iter_mut();
        match suites.find(|same| same.name == suite.name) {
            Some(same) => extend(same, suite),
            None => one.test_suites.push(suite),
        }
    }
    one
}

/// Merges the suites of a binary that both runs executed.
fn extend(one: &mut TestSuite, other: TestSuite) {
    one.timestamp = one.timestamp.into_iter().chain(other.timestamp).min();
    one.time = one.time.max(other.time);
    one.tests += other.tests;
    one.failures += other.failures;
    one.errors += other.errors;
    one.skipped += other.skipped;
    one.test_cases.extend(other.test_cases);
}

#[cfg(test)]
mod tests;
