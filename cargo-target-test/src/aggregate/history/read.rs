//! Questions to the history.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rusqlite::{Connection, OptionalExtension, Row, params, types::ValueRef};
use serde::Serialize;
use target_fixtures::wire::{Measurement, VerdictKind};

use super::{
    NOT_RUN,
    database::{is_current, open_to_read, open_to_write},
    failed,
};
use crate::{
    aggregate::change::LastResult,
    error::{Error, Result},
    plan::Durations,
};

/// The time limit for other processes that hold the database.
const PATIENCE: Duration = Duration::from_secs(2);
/// The number of earlier runs in which a case's last result is looked for.
const RUNS_BACK: u32 = 20;
/// The name for the newest run.
const LATEST: &str = "latest";
/// The number of passing runs whose median is a case's duration.
const MEDIAN_OF: u32 = 10;

/// The history, opened for questions.
pub struct History {
    pub(super) connection: Connection,
    path: PathBuf,
}

/// A case in all runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CaseKey {
    /// nextest's id of the test binary: `hello::net`.
    pub binary: String,
    /// The case's name: `smoke[ubuntu]`.
    pub name: String,
}

/// An earlier run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PastRun {
    #[serde(skip)]
    pub(super) id: i64,
    /// The run's id.
    pub run: String,
    /// The start, in RFC 3339.
    #[serde(serialize_with = "rfc_3339")]
    pub started: SystemTime,
    /// The exit code; `None` for a run that goes on, or was killed.
    pub exit_code: Option<u8>,
    /// The commit.
    pub revision: Option<String>,
    /// True if files differed from the commit.
    pub dirty: Option<bool>,
    /// The compiler.
    pub rustc: Option<String>,
    /// The host that ran cargo.
    pub host: Option<String>,
    /// The seed of a random order.
    pub seed: Option<String>,
    /// The playbook; `None` for the embedded one.
    pub playbook: Option<String>,
    /// The digest of the playbook.
    pub playbook_hash: Option<String>,
    /// The options that decide what is built and what a case is.
    pub options: Vec<String>,
}

/// The last result of a case, or of one of its sub-results, in one run or one iteration of a stress run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PastResult {
    /// The run's id.
    pub run: String,
    /// The end of the attempt, in RFC 3339.
    #[serde(serialize_with = "rfc_3339")]
    pub ended: SystemTime,
    /// The commit.
    pub revision: Option<String>,
    /// nextest's id of the test binary.
    pub binary: String,
    /// The case's name; for a sub-result with its path: `table[ubuntu]/row 1`.
    pub name: String,
    /// The verdict; `None`, in JSON `not-run`, for a case that has not run.
    #[serde(serialize_with = "verdict_or_not_run")]
    pub verdict: Option<VerdictKind>,
    /// The reason of the verdict, if any.
    pub reason: Option<String>,
    /// The number of attempts; 0 for a case that the plan skips, and for one that has not run.
    pub attempts: u32,
    /// The duration, in seconds.
    #[serde(serialize_with = "seconds")]
    pub took: Duration,
    /// The instances.
    pub instances: Vec<String>,
    /// True for a sub-result.
    pub is_sub_result: bool,
    /// The metrics that the last attempt recorded, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Measurement>,
}

/// A recorded value of a metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PastMetric {
    /// The run's id.
    pub run: String,
    /// The end of the attempt, in RFC 3339.
    #[serde(serialize_with = "rfc_3339")]
    pub ended: SystemTime,
    /// The value.
    pub value: f64,
    /// The unit, if any.
    pub unit: Option<String>,
}

/// The duration of a case, by its last passing runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SlowCase {
    /// nextest's id of the test binary.
    pub binary: String,
    /// The case's name.
    pub name: String,
    /// The median, in seconds.
    #[serde(serialize_with = "seconds")]
    pub median: Duration,
    /// The newest duration, in seconds.
    #[serde(serialize_with = "seconds")]
    pub newest: Duration,
    /// The number of runs, at most 10.
    pub runs: usize,
}

