//! Runs are written, and read back.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use target_fixtures::wire::{Measurement, SubResult, VerdictKind};

use super::*;
use crate::{
    aggregate::Aggregator,
    case::{
        CaseInfo, RunsOn,
        reason::{ExclusionReason, NotRunReason, SkipReason},
        verdict::Verdict,
    },
    run_event::{Attempt, AttemptResult, RunEvent, RunEventKind, RunOrigin, TestBinary},
};

const REPOSITORY: &str = "example.org/widget";

/// A run of `hello`, whose events are written one second apart.
struct Run {
    started: u64,
    events: Vec<RunEvent>,
}

impl Run {
    fn new(started: u64, name: &str, digest: &str) -> Self {
        let origin = RunOrigin {
            repository: Some(REPOSITORY.to_owned()),
            binaries: vec![TestBinary {
                id: "hello::net".to_owned(),
                package: "hello".to_owned(),
                path: "/t/net".into(),
                digest: Some(digest.to_owned()),
            }],
            ..RunOrigin::default()
        };
        let run = Self {
            started,
            events: Vec::new(),
        };
        run.with(RunEventKind::RunStarted {
            run: name.to_owned(),
            tool: "0".to_owned(),
            workspace: "/w".into(),
            playbook: None,
            cases: 1,
            on_host: 0,
            origin: Box::new(origin),
        })
    }

    fn with(mut self, kind: RunEventKind) -> Self {
        let seq = self.events.len() as u64;
        let wall = Duration::from_secs(self.started + seq);
        self.events.push(RunEvent::new(seq, wall, wall, kind));
        self
    }

    fn attempt(self, test: &str, number: u32, verdict: Verdict, millis: u64) -> Self {
        let result = AttemptResult {
            took: Duration::from_millis(millis),
            instances: vec!["x-0".to_owned()],
            ..AttemptResult::new(verdict)
        };
        self.with(RunEventKind::AttemptEnded {
            attempt: attempt(test, number),
            result: Box::new(result),
        })
    }

    fn sub_result(self, test: &str, name: &str, verdict: VerdictKind) -> Self {
        self.with(RunEventKind::SubResult {
            attempt: attempt(test, 1),
            result: SubResult {
                path: vec!["table".to_owned(), name.to_owned()],
                lane: None,
                verdict,
                started: 0,
                took: 5,
                message: Some("why".to_owned()),
            },
        })
    }

    fn metric(self, test: &str, value: f64) -> Self {
        self.with(RunEventKind::Record {
            attempt: attempt(test, 1),
            measurement: Measurement {
                name: "throughput".to_owned(),
                value,
                unit: Some("Mbit/s".to_owned()),
            },
        })
    }

    fn end(self) -> Self {
        self.with(RunEventKind::RunEnded {
            exit_code: 0,
            interrupted: false,
        })
    }

    fn write(&self, path: &Path) -> Result<(), String> {
        self.write_by(HistoryWriter::new(path))
    }

    fn write_by(&self, mut writer: HistoryWriter) -> Result<(), String> {
        let mut events = self.events.iter();
        events
            .try_for_each(|event| writer.ingest(event))
            .and_then(|()| writer.finish())
            .map_err(|error| error.to_string())
    }
}

fn attempt(test: &str, number: u32) -> Attempt {
    let runs_on = RunsOn::Target {
        name: "x".into(),
        label: "x".into(),
    };
    let case = CaseInfo::new("hello::net", test, runs_on, None, None);
    Attempt {
        number,
        ..Attempt::first(&Arc::new(case))
    }
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("history.sqlite");
    (folder, path)
}

fn open(path: &Path) -> History {
    History::open(path).expect("read").expect("a history")
}

/// Everything in the database, to see that nothing changes.
fn dump(path: &Path) -> Vec<String> {
    let history = open(path);
    let tables = [
        "runs",
        "cases",
        "attempts",
        "sub_results",
        "metrics",
        "facts",
    ];
    let all = tables.map(|table| {
        let mut statement = history
            .connection
            .prepare(&format!("SELECT * FROM {table}"));
        let statement = statement.as_mut().expect("a table");
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            let cells = (0..columns).map(|column| row.get_ref(column));
            Ok(format!("{table} {:?}", cells.collect::<Vec<_>>()))
        });
        rows.expect("rows")
            .map(|row| row.expect("a row"))
            .collect::<Vec<_>>()
    });
    all.concat()
}

