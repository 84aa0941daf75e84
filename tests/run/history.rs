//! The history: what runs record, what the verbs say about it, and what a bad file does to a run.

use std::{fs, path::Path};

use serde_json::Value;

use super::world::World;
use crate::support::{Outcome, SmallDisk, feed};

const GOOD: &str = "[[targets]]\nname = \"good\"\nplatform = \"command\"\n";
const BAD: &str = "[[targets]]\nname = \"bad\"\nplatform = \"command\"\n";

#[track_caller]
fn json(run: &Outcome) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"))
}

/// The names in a list of objects.
fn names(list: &Value) -> Vec<&str> {
    let all = list.as_array().expect("a list").iter();
    all.map(|one| one["name"].as_str().expect("a name"))
        .collect()
}

/// The warnings of a run about the history.
fn warnings(run: &Outcome) -> usize {
    let lines = run.stderr.lines();
    lines
        .filter(|line| line.contains("the history is incomplete"))
        .count()
}

/// Cases, attempts and sub-results are recorded; a retried case and an unstable subtest are flaky, each by itself.
#[test]
fn results_of_earlier_runs_are_shown() {
    let world = World::new();
    let history = |args: &[&str]| {
        let args = [args, &["--json"]].concat();
        json(&world.run(&args).code(0))
    };
    world
        .run(&["history"])
        .code(2)
        .says("no run is recorded yet");
    let run = ["flaky[east]", "passes[east]", "fails[east]", "parts::"];
    world.run(&[&run[..], &["--on=east"]].concat()).code(100);
    let flaky = history(&["history", "verdict::flaky"]);
    let [result] = &flaky.as_array().expect("a list")[..] else {
        panic!("{flaky}");
    };
    assert_eq!(
        (&result["verdict"], &result["attempts"]),
        (&"pass".into(), &3.into())
    );
    assert_eq!(result["name"], "verdict::flaky[east]");
    let failed = history(&["history", "verdict::fails"]);
    assert_eq!(failed[0]["reason"], "on purpose", "{failed}");
    let unstable = history(&["flaky"]);
    assert!(
        names(&unstable).contains(&"verdict::flaky[east]"),
        "{unstable}"
    );
    assert!(
        !names(&unstable).contains(&"verdict::fails[east]"),
        "{unstable}"
    );
    let of_flaky = unstable.as_array().expect("a list");
    let of_flaky = of_flaky
        .iter()
        .find(|one| one["name"] == "verdict::flaky[east]");
    let of_flaky = of_flaky.expect("it is flaky");
    assert_eq!(
        (&of_flaky["failed"], &of_flaky["passed"]),
        (&2.into(), &1.into())
    );
    assert_eq!(of_flaky["target"], "east");
    let last = &of_flaky["last-failures"][0];
    assert!(
        last["instances"][0]
            .as_str()
            .is_some_and(|name| name.starts_with("east-")),
        "{last}"
    );
    // A sub-result is a row of its own.
    let parts = history(&["history", "parts::has_subtests[east]/outer/"]);
    assert!(
        names(&parts).contains(&"parts::has_subtests[east]/outer/adds"),
        "{parts}"
    );
    world.run(&["flaky"]).code(0).says("66.7 %");
    let slow = history(&["slow", "--limit=1"]);
    assert_eq!(slow.as_array().map(Vec::len), Some(1), "{slow}");
    world
        .run(&["history", "fails[east]"])
        .code(0)
        .says("verdict::fails[east]");
    // The verbs need nothing of the playbook but the path of the history.
    for end in ["", "-wal", "-shm"] {
        let of_pool = world.path(&format!("pool/history.sqlite{end}"));
        let moved = fs::rename(of_pool, world.path(&format!("moved.sqlite{end}")));
        assert!(moved.is_ok() || !end.is_empty(), "{moved:?}");
    }
    world.file(
        "target-test.toml",
        "targts = []\n[history]\npath = \"moved.sqlite\"\n",
    );
    for verb in [
        &["history", "fails[east]"][..],
        &["flaky"],
        &["slow"],
        &["repro", "latest", "fails[east]"],
        &["report", &world.folder().display().to_string()],
    ] {
        let said = world.run(verb).code(0);
        said.line_with(&["only its path of the history is used", "`targts`"]);
    }
}

