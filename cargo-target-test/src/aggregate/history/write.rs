//! Writes the events of a run into the history.
//!
//! Must not fail or delay a run: what cannot be written is one warning.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use target_fixtures::wire::{Measurement, SubResult, VerdictKind};

use super::{
    NOT_RUN,
    database::{self, FileIdentity},
    failed, prune,
};
use crate::{
    aggregate::{Aggregator, results::FLAKY},
    case::CaseInfo,
    error::{Error, Result},
    run_event::{Attempt, AttemptResult, RunEvent, RunEventKind, RunOrigin},
    secret::redacted,
};

/// The number of rows that are written at once while a run goes on.
const BATCH: usize = 256;
/// The time limit for other writers; a run may end meanwhile.
const PATIENCE: Duration = Duration::from_millis(250);

/// Writes the events of one run at a time.
pub struct HistoryWriter {
    path: PathBuf,
    connection: Option<Connection>,
    run: Option<StartedRun>,
    rows: Vec<Row>,
    /// The ids of cases in the database.
    cases: HashMap<(Arc<str>, String), i64>,
    /// The next places of sub-results and measurements.
    place: u32,
    /// True if another process held the database for too long.
    is_locked: bool,
    /// The place of a damaged file.
    aside: Option<PathBuf>,
    /// The time for which runs are kept; `None` for ever.
    keep: Option<Duration>,
}

/// The first event of the run.
struct StartedRun {
    id: Option<i64>,
    run: String,
    repository: String,
    started: i64,
    tool: String,
    workspace: String,
    playbook: Option<String>,
    origin: RunOrigin,
}

/// An event that is not written yet.
enum Row {
    Attempt {
        attempt: Attempt,
        ended: i64,
        result: ResultRow,
    },
    /// A verdict that replaces that of an attempt.
    Overruled {
        attempt: Attempt,
        at: i64,
        verdict: VerdictKind,
        reason: String,
    },
    /// The result of a case that its attempts do not show.
    CaseEnd {
        case: Arc<CaseInfo>,
        stress_index: Option<u32>,
        verdict: &'static str,
        reason: String,
        at: i64,
    },
    SubResult {
        attempt: Attempt,
        place: u32,
        result: SubResult,
    },
    Metric {
        attempt: Attempt,
        place: u32,
        metric: Measurement,
    },
    Fact {
        instance: String,
        name: String,
        value: String,
    },
    /// The end of the run; without an exit code if it was killed.
    Ended {
        at: i64,
        exit_code: Option<u8>,
        interrupted: bool,
    },
}

/// The columns of a result: without its output, which may be long.
struct ResultRow {
    verdict: VerdictKind,
    reason: Option<String>,
    expected: Option<String>,
    took: Duration,
    fixtures: Duration,
    waited: Duration,
    instances: String,
}