#[test]
fn runs_are_written_and_read() {
    let (_folder, path) = folder();
    assert!(History::open(&path).expect("no error").is_none());
    assert!(durations(&path, REPOSITORY).is_empty());
    let first = Run::new(100, "a1", "d1").attempt("smoke", 1, Verdict::Pass, 1000);
    let first = first
        .attempt("gone", 1, Verdict::Fail, 10)
        .metric("smoke", 9.5);
    first.end().write(&path).expect("written");
    let second = Run::new(200, "a2", "d2").metric("smoke", 11.0);
    let second = second.attempt("smoke", 1, Verdict::Fail, 2000);
    let second = second.attempt("smoke", 2, Verdict::Pass, 3000);
    second.write(&path).expect("written");
    let known = durations(&path, REPOSITORY);
    assert_eq!(known.of("hello::net", "smoke", "x"), Some(2.25));
    assert!(durations(&path, "example.org/other").is_empty());

    let history = open(&path);
    let latest = history.run(REPOSITORY, "latest").expect("a run");
    assert_eq!((latest.run.as_str(), latest.exit_code), ("a2", None));
    assert_eq!(
        history.run(REPOSITORY, "a1").expect("a run").exit_code,
        Some(0)
    );
    for (wrong, message) in [
        ("a", "several runs begin with `a`"),
        ("b", "run `b` not found"),
    ] {
        let error = history.run(REPOSITORY, wrong).expect_err(wrong).to_string();
        assert!(error.contains(message), "{error}");
    }
    let key = CaseKey {
        binary: "hello::net".to_owned(),
        name: "smoke[x]".to_owned(),
    };
    let wanted = [key.clone()].into();
    let previous = |run| {
        history
            .previous_cases(REPOSITORY, run, &wanted)
            .expect("read")
    };
    assert!(previous("a1").is_none());
    for later in ["a2", "not written yet"] {
        let (run, cases) = previous(later).expect("a run");
        assert_eq!(run.run, if later == "a2" { "a1" } else { "a2" });
        assert_eq!(cases[&key].verdict, Some(VerdictKind::Pass));
    }
    let of = TestOn {
        test: "smoke",
        binary: None,
        label: Some("x"),
    };
    let metrics = |before| history.passing_metrics(REPOSITORY, &of, "throughput", before, 10);
    // The second value is of an attempt that failed.
    let values: Vec<_> = metrics("now")
        .expect("read")
        .iter()
        .map(|one| one.value)
        .collect();
    assert_eq!(values, [9.5]);
    assert_eq!(metrics("a1").expect("read"), []);
    for (before, expected) in [("now", &[3.0, 1.0][..]), ("a2", &[1.0]), ("a1", &[])] {
        let took = history.passing_durations(REPOSITORY, &of, before, 10);
        let took: Vec<_> = took.expect("read").iter().map(|one| one.value).collect();
        assert_eq!(took, expected, "{before}");
    }
    let slow = history.slow(REPOSITORY, 10).expect("read");
    assert_eq!(
        (slow.len(), slow[0].median.as_secs(), slow[0].runs),
        (1, 1, 2)
    );
    let results = history.results(REPOSITORY, "smoke", 10).expect("read");
    let shown: Vec<_> = results
        .iter()
        .map(|one| (one.run.as_str(), one.attempts))
        .collect();
    assert_eq!(shown, [("a2", 2), ("a1", 1)]);
}