impl History {
    /// Opens the history; `None` if the file does not exist.
    ///
    /// # Errors
    /// If the file cannot be read, or another process holds it for too long.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let open = || {
            let connection = open_to_read(path, PATIENCE)?;
            if is_current(&connection)? {
                return Ok(connection);
            }
            drop(connection);
            drop(open_to_write(path, PATIENCE)?);
            open_to_read(path, PATIENCE)
        };
        let connection = open().map_err(|error| failed("read", path, error))?;
        Ok(Some(Self {
            connection,
            path: path.to_owned(),
        }))
    }

    /// Answers a question; `path` becomes part of its error.
    pub(super) fn ask<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        ask(&self.connection).map_err(|error| failed("read", &self.path, error))
    }

    /// Returns the run with this id, with the only id that begins so, or the newest for `latest`.
    ///
    /// # Errors
    /// If no run or several have it.
    pub fn run(&self, repository: &str, id: &str) -> Result<PastRun> {
        let select = format!(
            "SELECT {RUN} FROM runs WHERE repository = ?1 AND (?2 = '{LATEST}' OR substr(run, 1, length(?2)) = ?2) \
             ORDER BY run = ?2 DESC, started DESC LIMIT 2"
        );
        let mut runs = self.ask(|connection| {
            let mut statement = connection.prepare(&select)?;
            let runs = statement.query_map([repository, id], past_run)?;
            runs.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let is_clear =
            id == LATEST || runs.len() == 1 || runs.first().is_some_and(|run| run.run == id);
        match runs.is_empty() {
            false if is_clear => Ok(runs.swap_remove(0)),
            false => Err(Error::usage(format!("several runs begin with `{id}`"))),
            true => {
                let message = match id {
                    LATEST => "the history has no run of this repository".to_owned(),
                    id => format!("run `{id}` not found in the history"),
                };
                let hint = "`cargo target-test history import FEED` adds runs of another machine";
                Err(Error::usage(message).with_hint(hint))
            }
        }
    }

    /// Returns the ids of the runs of a repository that go on or were killed.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn without_end(&self, repository: &str) -> Result<Vec<String>> {
        self.ask(|connection| {
            let select = "SELECT run FROM runs WHERE repository = ?1 AND ended IS NULL";
            let mut statement = connection.prepare(select)?;
            let runs = statement.query_map([repository], |row| row.get(0))?;
            runs.collect()
        })
    }

    /// Returns the runs of a repository that began before `run` and ran a case, newest first; all others if the history
    /// does not know `run`.
    fn runs_before(&self, repository: &str, run: &str) -> Result<Vec<PastRun>> {
        let select = format!(
            "SELECT {RUN} FROM runs WHERE repository = ?1 AND {} \
             AND EXISTS (SELECT 1 FROM attempts WHERE attempts.run = runs.id) \
             ORDER BY started DESC LIMIT {RUNS_BACK}",
            began_before("?2")
        );
        self.ask(|connection| {
            let mut statement = connection.prepare(&select)?;
            let runs = statement.query_map([repository, run], past_run)?;
            runs.collect()
        })
    }

    /// Returns the newest run of a repository that began before `run` and had some of these cases, and for each of the
    /// cases the result in the last run before `run` in which it passed or failed, or else its last result.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn previous_cases(
        &self,
        repository: &str,
        run: &str,
        cases: &BTreeSet<CaseKey>,
    ) -> Result<Option<(PastRun, BTreeMap<CaseKey, LastResult>)>> {
        let (mut newest, mut found) = (None, BTreeMap::<_, LastResult>::new());
        let is_open = |found: &BTreeMap<_, LastResult>, case: &CaseKey| {
            found.get(case).is_none_or(|known| known.fails().is_none())
        };
        for past in self.runs_before(repository, run)? {
            for (case, result) in self.cases(&past)? {
                if !cases.contains(&case) || !is_open(&found, &case) {
                    continue;
                }
                match result.fails() {
                    Some(_) => found.insert(case, result),
                    None => Some(*found.entry(case).or_insert(result)),
                };
            }
            if !found.is_empty() {
                newest.get_or_insert(past);
            }
            if !cases.iter().any(|case| is_open(&found, case)) {
                break;
            }
        }
        Ok(newest.map(|newest| (newest, found)))
    }

    /// Returns the last result of each case in a run. Of the iterations of a stress run, a failed one counts.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn cases(&self, run: &PastRun) -> Result<BTreeMap<CaseKey, LastResult>> {
        let results = last_results("last.run = ?1");
        let select = format!("SELECT binary, name, verdict, took FROM ({results})");
        self.ask(|connection| {
            let mut statement = connection.prepare(&select)?;
            let mut rows = statement.query([run.id])?;
            let mut cases = BTreeMap::<_, LastResult>::new();
            while let Some(row) = rows.next()? {
                let key = CaseKey {
                    binary: row.get(0)?,
                    name: row.get(1)?,
                };
                let case = LastResult {
                    verdict: verdict_if_run(row, 2)?,
                    took: duration(row, 3)?,
                };
                let known = cases.get(&key);
                if known.is_none_or(|known| known.verdict == Some(VerdictKind::Pass)) {
                    cases.insert(key, case);
                }
            }
            Ok(cases)
        })
    }

    /// Returns the values of a metric in the last `most` passing attempts of a test on a target, newest first. `label`
    /// is the text in the brackets of its case names, without a repetition; `None` for a test on the host. Only runs that
    /// began before the run `before` count; all other runs, if `before` is not recorded.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn passing_metrics(
        &self,
        repository: &str,
        of: &TestOn<'_>,
        metric: &str,
        before: &str,
        most: u32,
    ) -> Result<Vec<PastMetric>> {
        let select = format!(
            "SELECT runs.run, attempts.ended, value, unit FROM metrics \
             JOIN cases ON cases.id = metrics.case_id \
             JOIN runs ON runs.id = metrics.run \
             JOIN attempts ON attempts.case_id = metrics.case_id AND attempts.run = metrics.run \
             AND attempts.stress = metrics.stress AND attempts.number = metrics.number \
             WHERE cases.repository = ?1 AND cases.test = ?2 AND cases.label IS ?3 \
             AND (?4 IS NULL OR cases.binary = ?4) AND metrics.name = ?6 AND {} \
             AND attempts.verdict = 'pass' AND attempts.expected IS NULL \
             ORDER BY attempts.ended DESC, metrics.place DESC LIMIT ?7",
            began_before("?5")
        );
        self.ask(|connection| {
            let mut statement = connection.prepare(&select)?;
            let values = params![
                repository, of.test, of.label, of.binary, before, metric, most
            ];
            let metrics = statement.query_map(values, past_metric)?;
            metrics.collect()
        })
    }

    /// Returns the durations of the last `most` passing attempts of a test on a target, in seconds, without its fixtures,
    /// newest first. See [`History::passing_metrics`].
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn passing_durations(
        &self,
        repository: &str,
        of: &TestOn<'_>,
        before: &str,
        most: u32,
    ) -> Result<Vec<PastMetric>> {
        let select = format!(
            "SELECT runs.run, attempts.ended, (took - fixtures) / 1e6, 's' FROM attempts \
             JOIN cases ON cases.id = case_id JOIN runs ON runs.id = attempts.run \
             WHERE cases.repository = ?1 AND cases.test = ?2 AND cases.label IS ?3 \
             AND (?4 IS NULL OR cases.binary = ?4) AND {} \
             AND verdict = 'pass' AND expected IS NULL \
             ORDER BY attempts.ended DESC LIMIT ?6",
            began_before("?5")
        );
        self.ask(|connection| {
            let mut statement = connection.prepare(&select)?;
            let values = params![repository, of.test, of.label, of.binary, before, most];
            let durations = statement.query_map(values, past_metric)?;
            durations.collect()
        })
    }

    /// Returns the newest results of the cases whose names contain `name`, newest first. Sub-results are included if
    /// they did not pass, or if `name` has a `/`; of several with one path, one that did not pass, if any.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn results(&self, repository: &str, name: &str, most: u32) -> Result<Vec<PastResult>> {
        let of_cases = last_results("cases.repository = ?1 AND instr(cases.name, ?2)");
        let select = format!("
            SELECT * FROM (
                SELECT runs.run, results.ended, revision, binary, name, verdict, reason, number, took, instances,
                       0 AS is_sub, 0 AS place, case_id, results.run AS run_id, stress
                FROM ({of_cases}) AS results JOIN runs ON runs.id = results.run
                UNION ALL
                SELECT runs.run, attempts.ended, revision, binary, cases.name || '/' || path AS name,
                       sub_results.verdict, message,
                       max(sub_results.number * 2 + (sub_results.verdict <> 'pass')) / 2, sub_results.took,
                       coalesce(lane, instances), 1, place, NULL, NULL, NULL
                FROM sub_results
                JOIN cases ON cases.id = sub_results.case_id JOIN runs ON runs.id = sub_results.run
                JOIN attempts ON attempts.case_id = sub_results.case_id AND attempts.run = sub_results.run
                    AND attempts.stress = sub_results.stress AND attempts.number = sub_results.number
                WHERE cases.repository = ?1 AND instr(cases.name || '/' || path, ?2)
                    AND (instr(?2, '/') OR sub_results.verdict <> 'pass')
                GROUP BY sub_results.case_id, sub_results.run, sub_results.stress, path, lane
            ) ORDER BY ended DESC, binary, name, place LIMIT ?3");
        self.ask(|connection| {
            let mut statement = connection.prepare(&select)?;
            let mut metrics = connection.prepare(
                "SELECT name, value, unit FROM metrics \
                 WHERE case_id = ?1 AND run = ?2 AND stress = ?3 AND number = ?4 ORDER BY place",
            )?;
            let results = statement.query_map(params![repository, name, most], |row| {
                // Without a match for a sub-result, which has NULLs here.
                let attempt: [Option<i64>; 4] =
                    [row.get(12)?, row.get(13)?, row.get(14)?, row.get(7)?];
                let metrics = metrics.query_map(attempt, |row| {
                    Ok(Measurement {
                        name: row.get(0)?,
                        value: row.get(1)?,
                        unit: row.get(2)?,
                    })
                })?;
                Ok(PastResult {
                    run: row.get(0)?,
                    ended: time(row, 1)?,
                    revision: row.get(2)?,
                    binary: row.get(3)?,
                    name: row.get(4)?,
                    verdict: verdict_if_run(row, 5)?,
                    reason: row.get(6)?,
                    attempts: row.get(7)?,
                    took: duration(row, 8)?,
                    instances: list(row, 9)?,
                    is_sub_result: row.get(10)?,
                    metrics: metrics.collect::<rusqlite::Result<_>>()?,
                })
            })?;
            results.collect()
        })
    }

    /// Returns the slowest cases of the last `runs` runs, by the median of their last 10 passes, slowest first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn slow(&self, repository: &str, runs: u32) -> Result<Vec<SlowCase>> {
        let select = "
            SELECT binary, name, took FROM (
                SELECT case_id, took, row_number() OVER (PARTITION BY case_id ORDER BY ended DESC) AS place
                FROM attempts
                WHERE verdict = 'pass' AND took > 0 AND run IN
                    (SELECT id FROM runs WHERE repository = ?1 ORDER BY started DESC LIMIT ?2)
            ) JOIN cases ON cases.id = case_id
            WHERE place <= ?3 ORDER BY case_id, place";
        let mut passes = BTreeMap::<CaseKey, Vec<Duration>>::new();
        self.ask(|connection| {
            let mut statement = connection.prepare(select)?;
            let mut rows = statement.query(params![repository, runs, MEDIAN_OF])?;
            while let Some(row) = rows.next()? {
                let key = CaseKey {
                    binary: row.get(0)?,
                    name: row.get(1)?,
                };
                passes.entry(key).or_default().push(duration(row, 2)?);
            }
            Ok(())
        })?;
        let case = |(key, passes): (CaseKey, Vec<Duration>)| {
            let (newest, runs) = (*passes.first()?, passes.len());
            Some(SlowCase {
                binary: key.binary,
                name: key.name,
                median: median(passes)?,
                newest,
                runs,
            })
        };
        let mut cases: Vec<_> = passes.into_iter().filter_map(case).collect();
        cases.sort_by_key(|case| std::cmp::Reverse(case.median));
        Ok(cases)
    }

    /// Returns the digest of each test binary of a run with its path, by id.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn binary(&self, run: &PastRun, binary: &str) -> Result<Option<(PathBuf, Option<String>)>> {
        let select = "SELECT path, digest FROM run_binaries WHERE run = ?1 AND binary = ?2";
        self.ask(|connection| {
            let found = connection.query_row(select, params![run.id, binary], |row| {
                let path: String = row.get(0)?;
                Ok((PathBuf::from(path), row.get(1)?))
            });
            found.optional()
        })
    }

    /// Returns the target with this label in a run: its name and the hash of its definition.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn target(&self, run: &PastRun, label: &str) -> Result<Option<(String, String)>> {
        let select = "SELECT name, definition FROM run_targets WHERE run = ?1 AND label = ?2";
        self.ask(|connection| {
            let found = connection.query_row(select, params![run.id, label], |row| {
                Ok((row.get(0)?, row.get(1)?))
            });
            found.optional()
        })
    }

    /// Returns the label and the instances of a case's last attempt in a run.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn place(&self, run: &PastRun, case: &CaseKey) -> Result<(Option<String>, Vec<String>)> {
        let select = "SELECT label, instances FROM attempts JOIN cases ON cases.id = case_id \
                      WHERE run = ?1 AND binary = ?2 AND name = ?3 ORDER BY ended DESC LIMIT 1";
        self.ask(|connection| {
            let values = params![run.id, case.binary, case.name];
            let found =
                connection.query_row(select, values, |row| Ok((row.get(0)?, list(row, 1)?)));
            Ok(found.optional()?.unwrap_or_default())
        })
    }

    /// Returns the facts of an instance in a run.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn facts(&self, run: &PastRun, instance: &str) -> Result<BTreeMap<String, String>> {
        let select = "SELECT name, value FROM facts WHERE run = ?1 AND instance = ?2";
        self.ask(|connection| {
            let mut statement = connection.prepare(select)?;
            let facts = statement.query_map(params![run.id, instance], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
            facts.collect()
        })
    }
}

