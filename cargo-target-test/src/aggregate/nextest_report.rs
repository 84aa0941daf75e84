//! Reads nextest's own JUnit report, and defines the key that joins its entries with run events.
//!
//! Must not know how the report is used.

use std::{path::Path, time::SystemTime};

use quick_junit::{Report, TestCase, TestCaseStatus, TestSuite};

use crate::{
    error::{Error, ErrorKind, Result},
    run_event::Attempt,
};

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
    /// Reads the report; `None` if nextest has written no report since `since`.
    ///
    /// # Errors
    /// Fails if the file is not a report.
    pub fn read(file: &Path, since: SystemTime) -> Result<Option<Self>> {
        let written = std::fs::metadata(file).and_then(|file| file.modified());
        if !written.is_ok_and(|written| written >= since) {
            return Ok(None);
        }
        let bytes = fs_err::read(file)?;
        let report = Report::deserialize_from_str(&String::from_utf8_lossy(&bytes));
        report.map(|report| Some(Self(report))).map_err(|error| {
            let message = format!("failed to read the JUnit report `{}`", file.display());
            Error::new(ErrorKind::Nextest, message).with_source(error)
        })
    }

    /// Returns the entries that nextest counts as failed.
    pub fn failed(&self) -> impl Iterator<Item = EntryKey<'_>> {
        let suites = self.0.test_suites.iter();
        let cases = suites.flat_map(|suite| suite.test_cases.iter().map(move |case| (suite, case)));
        cases
            .filter(|(_, case)| matches!(case.status, TestCaseStatus::NonSuccess { .. }))
            .filter_map(|(suite, case)| EntryKey::in_report(suite, case))
    }
}