#[test]
fn what_passes_and_fails_is_unstable_and_what_is_mended_is_not() {
    let (_folder, path) = folder();
    let first = Run::new(100, "a1", "same")
        .attempt("mended", 1, Verdict::Pass, 1)
        .attempt("retried", 1, Verdict::Fail, 1)
        .attempt("retried", 2, Verdict::Pass, 1)
        .attempt("broken", 1, Verdict::Fail, 1)
        .sub_result("broken", "stable", VerdictKind::Fail)
        .sub_result("broken", "row", VerdictKind::Pass)
        .attempt("lost", 1, Verdict::Infra("gone".to_owned()), 1);
    first.write(&path).expect("written");
    let second = Run::new(200, "a2", "same")
        .attempt("broken", 1, Verdict::Fail, 1)
        .sub_result("broken", "stable", VerdictKind::Fail)
        .sub_result("broken", "row", VerdictKind::Fail)
        .attempt("lost", 1, Verdict::Pass, 1);
    second.write(&path).expect("written");
    let third = Run::new(300, "a3", "other").attempt("mended", 1, Verdict::Fail, 1);
    third.end().write(&path).expect("written");
    let history = open(&path);
    let unstable = history.unstable(REPOSITORY, 10).expect("read");
    let shown: Vec<_> = unstable
        .iter()
        .map(|one| (one.name.as_str(), one.failed, one.passed))
        .collect();
    assert_eq!(shown, [("broken[x]/table/row", 1, 1), ("retried[x]", 1, 1)]);
    let failure = &unstable[0].last_failures[0];
    assert_eq!(
        (failure.run.as_str(), failure.reason.as_deref()),
        ("a2", Some("why"))
    );
    assert_eq!(failure.instances, ["x-0"]);
    assert_eq!(unstable[0].target.as_deref(), Some("x"));

    let run = |id| history.run(REPOSITORY, id).expect("a run");
    let changes = history.compare(run("a1"), run("a3")).expect("read");
    let names = |changed: &[ChangedCase]| {
        let names = changed.iter().map(|one| one.case.name.clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&changes.newly_failing), ["mended[x]"]);
    let back = history.compare(run("a3"), run("a1")).expect("read");
    assert_eq!(names(&back.fixed), ["mended[x]"]);
    assert_eq!(names(&back.newly_failing), ["broken[x]"]);
}

#[test]
fn a_feed_is_imported_once() {
    let (folder, path) = folder();
    let feed = folder.path().join("feed.jsonl");
    let save = |run: &Run| {
        let lines = run
            .events
            .iter()
            .map(|event| serde_json::to_string(event).expect("JSON"));
        std::fs::write(&feed, lines.collect::<Vec<_>>().join("\n") + "\n{\"torn").expect("a feed");
    };
    let run = || Run::new(100, "a1", "d").attempt("smoke", 1, Verdict::Pass, 10);
    save(&run());
    assert_eq!(import(&path, &feed).expect("imported"), Imported::Added);
    assert_eq!(import(&path, &feed).expect("imported"), Imported::Known);
    assert_eq!(
        open(&path).run(REPOSITORY, "a1").expect("a run").exit_code,
        None
    );
    // The run goes on.
    save(&run().attempt("more", 1, Verdict::Pass, 10).end());
    assert_eq!(import(&path, &feed).expect("imported"), Imported::Added);
    assert_eq!(
        open(&path).run(REPOSITORY, "a1").expect("a run").exit_code,
        Some(0)
    );
    let all = dump(&path);
    assert_eq!(import(&path, &feed).expect("imported"), Imported::Known);
    assert_eq!(dump(&path), all);
    // A run that wrote its own history is known, too.
    Run::new(300, "a2", "d")
        .end()
        .write(&path)
        .expect("written");
    save(&Run::new(300, "a2", "d").end());
    assert_eq!(import(&path, &feed).expect("imported"), Imported::Known);
    std::fs::write(&feed, "{}").expect("a file");
    let error = import(&path, &feed).expect_err("no feed").to_string();
    assert!(error.contains("is not a feed"), "{error}");
}

#[test]
fn two_write_at_once() {
    let (_folder, path) = folder();
    std::thread::scope(|scope| {
        for number in 0..4_u64 {
            let path = &path;
            scope.spawn(move || {
                let mut run = Run::new(100 + number, &format!("r{number}"), "d");
                for test in 0..300 {
                    run = run.attempt(&format!("t{test}"), 1, Verdict::Pass, 10);
                }
                run.end().write(path).expect("written");
            });
        }
    });
    let history = open(&path);
    for number in 0..4 {
        let run = history
            .run(REPOSITORY, &format!("r{number}"))
            .expect("a run");
        assert_eq!(history.cases(&run).expect("read").len(), 300);
    }
}