/// A test in one place.
#[derive(Clone, Copy, Debug)]
pub struct TestOn<'a> {
    /// The test's name within its binary.
    pub test: &'a str,
    /// nextest's id of the binary; `None` for any.
    pub binary: Option<&'a str>,
    /// The text in the brackets of its case names, without a repetition; `None` for a test on the host.
    pub label: Option<&'a str>,
}

/// The query for one row for each case and iteration: its last attempt, with the verdict of the case; or, with `number` 0,
/// the end of a case without attempts. `filter` is a condition on `cases`, and on the run by `last.run`.
fn last_results(filter: &str) -> String {
    format!(
        "SELECT case_id, last.run, last.stress, binary, name, coalesce(case_ends.verdict, last.verdict) AS verdict,
                coalesce(case_ends.reason, last.reason) AS reason, max(number) AS number, ended, took, instances
         FROM attempts AS last JOIN cases ON cases.id = case_id
         LEFT JOIN case_ends USING (case_id, run, stress)
         WHERE {filter} GROUP BY case_id, last.run, last.stress
         UNION ALL
         SELECT case_id, last.run, stress, binary, name, verdict, reason, 0, at, 0, ''
         FROM case_ends AS last JOIN cases ON cases.id = case_id
         WHERE {filter} AND NOT EXISTS (
             SELECT 1 FROM attempts
             WHERE case_id = last.case_id AND run = last.run AND stress = last.stress)"
    )
}

