//! Removes old runs, except for the passes that metrics and durations of later runs are compared with.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension, Result, TransactionBehavior, params};

use super::write::micros;

/// The number of newest runs with a pass of a case, or a value of its metric, that are kept whatever their age: a test may
/// ask for as many.
const KEPT: u32 = 100;
/// The number of old attempts that a run examines at its end, for each attempt of its own.
const PACE: i64 = 2;

/// Deletes the attempts of a run that no later run compares itself with.
const ATTEMPTS: &str = "
    DELETE FROM attempts WHERE run = ?1 AND NOT (verdict = 'pass' AND expected IS NULL AND (
        ?2 > (SELECT count(*) FROM (
            SELECT DISTINCT newer.run FROM attempts AS newer
            WHERE newer.case_id = attempts.case_id AND newer.ended > attempts.ended
                AND newer.verdict = 'pass' AND newer.expected IS NULL
            ORDER BY newer.run DESC LIMIT ?2))
        OR EXISTS (SELECT 1 FROM metrics AS own
            WHERE own.case_id = attempts.case_id AND own.run = ?1 AND own.stress = attempts.stress
                AND own.number = attempts.number AND ?2 > (SELECT count(*) FROM (
                    SELECT DISTINCT newer.run FROM metrics AS newer JOIN attempts AS pass USING (case_id, run, stress, number)
                    WHERE newer.case_id = own.case_id AND newer.name = own.name AND pass.ended > attempts.ended
                        AND pass.verdict = 'pass' AND pass.expected IS NULL
                    ORDER BY newer.run DESC LIMIT ?2)))))";

/// Prunes runs of a repository that began more than `keep` ago, the oldest first: about twice as many attempts as `run`
/// has, so that the end of a run is not delayed noticeably.
pub(super) fn prune(
    connection: &mut Connection,
    (repository, run): (&str, i64),
    keep: Duration,
) -> Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let limit = micros(now.unwrap_or_default().saturating_sub(keep));
    let count = |connection: &Connection, run: i64| {
        let count = "SELECT count(*) FROM attempts WHERE run = ?1";
        connection.query_row(count, [run], |row| row.get::<_, i64>(0))
    };
    let mut pace = PACE * count(connection, run)?;
    while pace > 0 {
        let oldest = "SELECT id FROM runs WHERE repository = ?1 AND started < ?2 AND NOT pruned AND id <> ?3 \
                      ORDER BY started LIMIT 1";
        let oldest =
            connection.query_row(oldest, params![repository, limit, run], |row| row.get(0));
        let Some(old) = oldest.optional()? else {
            return Ok(());
        };
        pace -= count(connection, old)?.max(1);
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        prune_run(&change, old)?;
        change.commit()?;
    }
    Ok(())
}

fn prune_run(connection: &Connection, run: i64) -> Result<()> {
    connection.execute(ATTEMPTS, params![run, KEPT])?;
    for table in ["sub_results", "metrics"] {
        let delete = format!(
            "DELETE FROM {table} WHERE run = ?1 AND NOT EXISTS (
                SELECT 1 FROM attempts AS kept WHERE kept.case_id = {table}.case_id AND kept.run = {table}.run
                    AND kept.stress = {table}.stress AND kept.number = {table}.number)"
        );
        connection.execute(&delete, [run])?;
    }
    connection.execute("DELETE FROM case_ends WHERE run = ?1", [run])?;
    let empty =
        "DELETE FROM runs WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM attempts WHERE run = ?1)";
    connection.execute(empty, [run])?;
    connection.execute("UPDATE runs SET pruned = 1 WHERE id = ?1", [run])?;
    Ok(())
}