#[test]
fn a_damaged_file_is_set_aside() {
    let (folder, path) = folder();
    Run::new(1, "a0", "d").end().write(&path).expect("written");
    // Pages are damaged, not only the first one.
    let length = path.metadata().expect("a file").len() as usize;
    for (number, garbage) in [vec![b'x'; 100], [&[0; 0][..], &vec![b'x'; length]].concat()]
        .into_iter()
        .enumerate()
    {
        // Without the log, which has the pages once more.
        for log in ["history.sqlite-wal", "history.sqlite-shm"] {
            let _ = std::fs::remove_file(folder.path().join(log));
        }
        std::fs::write(&path, garbage).expect("damaged");
        assert!(durations(&path, REPOSITORY).is_empty());
        let run = Run::new(100, "a1", "d")
            .attempt("smoke", 1, Verdict::Pass, 10)
            .end();
        let warning = run.write(&path).expect_err("a warning");
        assert!(warning.contains("was damaged, and is now"), "{warning}");
        let aside = std::fs::read_dir(folder.path()).expect("files").flatten();
        let aside = aside.filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.contains("damaged") && !name.ends_with("-wal")
        });
        assert_eq!(aside.count(), number + 1);
        let run = open(&path).run(REPOSITORY, "a1").expect("a run");
        assert_eq!(open(&path).cases(&run).expect("read").len(), 1);
    }
}

#[test]
fn a_locked_file_costs_a_moment_and_one_warning() {
    let (_folder, path) = folder();
    Run::new(1, "a0", "d").end().write(&path).expect("written");
    let other = rusqlite::Connection::open(&path).expect("opened");
    other
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;")
        .expect("locked");
    let mut run = Run::new(100, "a1", "d");
    for test in 0..2000 {
        run = run.attempt(&format!("t{test}"), 1, Verdict::Pass, 10);
    }
    let run = run.end();
    let began = Instant::now();
    let warning = run.write(&path).expect_err("a warning");
    assert!(warning.contains("database is locked"), "{warning}");
    // Far below what 2000 waits would take.
    assert!(began.elapsed() < Duration::from_secs(10));
    drop(other);
    run.write(&path).expect("written");
    let history = open(&path);
    let run = history.run(REPOSITORY, "a1").expect("a run");
    assert_eq!(history.cases(&run).expect("read").len(), 2000);
}

/// A verdict that nextest's settings decide, a planned skip and a case that has not run are results of the run; they are
/// no passes, no failures of a stable case, and not fixed by a later pass.
#[test]
fn results_without_an_attempt_are_read() {
    let (_folder, path) = folder();
    let overruled = |test, verdict| RunEventKind::Overruled {
        attempt: attempt(test, 1),
        verdict,
        reason: "by nextest".to_owned(),
    };
    let case = |test| attempt(test, 1).case;
    let first = Run::new(100, "a1", "same")
        .attempt("leaks", 1, Verdict::Pass, 1)
        .attempt("limited", 1, Verdict::Fail, 1)
        .attempt("flaky", 1, Verdict::Fail, 1)
        .attempt("flaky", 2, Verdict::Pass, 1)
        .with(overruled("leaks", Verdict::Fail))
        .with(overruled("limited", Verdict::Pass))
        .with(overruled("unstarted", Verdict::Fail))
        .with(RunEventKind::FlakyFailed {
            attempt: attempt("flaky", 2),
        })
        .with(RunEventKind::Skipped {
            case: case("unfit"),
            reason: SkipReason::Plan(ExclusionReason::Roles),
        })
        .with(RunEventKind::NotRun {
            case: case("late"),
            reason: NotRunReason::FailFast,
        });
    first.end().write(&path).expect("written");
    let second = Run::new(200, "a2", "same")
        .attempt("unfit", 1, Verdict::Fail, 1)
        .attempt("late", 1, Verdict::Fail, 1)
        .with(RunEventKind::NotRun {
            case: case("leaks"),
            reason: NotRunReason::Interrupted,
        });
    second.end().write(&path).expect("written");
    let history = open(&path);
    let run = |id| history.run(REPOSITORY, id).expect("a run");
    let cases = history.cases(&run("a1")).expect("read");
    let verdicts: Vec<_> = cases
        .iter()
        .map(|(key, result)| (key.name.as_str(), result.verdict))
        .collect();
    let (fail, pass) = (Some(VerdictKind::Fail), Some(VerdictKind::Pass));
    let expected = [
        ("flaky[x]", fail),
        ("late[x]", None),
        ("leaks[x]", fail),
        ("limited[x]", pass),
        ("unfit[x]", Some(VerdictKind::Skip)),
        ("unstarted[x]", fail),
    ];
    assert_eq!(verdicts, expected);
    let results = history.results(REPOSITORY, "unfit", 10).expect("read");
    let skip = &results[1];
    assert_eq!((skip.verdict, skip.attempts), (Some(VerdictKind::Skip), 0));
    let reason = skip.reason.as_deref().unwrap_or_default();
    assert!(reason.contains("needs roles"), "{reason}");
    let results = history.results(REPOSITORY, "leaks", 10).expect("read");
    let json = serde_json::to_value(&results).expect("JSON");
    assert_eq!(
        (&json[0]["verdict"], &json[1]["reason"]),
        (&"not-run".into(), &"by nextest".into())
    );
    let unstable = history.unstable(REPOSITORY, 10).expect("read");
    let names: Vec<_> = unstable
        .iter()
        .map(|one| (one.name.as_str(), one.rate))
        .collect();
    assert_eq!(names, [("flaky[x]", 0.5)]);
    let changes = history.compare(run("a1"), run("a2")).expect("read");
    assert!(
        changes.newly_failing.is_empty() && changes.fixed.is_empty(),
        "{changes:?}"
    );
}