/// `repro` prints a command that runs the case again, and warns of what differs now.
#[test]
fn a_case_can_be_reproduced() {
    let world = World::new();
    world
        .run(&["quick", "fails[east]", "--order=random", "--seed=7"])
        .code(100);
    let repro = world.run(&["repro", "latest", "fails[east]"]).code(0);
    for line in [
        "# playbook: ",
        "# rustc: rustc ",
        "# seed: 7",
        "# test binary: ",
        "# east-",
    ] {
        assert!(repro.stdout.contains(line), "{line}: {repro:?}");
    }
    let command = repro.stdout.lines().last().expect("a command");
    assert!(
        command.starts_with("cargo target-test --playbook "),
        "{command}"
    );
    assert!(!repro.stderr.contains("the playbook differs"), "{repro:?}");
    let words = shlex::split(command).expect("words");
    let words: Vec<_> = words[2..].iter().map(String::as_str).collect();
    let again = world.run(&words).code(100);
    again.says("1 case: 0 passed");
    let playbook = world.read("target-test.toml");
    world.file("target-test.toml", &format!("{playbook}\n# changed\n"));
    let repro = world
        .run(&["repro", "latest", "verdict::fails[east]"])
        .code(0);
    repro.says("the playbook differs");
    world
        .run(&["repro", "nothing", "fails"])
        .code(2)
        .says("run `nothing` not found");
}

/// Failed and infra cases of a run are run again, exactly these; a case that is gone is named.
#[test]
fn cases_are_run_again_by_their_verdicts() {
    let world = World::on_machines(&format!("{GOOD}{BAD}"));
    world.run(&["verdict::passes", "verdict::fails["]).code(100);
    let failed = world
        .run(&["list", "--rerun-cases=failed", "--json"])
        .code(0);
    assert!(failed.stdout.contains("verdict::fails[good]"), "{failed:?}");
    let run = world.run(&["--rerun-cases=failed"]).code(100);
    run.says("1 case: 0 passed");
    let events = world.events();
    let ended = feed::of_kind(&events, "attempt-ended");
    let mut names: Vec<_> = ended
        .iter()
        .map(|event| &event["attempt"]["case"]["name"])
        .collect();
    names.dedup();
    assert_eq!(names, ["verdict::fails[good]"]);
    // The newest run had no infra.
    let none = world.run(&["--rerun-cases=infra"]).code(4);
    let none = none.says("has no case that was infra");
    drop(none);
    let runs = json(&world.run(&["history", "passes[good]", "--json"]).code(0));
    let first = runs[0]["run"].as_str().expect("an id");
    let of = format!("--of={first}");
    let run = world.run(&["--rerun-cases=infra", &of]).code(69);
    run.says("2 infra");
    let playbook = world
        .read("target-test.toml")
        .replace("name = \"bad\"", "name = \"other\"");
    world.file("target-test.toml", &playbook);
    let gone = world.run(&["list", "--rerun-cases=infra", &of]);
    gone.says("`verdict::passes[bad]` of run ");
}

/// The feed of a run on another machine is added once.
#[test]
fn feeds_are_imported_once() {
    let world = World::new();
    world.run(&["passes[east]"]).code(0);
    let folder = feed::folder(&world.path("target-test.toml"));
    let feed = folder.join("feed.jsonl");
    let other = world.path("other.sqlite");
    let run = |args: &[&str]| {
        let tool = world.tool(args).env("TARGET_TEST_HISTORY", &other);
        tool.run().code(0)
    };
    for said in ["1 new, 0 known", "0 new, 1 known"] {
        run(&["history", "import", &feed.display().to_string()]).says(said);
    }
    run(&["history", "import", &folder.display().to_string()]).says("0 new, 1 known");
    // A job that was killed early has an empty feed; the others count.
    let empty = world.file("empty.jsonl", "").display().to_string();
    let all = [
        "history",
        "import",
        "nowhere",
        &empty,
        &feed.display().to_string(),
    ];
    let new = world.path("new.sqlite");
    let tool = world.tool(&all).env("TARGET_TEST_HISTORY", new);
    tool.run()
        .code(2)
        .says("imported: 1 new, 0 known")
        .says("warning: failed to open file `nowhere`")
        .says("empty.jsonl` is not a feed: no run starts in it");
    let there = json(&run(&["history", "passes", "--json"]));
    let here = json(&world.run(&["history", "passes", "--json"]).code(0));
    assert_eq!(there, here);
    assert_eq!(here.as_array().map(Vec::len), Some(1));
}

