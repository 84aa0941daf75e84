//! Metrics: recorded by tests, and compared with what earlier runs recorded.

use std::fs;

use regex::Regex;

use crate::{run::world::World, support::Outcome};

const ONE: &str = "[[targets]]\nname = \"east\"\nplatform = \"local\"\n";

fn world() -> World {
    let tests = include_str!("crates/metrics/metrics.rs");
    let world = World::of("metrics", "\n[workspace]\n", &[("tests/metrics.rs", tests)]);
    world.file("target-test.toml", ONE);
    world
}

/// Runs tests that measure a value; what they print is shown.
fn measured(world: &World, value: &str, tests: &[&str]) -> Outcome {
    let arguments = [&["--success-output=final", "--"], tests].concat();
    world.tool(&arguments).env("VALUE", value).run()
}

#[test]
fn a_value_is_compared_with_earlier_runs() {
    let world = world();
    let tests = ["rate", "looks", "on_host"];
    for (earlier, value) in ["900", "940", "950"].into_iter().enumerate() {
        measured(&world, value, &tests).code(0).says(&format!(
            "metric throughput: not compared: 3 earlier passing runs are needed, {earlier} found"
        ));
    }
    let worse = measured(&world, "700", &tests[..1]).code(100);
    let said = "metric throughput: 700 Mbit/s is less than 846 Mbit/s: the median of the last 3 passing runs is \
                940 Mbit/s, less 10 %";
    let worse = worse.says(said);
    let named = Regex::new(r"    run \S+: (\d+) Mbit/s").expect("a pattern");
    let named = named
        .captures_iter(&worse.stderr)
        .map(|found| found[1].to_owned());
    let mut named: Vec<_> = named.collect();
    named.truncate(3);
    assert_eq!(named, ["950", "940", "900"], "the newest first");
    // A run that failed the test is no measure. 860 is within 10 % of 940.
    let last = measured(&world, "860", &tests).code(0);
    assert_eq!(
        world.read("looks"),
        "([950.0, 940.0, 900.0], 3, 0)",
        "{last:?}"
    );
    assert_eq!(world.read("on-host"), "(3, 3)", "{last:?}");
    let events = world.events();
    let recorded = events.iter().filter(|event| event["event"] == "record");
    let recorded: Vec<_> = recorded
        .map(|event| {
            (
                event["name"].as_str(),
                event["value"].as_f64(),
                event["unit"].as_str(),
            )
        })
        .collect();
    assert!(
        recorded.contains(&(Some("throughput"), Some(860.0), Some("Mbit/s"))),
        "{recorded:?}"
    );
    assert!(
        recorded.contains(&(Some("other"), Some(1.0), None)),
        "{recorded:?}"
    );
    assert!(
        recorded.contains(&(Some("parse"), Some(860.0), Some("ms"))),
        "{recorded:?}"
    );
    let json = world.run(&["history", "rate", "--json"]).code(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let throughput = serde_json::json!({"name": "throughput", "value": 860.0, "unit": "Mbit/s"});
    assert_eq!(json[0]["metrics"][1], throughput, "{json:#}");
    let host = measured(&world, "2000", &tests[2..]).code(100);
    host.says("metric parse: 2000 ms is more than 1012 ms: the median of the last 4 passing runs is 920 ms, plus 10 %");
    world.is_clean();
}

/// Whatever becomes of the history, a test passes as if there were no earlier run.
#[test]
fn a_damaged_history_fails_no_test() {
    let world = world();
    let tests = ["rate", "no_number"];
    let history = world.path("history.db");
    let run = || {
        let arguments = ["--success-output=final", "--", tests[0], tests[1]];
        let tool = world.tool(&arguments).env("VALUE", "940");
        tool.env("TARGET_TEST_HISTORY", &history).run()
    };
    run().code(0);
    fs::write(
        &history,
        "not a database, but long enough to look like one: ".repeat(100),
    )
    .expect("written");
    for beside in ["db-wal", "db-shm"] {
        let _ = fs::remove_file(history.with_extension(beside));
    }
    let damaged = run().code(0);
    let damaged = damaged.says("metric throughput: 940 Mbit/s");
    assert_eq!(
        damaged.lines_with(&["warning: ", "history"]),
        1,
        "{damaged:?}"
    );
    fs::remove_file(&history).expect("removed");
    run()
        .code(0)
        .says("metric throughput: not compared: 3 earlier passing runs are needed, 0 found");
    world.is_clean();
}

/// Plain `cargo test` is no run.
#[test]
fn without_a_run_nothing_is_compared() {
    let world = world();
    let arguments = [
        "test",
        "--offline",
        "--",
        "--exact",
        "rate",
        "on_host",
        "--nocapture",
    ];
    let tests = world.cargo(&arguments).env("VALUE", "940").run().code(0);
    assert_eq!(
        tests.lines_with(&["no earlier values: this is not a run of `cargo target-test`"]),
        1,
        "{tests:?}"
    );
    tests.says("test result: ok. 2 passed");
}