/// Reads the expected durations of a repository's cases.
pub(super) fn durations_of_cases(
    connection: &Connection,
    repository: &str,
    into: &mut Durations,
) -> rusqlite::Result<()> {
    let select = "SELECT binary, test, label, seconds FROM cases \
                  WHERE repository = ?1 AND seconds IS NOT NULL AND label IS NOT NULL";
    let mut statement = connection.prepare(select)?;
    let mut rows = statement.query([repository])?;
    while let Some(row) = rows.next()? {
        let text = |column| {
            row.get_ref(column)
                .and_then(|value: ValueRef<'_>| Ok(value.as_str()?))
        };
        into.note(text(0)?, text(1)?, text(2)?, row.get(3)?);
    }
    Ok(())
}

/// Returns the median; of an even number of values the lower one of the two in the middle.
pub(super) fn median(mut values: Vec<Duration>) -> Option<Duration> {
    values.sort();
    let middle = values.len().checked_sub(1)? / 2;
    values.get(middle).copied()
}

/// The condition that a run of the repository `?1` began before another one, which need not be recorded.
fn began_before(run: &str) -> String {
    format!(
        "runs.run <> {run} AND runs.started <= \
         coalesce((SELECT started FROM runs WHERE repository = ?1 AND run = {run}), runs.started)"
    )
}

/// The columns of [`past_run`].
const RUN: &str = "id, run, started, exit_code, revision, dirty, rustc, host, seed, playbook, playbook_hash, options";

fn past_run(row: &Row<'_>) -> rusqlite::Result<PastRun> {
    let options: String = row.get(11)?;
    Ok(PastRun {
        id: row.get(0)?,
        run: row.get(1)?,
        started: time(row, 2)?,
        exit_code: row.get(3)?,
        revision: row.get(4)?,
        dirty: row.get(5)?,
        rustc: row.get(6)?,
        host: row.get(7)?,
        seed: row.get(8)?,
        playbook: row.get(9)?,
        playbook_hash: row.get(10)?,
        options: serde_json::from_str(&options).unwrap_or_default(),
    })
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<SystemTime> {
    Ok(SystemTime::UNIX_EPOCH + duration(row, column)?)
}

fn past_metric(row: &Row<'_>) -> rusqlite::Result<PastMetric> {
    Ok(PastMetric {
        run: row.get(0)?,
        ended: time(row, 1)?,
        value: row.get(2)?,
        unit: row.get(3)?,
    })
}

fn duration(row: &Row<'_>, column: usize) -> rusqlite::Result<Duration> {
    let micros: i64 = row.get(column)?;
    Ok(Duration::from_micros(micros.try_into().unwrap_or(0)))
}

pub(super) fn verdict(row: &Row<'_>, column: usize) -> rusqlite::Result<VerdictKind> {
    let name = row.get_ref(column)?.as_str()?;
    let kind = VerdictKind::ALL
        .into_iter()
        .find(|kind| kind.name() == name);
    Ok(kind.unwrap_or(VerdictKind::Infra))
}

/// Reads the verdict of a case; `None` for a case that has not run.
fn verdict_if_run(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<VerdictKind>> {
    match row.get_ref(column)?.as_str()? {
        NOT_RUN => Ok(None),
        _ => verdict(row, column).map(Some),
    }
}

/// Reads a list that is separated by commas.
pub(super) fn list(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<String>> {
    let text: String = row.get(column)?;
    let parts = text.split(',').filter(|part| !part.is_empty());
    Ok(parts.map(str::to_owned).collect())
}

pub(super) fn rfc_3339<S: serde::Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_rfc3339_seconds(*time))
}

pub(super) fn verdict_text<S: serde::Serializer>(
    verdict: &VerdictKind,
    to: S,
) -> Result<S::Ok, S::Error> {
    verdict.serialize(to)
}

fn verdict_or_not_run<S: serde::Serializer>(
    verdict: &Option<VerdictKind>,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.serialize_str(verdict.map_or(NOT_RUN, VerdictKind::name))
}

pub(super) fn seconds<S: serde::Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(time.as_secs_f64())
}