impl HistoryWriter {
    /// A writer into the database at this path.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            connection: None,
            run: None,
            rows: Vec::new(),
            cases: HashMap::new(),
            place: 0,
            is_locked: false,
            aside: None,
            keep: None,
        }
    }

    /// Prunes runs that are older than `keep` at the end of the run.
    #[must_use]
    pub fn pruning(mut self, keep: Duration) -> Self {
        self.keep = Some(keep);
        self
    }

    fn prune(&mut self) {
        if let (Some(keep), Some(connection), Some(run)) =
            (self.keep, &mut self.connection, &self.run)
            && let Some(id) = run.id
        {
            // What is locked or fails now is left to a later run.
            let _ = prune::prune(connection, (&run.repository, id), keep);
        }
    }

    /// Returns the state of a run that the database has: `Some(true)` if it has ended.
    pub(super) fn knows(&mut self, repository: &str, run: &str) -> Result<Option<bool>> {
        let ended = "SELECT ended IS NOT NULL FROM runs WHERE repository = ?1 AND run = ?2";
        let connection = self.connection(PATIENCE);
        let known = connection.and_then(|connection| {
            let row = connection.query_row(ended, [repository, run], |row| row.get(0));
            row.optional()
        });
        known.map_err(|error| failed("read", &self.path, error))
    }

    /// Removes what the database has of a run.
    pub(super) fn forget(&mut self, repository: &str, run: &str) -> Result<()> {
        let delete = "DELETE FROM runs WHERE repository = ?1 AND run = ?2";
        let connection = self.connection(PATIENCE);
        let deleted =
            connection.and_then(|connection| connection.execute(delete, [repository, run]));
        deleted
            .map(drop)
            .map_err(|error| failed("write", &self.path, error))
    }

    /// Notes that the run was killed, and when it was last heard of.
    pub(super) fn killed(&mut self, at: Duration) {
        self.rows.push(Row::Ended {
            at: micros(at),
            exit_code: None,
            interrupted: false,
        });
    }

    fn connection(&mut self, patience: Duration) -> rusqlite::Result<&mut Connection> {
        let connection = match self.connection.take() {
            Some(connection) => {
                connection.busy_timeout(patience)?;
                connection
            }
            None => database::open_to_write(&self.path, patience)?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Writes what is not written yet. Rows stay if another process holds the database; they are tried again.
    fn write(&mut self, patience: Duration) -> Result<()> {
        if self.run.is_none() {
            return Ok(());
        }
        // A process that held it once may hold it for long.
        let patience = match self.is_locked {
            true => Duration::ZERO,
            false => patience,
        };
        let file = FileIdentity::of(&self.path);
        let mut written = self.try_write(patience);
        if let (Err(error), Some(file)) = (&written, file)
            && database::is_damage(error)
        {
            self.connection = None;
            let aside = database::set_aside(&self.path, file);
            let aside = aside.map_err(|error| failed("rename", &self.path, error))?;
            self.aside = aside.or(self.aside.take());
            written = self.try_write(patience);
        }
        self.is_locked = written.as_ref().is_err_and(database::is_locked);
        written.map_err(|error| failed("write", &self.path, error))
    }

    fn try_write(&mut self, patience: Duration) -> rusqlite::Result<()> {
        if self.connection.is_none() {
            // A new file, or one that replaces a damaged file.
            self.cases.clear();
            if let Some(run) = &mut self.run {
                run.id = None;
            }
        }
        self.connection(patience)?;
        let (Some(connection), Some(run)) = (&mut self.connection, &mut self.run) else {
            return Ok(());
        };
        let known = self.cases.len();
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let id = match run.id {
            Some(id) => id,
            None => run.insert(&change)?,
        };
        let mut into = RunRows {
            connection: &change,
            run,
            id,
            cases: &mut self.cases,
        };
        let inserted = self.rows.iter().try_for_each(|row| into.insert(row));
        match inserted.and_then(|()| change.commit()) {
            Ok(()) => {
                run.id = Some(id);
                self.rows.clear();
                Ok(())
            }
            Err(error) => {
                if self.cases.len() > known {
                    // Their ids were not committed.
                    self.cases.clear();
                }
                Err(error)
            }
        }
    }

    fn row(&mut self, row: Row) -> Result<()> {
        self.rows.push(row);
        match self.rows.len() >= BATCH && !self.is_locked {
            true => self.write_or_keep(PATIENCE),
            false => Ok(()),
        }
    }

    /// Writes. A database that another process has locked is not an error here: the next call tries again.
    fn write_or_keep(&mut self, patience: Duration) -> Result<()> {
        match self.write(patience) {
            Err(_) if self.is_locked => Ok(()),
            written => written,
        }
    }

    fn case_end(
        &mut self,
        case: &Arc<CaseInfo>,
        stress_index: Option<u32>,
        verdict: &'static str,
        reason: &str,
        at: i64,
    ) -> Result<()> {
        self.row(Row::CaseEnd {
            case: Arc::clone(case),
            stress_index,
            verdict,
            reason: reason.to_owned(),
            at,
        })
    }

    fn next_place(&mut self) -> u32 {
        self.place += 1;
        self.place
    }
}

impl Aggregator for HistoryWriter {
    fn ingest(&mut self, event: &RunEvent) -> Result<()> {
        let at = micros(event.wall);
        match &event.kind {
            RunEventKind::RunStarted { .. } => {
                self.run = StartedRun::of(event);
                // The file is opened now, while the run does other things.
                self.write_or_keep(PATIENCE)
            }
            RunEventKind::AttemptEnded { attempt, result } => self.row(Row::Attempt {
                attempt: attempt.clone(),
                ended: at,
                result: ResultRow::of(result),
            }),
            RunEventKind::Overruled {
                attempt,
                verdict,
                reason,
            } if !attempt.case.is_deploy_entry() => self.row(Row::Overruled {
                attempt: attempt.clone(),
                at,
                verdict: verdict.to_wire().0,
                reason: reason.clone(),
            }),
            RunEventKind::FlakyFailed { attempt } if !attempt.case.is_deploy_entry() => {
                let (case, stress_index) = (&attempt.case, attempt.stress_index);
                self.case_end(case, stress_index, VerdictKind::Fail.name(), FLAKY, at)
            }
            RunEventKind::Skipped { case, reason } => {
                let reason = reason.to_string();
                self.case_end(case, None, VerdictKind::Skip.name(), &reason, at)
            }
            RunEventKind::NotRun { case, reason } => {
                self.case_end(case, None, NOT_RUN, &reason.to_string(), at)
            }
            RunEventKind::SubResult { attempt, result } => {
                let place = self.next_place();
                self.row(Row::SubResult {
                    attempt: attempt.clone(),
                    place,
                    result: result.clone(),
                })
            }
            RunEventKind::Record {
                attempt,
                measurement,
            } => {
                let place = self.next_place();
                self.row(Row::Metric {
                    attempt: attempt.clone(),
                    place,
                    metric: measurement.clone(),
                })
            }
            RunEventKind::Facts { instance, facts } => {
                facts.iter().try_for_each(|(name, value)| {
                    self.row(Row::Fact {
                        instance: instance.clone(),
                        name: name.clone(),
                        value: value.clone(),
                    })
                })
            }
            RunEventKind::RunEnded {
                exit_code,
                interrupted,
            } => {
                // Written at the end.
                self.rows.push(Row::Ended {
                    at,
                    exit_code: Some(*exit_code),
                    interrupted: *interrupted,
                });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn idle(&mut self) -> Result<()> {
        match self.rows.is_empty() {
            true => Ok(()),
            false => self.write_or_keep(PATIENCE),
        }
    }

    fn finish(&mut self) -> Result<()> {
        if !self.rows.is_empty() {
            self.write(PATIENCE)?;
            self.prune();
        }
        match &self.aside {
            None => Ok(()),
            Some(aside) => Err(Error::other(format!(
                "`{}` was damaged, and is now `{}`; a new history was begun",
                self.path.display(),
                aside.display()
            ))),
        }
    }
}

impl StartedRun {
    /// The run that an event starts; `None` for another event.
    fn of(event: &RunEvent) -> Option<Self> {
        let RunEventKind::RunStarted {
            run,
            tool,
            workspace,
            playbook,
            origin,
            ..
        } = &event.kind
        else {
            return None;
        };
        let workspace = workspace.display().to_string();
        Some(Self {
            id: None,
            run: run.clone(),
            repository: repository(&event.kind).unwrap_or_default(),
            started: micros(event.wall),
            tool: tool.clone(),
            workspace,
            playbook: playbook.as_ref().map(|path| path.display().to_string()),
            origin: RunOrigin::clone(origin),
        })
    }

    fn insert(&self, connection: &Connection) -> rusqlite::Result<i64> {
        let origin = &self.origin;
        let options = serde_json::Value::from(origin.options.clone()).to_string();
        let insert = "INSERT INTO runs (repository, run, started, tool, workspace, playbook, playbook_hash, revision, \
                      dirty, rustc, host, seed, options) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) \
                      ON CONFLICT DO UPDATE SET started = excluded.started RETURNING id";
        let values = params![
            self.repository,
            self.run,
            self.started,
            self.tool,
            self.workspace,
            self.playbook,
            origin.playbook_hash,
            origin.revision,
            origin.dirty,
            origin.rustc,
            origin.host,
            origin.seed.map(|seed| seed.to_string()),
            redacted(&options),
        ];
        let id = connection.query_row(insert, values, |row| row.get(0))?;
        let insert = "INSERT OR REPLACE INTO run_targets (run, label, name, platform, count, definition) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        for target in &origin.targets {
            let (label, name, platform) = (&target.label, &target.name, &target.platform);
            let values = params![id, label, name, platform, target.count, target.definition];
            connection.prepare_cached(insert)?.execute(values)?;
        }
        let insert = "INSERT OR REPLACE INTO run_binaries (run, binary, path, digest) VALUES (?1, ?2, ?3, ?4)";
        for binary in &origin.binaries {
            let path = binary.path.display().to_string();
            let values = params![id, binary.id, path, binary.digest];
            connection.prepare_cached(insert)?.execute(values)?;
        }
        Ok(id)
    }

    /// The package of a test binary.
    fn package<'a>(&'a self, binary: &'a str) -> &'a str {
        let mut known = self.origin.binaries.iter();
        match known.find(|one| one.id == binary) {
            Some(found) => &found.package,
            None => binary.split("::").next().unwrap_or(binary),
        }
    }
}

/// Returns the repository of a run by its first event: without one, the workspace takes its place.
pub(super) fn repository(started: &RunEventKind) -> Option<String> {
    match started {
        RunEventKind::RunStarted {
            workspace, origin, ..
        } => {
            let known = origin.repository.clone();
            known.or_else(|| Some(workspace.display().to_string()))
        }
        _ => None,
    }
}

impl ResultRow {
    fn of(result: &AttemptResult) -> Self {
        let (verdict, _) = result.verdict.to_wire();
        Self {
            verdict,
            // That of a pass is the expected failure.
            reason: result.reason().filter(|_| verdict != VerdictKind::Pass),
            expected: result.expected.clone(),
            took: result.took,
            fixtures: result.fixtures,
            waited: result.waited,
            instances: result.instances.join(","),
        }
    }
}

/// Inserts the rows of a run.
struct RunRows<'a> {
    connection: &'a Connection,
    run: &'a StartedRun,
    id: i64,
    cases: &'a mut HashMap<(Arc<str>, String), i64>,
}

impl RunRows<'_> {
    fn insert(&mut self, row: &Row) -> rusqlite::Result<()> {
        match row {
            Row::Attempt {
                attempt,
                ended,
                result,
            } => self.attempt(attempt, *ended, result),
            Row::Overruled {
                attempt,
                at,
                verdict,
                reason,
            } => {
                let case = self.case(&attempt.case)?;
                let insert = "INSERT INTO attempts (case_id, run, stress, number, verdict, reason, ended, took, \
                              fixtures, waited, instances) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, 0, '') \
                              ON CONFLICT DO UPDATE SET verdict = excluded.verdict, expected = NULL, \
                              reason = excluded.reason || coalesce(': ' || reason, '')";
                let stress = stress(attempt.stress_index);
                let (verdict, reason) = (verdict.name(), redacted(reason));
                let values = params![case, self.id, stress, attempt.number, verdict, reason, at];
                self.execute(insert, values)
            }
            Row::CaseEnd {
                case,
                stress_index,
                verdict,
                reason,
                at,
            } => {
                let case = self.case(case)?;
                let insert = "INSERT OR REPLACE INTO case_ends (case_id, run, stress, verdict, reason, at) \
                              VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
                let (stress, reason) = (stress(*stress_index), redacted(reason));
                self.execute(insert, params![case, self.id, stress, verdict, reason, at])
            }
            Row::SubResult {
                attempt,
                place,
                result,
            } => {
                let case = self.case(&attempt.case)?;
                let insert = "INSERT OR REPLACE INTO sub_results (case_id, run, stress, number, place, path, lane, \
                              verdict, message, took) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
                let took = i64::try_from(result.took).unwrap_or(i64::MAX);
                let message = result.message.as_deref().map(redacted);
                let (verdict, path) = (result.verdict.name(), result.path.join("/"));
                let values = params![
                    case,
                    self.id,
                    stress(attempt.stress_index),
                    attempt.number,
                    place,
                    redacted(&path),
                    result.lane,
                    verdict,
                    message,
                    took
                ];
                self.execute(insert, values)
            }
            Row::Metric {
                attempt,
                place,
                metric,
            } => {
                let case = self.case(&attempt.case)?;
                let insert = "INSERT OR REPLACE INTO metrics (case_id, run, stress, number, place, name, value, unit) \
                              VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
                let Measurement { name, value, unit } = metric;
                let (stress, number) = (stress(attempt.stress_index), attempt.number);
                let values = params![case, self.id, stress, number, place, name, value, unit];
                self.execute(insert, values)
            }
            Row::Fact {
                instance,
                name,
                value,
            } => {
                let insert = "INSERT OR REPLACE INTO facts (run, instance, name, value) VALUES (?1, ?2, ?3, ?4)";
                self.execute(insert, params![self.id, instance, name, redacted(value)])
            }
            Row::Ended {
                at,
                exit_code,
                interrupted,
            } => {
                let update =
                    "UPDATE runs SET ended = ?2, exit_code = ?3, interrupted = ?4 WHERE id = ?1";
                self.execute(update, params![self.id, at, exit_code, interrupted])
            }
        }
    }

    fn attempt(
        &mut self,
        attempt: &Attempt,
        ended: i64,
        result: &ResultRow,
    ) -> rusqlite::Result<()> {
        let case = self.case(&attempt.case)?;
        let insert = "INSERT OR REPLACE INTO attempts (case_id, run, stress, number, verdict, reason, expected, ended, \
                      took, fixtures, waited, instances) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let values = params![
            case,
            self.id,
            stress(attempt.stress_index),
            attempt.number,
            result.verdict.name(),
            result.reason.as_deref().map(redacted),
            result.expected.as_deref().map(redacted),
            ended,
            micros(result.took),
            micros(result.fixtures),
            micros(result.waited),
            result.instances,
        ];
        self.execute(insert, values)?;
        let is_run = matches!(result.verdict, VerdictKind::Pass | VerdictKind::Fail);
        if is_run && !result.took.is_zero() {
            // Averaged with the earlier value, so that one slow run does not upset the order of the next.
            let update = "UPDATE cases SET seconds = round((coalesce(seconds, ?2) + ?2) / 2, 3) WHERE id = ?1";
            self.execute(update, params![case, result.took.as_secs_f64()])?;
        }
        Ok(())
    }

    /// Returns the id of a case; inserts the case if it is new.
    fn case(&mut self, case: &CaseInfo) -> rusqlite::Result<i64> {
        let key = (Arc::clone(&case.binary_id), case.name.clone());
        if let Some(id) = self.cases.get(&key) {
            return Ok(*id);
        }
        let package = self.run.package(&case.binary_id);
        let (repository, label) = (&self.run.repository, case.runs_on.label());
        let find = "SELECT id FROM cases WHERE repository = ?1 AND package = ?2 AND binary = ?3 AND name = ?4";
        let values = params![repository, package, case.binary_id, case.name];
        let mut statement = self.connection.prepare_cached(find)?;
        let found = statement.query_row(values, |row| row.get(0)).optional()?;
        let id = match found {
            Some(id) => id,
            None => {
                let insert = "INSERT INTO cases (repository, package, binary, name, test, label) \
                              VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
                let (binary, name) = (&case.binary_id, &case.name);
                let values = params![repository, package, binary, name, case.test, label];
                self.execute(insert, values)?;
                self.connection.last_insert_rowid()
            }
        };
        self.cases.insert(key, id);
        Ok(id)
    }

    fn execute(&self, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(sql)?
            .execute(values)
            .map(drop)
    }
}

fn stress(index: Option<u32>) -> i64 {
    index.map_or(-1, i64::from)
}

pub(super) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