/// The verdicts and the exit code of a run with this history are what they are without one; it warns once.
#[track_caller]
fn warns_once(world: &World, history: &Path, message: &str) {
    let tool = world.tool(&["passes[east]", "fails[east]"]);
    let run = tool.env("TARGET_TEST_HISTORY", history).run().code(100);
    assert_eq!(warnings(&run), 1, "{message}: {run:?}");
    let run = run.says(message);
    run.says("2 cases: 1 passed, 0 skipped, 0 failed as expected, 1 failed");
}

/// A file that is damaged, locked or read-only, and a full disk, cost one warning.
#[test]
fn a_bad_history_costs_one_warning() {
    let world = World::new();
    let damaged = world.file(
        "damaged.sqlite",
        "nothing that SQLite reads, but long enough for it",
    );
    warns_once(&world, &damaged, "was damaged, and is now `");
    let aside = fs::read_dir(world.path("")).expect("files").flatten();
    let aside = aside.filter(|entry| entry.file_name().to_string_lossy().contains(".damaged-"));
    assert_eq!(aside.count(), 1);
    // The new file serves.
    let tool = world
        .tool(&["passes[east]"])
        .env("TARGET_TEST_HISTORY", &damaged);
    assert_eq!(warnings(&tool.run().code(0)), 0);

    let other = rusqlite::Connection::open(&damaged).expect("opened");
    other
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;")
        .expect("locked");
    warns_once(&world, &damaged, "database is locked");
    drop(other);

    warns_once(
        &world,
        Path::new("/proc/history.sqlite"),
        "/proc/history.sqlite`",
    );

    let folder = world.path("small");
    fs::create_dir(&folder).expect("a folder");
    let Some(disk) = SmallDisk::mount(&folder, "1m") else {
        return;
    };
    let history = disk.path().join("history.sqlite");
    let tool = world
        .tool(&["passes[east]"])
        .env("TARGET_TEST_HISTORY", &history);
    assert_eq!(warnings(&tool.run().code(0)), 0);
    disk.fill();
    warns_once(&world, &history, "full");
    disk.empty();
    let tool = world
        .tool(&["passes[east]"])
        .env("TARGET_TEST_HISTORY", &history);
    assert_eq!(warnings(&tool.run().code(0)), 0);
    disk.make_read_only();
    warns_once(&world, &history, "small/history.sqlite`: ");
}

/// Two runs at once on one history, and the comparison of two runs.
#[test]
fn two_runs_share_one_history() {
    let world = World::new();
    let runs = ["east", "west"].map(|on| {
        let on = format!("--on={on}");
        world
            .tool(&["verdict::passes", "verdict::flaky", &on, "-j1"])
            .start()
    });
    for run in runs {
        let run = run.wait().code(0);
        assert_eq!(warnings(&run), 0, "{run:?}");
    }
    let results = json(&world.run(&["history", "verdict::", "--json"]).code(0));
    let mut shown = names(&results);
    shown.sort_unstable();
    let expected = ["flaky[east]", "flaky[west]", "passes[east]", "passes[west]"];
    assert_eq!(shown, expected.map(|name| format!("verdict::{name}")));
    let runs = results.as_array().expect("a list").iter();
    let runs: std::collections::BTreeSet<_> = runs.filter_map(|one| one["run"].as_str()).collect();
    let [one, two] = runs.into_iter().collect::<Vec<_>>()[..] else {
        panic!("{results}");
    };
    let same = world
        .run(&["report", "--compare", one, two, "--json"])
        .code(0);
    world
        .run(&["report", "--compare", one, two])
        .code(0)
        .says("no case is newly failing, fixed or slower");
    let same = json(&same);
    assert_eq!(same["newly-failing"], Value::Array(Vec::new()), "{same}");
}