/// A case is compared with the last run in which it passed or failed, though later runs lack it or could not tell.
#[test]
fn each_case_has_a_last_result_of_its_own() {
    let (_folder, path) = folder();
    let infra = || Verdict::Infra("gone".to_owned());
    let not_run = RunEventKind::NotRun {
        case: attempt("one", 1).case,
        reason: NotRunReason::FailFast,
    };
    let runs = [
        Run::new(100, "a1", "d")
            .attempt("one", 1, Verdict::Pass, 1)
            .attempt("two", 1, Verdict::Fail, 1)
            .attempt("three", 1, infra(), 1),
        Run::new(200, "a2", "d")
            .attempt("two", 1, infra(), 1)
            .attempt("other", 1, Verdict::Pass, 1)
            .with(not_run),
        Run::new(300, "a3", "d").attempt("other", 1, Verdict::Pass, 1),
    ];
    for run in runs {
        run.end().write(&path).expect("written");
    }
    let key = |name: &str| CaseKey {
        binary: "hello::net".to_owned(),
        name: format!("{name}[x]"),
    };
    let wanted = ["one", "two", "three", "new"].map(key).into();
    let previous = open(&path).previous_cases(REPOSITORY, "a4", &wanted);
    let (run, cases) = previous.expect("read").expect("a run");
    assert_eq!(run.run, "a2");
    let verdict = |name: &str| cases.get(&key(name)).map(|result| result.verdict);
    assert_eq!(verdict("one"), Some(Some(VerdictKind::Pass)));
    assert_eq!(verdict("two"), Some(Some(VerdictKind::Fail)));
    assert_eq!(verdict("three"), Some(Some(VerdictKind::Infra)));
    assert_eq!((verdict("new"), verdict("other")), (None, None));
}

#[test]
fn of_many_results_with_one_path_a_failure_is_shown() {
    let (_folder, path) = folder();
    let run = Run::new(100, "a1", "d")
        .sub_result("soak", "play", VerdictKind::Pass)
        .sub_result("soak", "play", VerdictKind::Fail)
        .sub_result("soak", "play", VerdictKind::Pass)
        .attempt("soak", 1, Verdict::Fail, 1);
    run.end().write(&path).expect("written");
    let results = open(&path)
        .results(REPOSITORY, "soak[x]/", 10)
        .expect("read");
    let shown: Vec<_> = results
        .iter()
        .map(|result| (result.attempts, result.verdict))
        .collect();
    assert_eq!(shown, [(1, Some(VerdictKind::Fail))]);
}

