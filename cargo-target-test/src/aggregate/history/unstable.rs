//! Cases, and sub-results of cases, that pass and fail without a change of the test.

use std::time::SystemTime;

use rusqlite::params;
use serde::Serialize;
use target_fixtures::wire::VerdictKind;

use super::{
    History,
    read::{list, rfc_3339, time, verdict, verdict_text},
};
use crate::error::Result;

/// The maximum number of failures that are shown of one case.
const SHOWN: u32 = 3;

/// A case or a sub-result that is not stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct UnstableCase {
    /// nextest's id of the test binary.
    pub binary: String,
    /// The case's name; for a sub-result with its path: `table[ubuntu]/row 1`.
    pub name: String,
    /// The text in the name's brackets, without a repetition; `None` for a test on the host.
    pub target: Option<String>,
    /// The number of failed attempts.
    pub failed: u32,
    /// The number of passed attempts.
    pub passed: u32,
    /// `failed` divided by the number of attempts.
    pub rate: f64,
    /// The last failures, newest first.
    pub last_failures: Vec<PastFailure>,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PastFailure {
    /// The run's id.
    pub run: String,
    /// The end of the attempt, in RFC 3339.
    #[serde(serialize_with = "rfc_3339")]
    pub ended: SystemTime,
    /// The verdict.
    #[serde(serialize_with = "verdict_text")]
    pub verdict: VerdictKind,
    /// The reason, if any.
    pub reason: Option<String>,
    /// The instances.
    pub instances: Vec<String>,
}

/// The attempts of the last runs of a repository, and their sub-results: `path` is NULL for an attempt. `code` is what
/// was tested: the binary, else a commit without changes, else the run.
const OUTCOMES: &str = "
    WITH recent AS (
        SELECT id, run, CASE WHEN dirty = 0 THEN revision END AS revision
        FROM runs WHERE repository = ?1 ORDER BY started DESC LIMIT ?2
    ), outcomes AS (
        SELECT case_id, NULL AS path, run, ended, verdict, reason, instances FROM attempts
        UNION ALL
        SELECT sub.case_id, sub.path, sub.run, ended, sub.verdict, sub.message, coalesce(sub.lane, instances)
        FROM sub_results AS sub JOIN attempts AS a ON a.case_id = sub.case_id AND a.run = sub.run
            AND a.stress = sub.stress AND a.number = sub.number
    ), judged AS (
        SELECT outcomes.*, cases.binary, cases.name, cases.label, recent.run AS run_name,
               outcomes.verdict = 'pass' AS passed,
               coalesce(run_binaries.digest, recent.revision, recent.run) AS code
        FROM recent JOIN outcomes ON outcomes.run = recent.id JOIN cases ON cases.id = case_id
        LEFT JOIN run_binaries ON run_binaries.run = recent.id AND run_binaries.binary = cases.binary
        WHERE outcomes.verdict IN ('pass', 'fail', 'crash')
    )";

impl History {
    /// Returns the cases and sub-results that passed and failed with the same test binary, or with the same commit, in
    /// the last `runs` runs; those that fail most often first. A case whose only failures are those of its sub-results
    /// is among them, too.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn unstable(&self, repository: &str, runs: u32) -> Result<Vec<UnstableCase>> {
        let select = format!(
            "{OUTCOMES}
            SELECT case_id, path, binary, name, label, sum(failed), sum(passed) FROM (
                SELECT case_id, path, binary, name, label, sum(passed) AS passed, sum(NOT passed) AS failed
                FROM judged GROUP BY case_id, path, code
            ) GROUP BY case_id, path HAVING max(min(passed, failed)) > 0"
        );
        let failures = format!(
            "{OUTCOMES}
            SELECT run_name, ended, verdict, reason, instances FROM judged
            WHERE NOT passed AND case_id = ?3 AND path IS ?4 ORDER BY ended DESC LIMIT {SHOWN}"
        );
        let mut cases = self.ask(|connection| {
            let mut failures = connection.prepare(&failures)?;
            let mut statement = connection.prepare(&select)?;
            let mut rows = statement.query(params![repository, runs])?;
            let mut cases = Vec::new();
            while let Some(row) = rows.next()? {
                let (id, path): (i64, Option<String>) = (row.get(0)?, row.get(1)?);
                let (failed, passed): (u32, u32) = (row.get(5)?, row.get(6)?);
                let of = params![repository, runs, id, path];
                let last = failures.query_map(of, |row| {
                    Ok(PastFailure {
                        run: row.get(0)?,
                        ended: time(row, 1)?,
                        verdict: verdict(row, 2)?,
                        reason: row.get(3)?,
                        instances: list(row, 4)?,
                    })
                })?;
                let name: String = row.get(3)?;
                cases.push(UnstableCase {
                    binary: row.get(2)?,
                    name: path.map_or(name.clone(), |path| format!("{name}/{path}")),
                    target: row.get(4)?,
                    failed,
                    passed,
                    rate: f64::from(failed) / f64::from(failed + passed),
                    last_failures: last.collect::<rusqlite::Result<_>>()?,
                });
            }
            Ok(cases)
        })?;
        cases.sort_by(|a, b| b.rate.total_cmp(&a.rate).then_with(|| a.name.cmp(&b.name)));
        Ok(cases)
    }
}
