//! `checks`: what is new on an instance after a test is a finding, and the instance serves no other test.

use serde_json::json;

use super::world::World;
use crate::support::feed::of_kind;

/// The crate on `east` and `west`, with a check of the folder's files and these keys.
fn world(keys: &str) -> World {
    let world = World::new();
    let playbook = world.read("target-test.toml");
    let checks = format!(
        "count = 1\nchecks = [{{ name = \"left\", command = \"cat \\\"$SCRATCH/old\\\"; cat \\\"$SCRATCH/left\\\" 2>/dev/null || true\" }}]\n{keys}"
    );
    world.file(
        "target-test.toml",
        &playbook.replace("count = 2\n", &checks),
    );
    world.file("old", "was there\n");
    world
}

#[test]
fn a_finding_fails_a_test_that_passed() {
    let world = world("");
    let file = world.path("junit.xml");
    let junit = format!("--junit={}", file.display());
    world
        .run(&["checked::", "--on=east", &junit])
        .code(100)
        .line_with(&["FAIL", "leaves_a_finding[east]"])
        .line_with(&["target-test: check `left` on east-0: broken"])
        .line_with(&["2 cases: 0 passed, 1 skipped, 0 failed as expected, 1 failed, 0 infra"])
        .never_says("was there");
    let events = world.events();
    let ended = of_kind(&events, "attempt-ended");
    let found = |event: &&&serde_json::Value| event["result"]["verdict"] == "fail";
    let failed = ended.iter().find(found).expect("a failure");
    assert_eq!(
        failed["result"]["findings"],
        json!(["check `left` on east-0: broken"])
    );
    assert_eq!(failed["result"]["exit"]["code"], 0, "{failed}");
    let dirty = of_kind(&events, "dirty");
    assert_eq!(
        dirty[0]["reason"],
        json!({"unhealthy": "check `left` on east-0: broken"})
    );
    let report = std::fs::read_to_string(file).expect("a report");
    assert!(
        report.contains("name=\"finding\" value=\"check `left` on east-0: broken\""),
        "{report}"
    );
    world.is_clean();
}

#[test]
fn a_finding_can_be_a_warning() {
    let world = world("on-finding = \"warn\"\n");
    world
        .run(&["leaves_a_finding[east]"])
        .code(0)
        .line_with(&["leaves_a_finding[east]: check `left` on east-0: broken"]);
    assert_eq!(of_kind(&world.events(), "dirty").len(), 1);
    world.is_clean();
}

/// It says nothing about the test, which keeps its verdict.
#[test]
fn a_check_that_cannot_be_made_is_told_once() {
    let world = world("");
    let playbook = world.read("target-test.toml");
    let checks = "checks = [{ name = \"hangs\", command = \"sleep 1000\" }]\n";
    let start = playbook.find("checks = ").expect("checks");
    let end = playbook[start..].find('\n').expect("a line") + start + 1;
    world.file(
        "target-test.toml",
        &format!("{}{checks}{}", &playbook[..start], &playbook[end..]),
    );
    let run = world.run(&["verdict::passes[east]"]).code(0);
    assert_eq!(
        run.lines_with(&["check `hangs` cannot be made on east: "]),
        1,
        "{run:?}"
    );
    assert!(of_kind(&world.events(), "dirty").is_empty());
}