/// The feed of a killed run has cases that the run did not get to.
#[test]
fn a_killed_run_is_completed_once_from_its_feed() {
    let (folder, path) = folder();
    let mut run = Run::new(100, "killed", "d");
    for name in ["ended", "started", "waiting"] {
        let case = attempt(name, 1).case;
        run = run.with(RunEventKind::Planned { case });
    }
    run.write(&path).expect("written");
    let run = run
        .attempt("ended", 1, Verdict::Pass, 1)
        .with(RunEventKind::AttemptStarted {
            attempt: attempt("started", 1),
            instances: Vec::new(),
        });
    let lines = run.events.iter().map(|event| {
        let line = serde_json::to_string(event).expect("JSON");
        format!("{line}\n")
    });
    let feed = folder.path().join("feed.jsonl");
    fs_err::write(&feed, lines.collect::<String>() + "{\"torn").expect("written");
    let nowhere = folder.path().join("other.sqlite");
    complete(&nowhere, &feed).expect("nothing to complete");
    assert!(open(&nowhere).run(REPOSITORY, "killed").is_err());
    complete(&path, &feed).expect("completed");
    let completed = dump(&path);
    complete(&path, &feed).expect("complete");
    assert_eq!(dump(&path), completed);
    let results = open(&path).results(REPOSITORY, "[x]", 10).expect("read");
    let mut shown: Vec<_> = results
        .iter()
        .map(|one| (one.name.as_str(), one.verdict, one.reason.as_deref()))
        .collect();
    shown.sort_by_key(|one| one.0);
    let killed = Some("the run was killed");
    assert_eq!(
        shown,
        [
            ("ended[x]", Some(VerdictKind::Pass), None),
            ("started[x]", None, killed),
            ("waiting[x]", None, killed)
        ]
    );
}

/// Old runs are pruned at the pace of new ones: the newest passes of a case, and the newest values of a metric, stay for
/// the tests that compare themselves with them.
#[test]
fn old_runs_are_pruned_except_for_what_is_compared() {
    let (_folder, path) = folder();
    for number in 0..110 {
        let run = Run::new(100 + 10 * number, &format!("old-{number}"), "d");
        let run = run
            .attempt("often", 1, Verdict::Pass, 10)
            .attempt("fails", 1, Verdict::Fail, 10)
            .sub_result("fails", "row", VerdictKind::Fail);
        let run = match number {
            0 => run
                .metric("often", 1.0)
                .attempt("rare", 1, Verdict::Pass, 10),
            1 => run.with(RunEventKind::NotRun {
                case: attempt("rare", 1).case,
                reason: NotRunReason::FailFast,
            }),
            _ => run,
        };
        run.end().write(&path).expect("written");
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    for number in 0..20 {
        let mut run = Run::new(now + 100 * number, &format!("new-{number}"), "d");
        for case in 0..10 {
            run = run.attempt(&format!("other-{case}"), 1, Verdict::Pass, 10);
        }
        let year = Duration::from_secs(365 * 24 * 3600);
        let writer = HistoryWriter::new(&path).pruning(year);
        run.end().write_by(writer).expect("written");
    }
    let history = open(&path);
    let on = |test| TestOn {
        test,
        binary: None,
        label: Some("x"),
    };
    let passes = |test| {
        let passes = history.passing_durations(REPOSITORY, &on(test), "now", 1000);
        let runs = passes.expect("read").into_iter().map(|one| one.run);
        runs.collect::<Vec<_>>()
    };
    let mut kept: Vec<_> = (10..110)
        .rev()
        .map(|number| format!("old-{number}"))
        .collect();
    kept.push("old-0".to_owned());
    assert_eq!(passes("often"), kept);
    assert_eq!(passes("rare"), ["old-0"]);
    assert_eq!(passes("other-7").len(), 20);
    let metrics = history.passing_metrics(REPOSITORY, &on("often"), "throughput", "now", 10);
    assert_eq!(metrics.expect("read").len(), 1);
    let results = |name| history.results(REPOSITORY, name, 1000).expect("read").len();
    assert_eq!(
        (results("fails"), results("fails[x]/"), results("rare")),
        (0, 0, 1)
    );
    assert!(history.run(REPOSITORY, "old-1").is_err());
}
