//! `collect`: what a test leaves on its instances is in the run's folder, as far as the instances still answer.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::world::World;
use crate::support::feed::of_kind;

/// The folder of the only attempt on a target, as its events name it, and what was collected.
#[track_caller]
fn collected(world: &World, target: &str) -> (PathBuf, Vec<Value>) {
    let events = world.events();
    let of_target = |event: &&&Value| {
        event["attempt"]["case"]["name"]
            .as_str()
            .is_some_and(|name| name.contains(target))
    };
    let found = of_kind(&events, "collected");
    let found: Vec<_> = found.iter().filter(of_target).collect();
    let [one] = found[..] else {
        panic!("{target}: {events:?}");
    };
    let folder = PathBuf::from(one["folder"].as_str().expect("a folder"));
    (folder, one["artifacts"].as_array().expect("a list").clone())
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn artifacts_of_a_failed_test_are_beside_its_output() {
    let world = World::new();
    let logs = world.path("logs");
    let collect = format!(
        "collect = [{logs:?}, \"{}/deep/app.log\", \"/none/such\", \
         {{ command = \"echo said; echo beside >&2; exit 3\" }}]\n",
        logs.display()
    );
    let playbook = world.read("target-test.toml");
    let playbook = playbook.replace("count = 2\n", &format!("count = 2\n{collect}"));
    world.file("target-test.toml", &playbook);
    let run = world.run(&["leaves_a_log"]).code(100);
    let (folder, all) = collected(&world, "[east]");
    let run = run.says("artifact `/none/such` of east-");
    let shown = format!("target-test: artifacts: {}", folder.display());
    assert!(run.lines_with(&[&shown]) >= 1, "{run:?}");
    // A pass leaves nothing.
    assert_eq!(run.lines_with(&["artifacts: ", "[west]"]), 0, "{run:?}");
    assert_eq!(of_kind(&world.events(), "collected").len(), 1);

    let instance = all[0]["instance"].as_str().expect("an instance");
    let at = folder.join(instance);
    let log = at
        .join(logs.strip_prefix("/").expect("a path"))
        .join("deep/app.log");
    assert_eq!(read(&log), "a line\n");
    assert!(
        !log.with_file_name("link").exists(),
        "links are not followed"
    );
    let said = read(&at.join("echo-said--echo-beside---2--exit-3.txt"));
    assert!(
        said.contains("said\n") && said.contains("beside\n"),
        "{said}"
    );
    assert_eq!(read(&at.join("echo--by-the-test-.txt")), "by the test\n");
    let list = read(&folder.join("collected.txt"));
    for words in [
        "app.log: 7 bytes",
        "/none/such: 0 bytes; ",
        "exit 3: 12 bytes; exit code 3",
    ] {
        assert!(list.contains(words), "{words}: {list}");
    }
    let ended = of_kind(&world.events(), "attempt-ended").len();
    assert_eq!(ended, 2);
    world.is_clean();
}

#[test]
fn artifacts_are_bounded_in_size() {
    let world = World::new();
    let playbook = world.read("target-test.toml");
    let collect = "count = 2\ncollect = [{ command = \"head -c 70000000 /dev/zero\" }]\n";
    world.file(
        "target-test.toml",
        &playbook.replace("count = 2\n", collect),
    );
    world.run(&["leaves_a_log[east]"]).code(100);
    let (folder, all) = collected(&world, "[east]");
    let list = read(&folder.join("collected.txt"));
    for words in [
        "67108864 bytes; cut off",
        "by the test\": 0 bytes; not collected",
    ] {
        assert!(list.contains(words), "{words}: {list}");
    }
    assert_eq!(all.len(), 2, "{all:?}");
}

#[test]
fn artifacts_of_a_pass_are_collected_on_request() {
    let world = World::new();
    let playbook = world.read("target-test.toml");
    let collect =
        "count = 2\ncollect = [{ command = \"echo always\" }]\ncollect-when = \"always\"\n";
    world.file(
        "target-test.toml",
        &playbook.replace("count = 2\n", collect),
    );
    let file = world.path("junit.xml");
    world
        .run(&["leaves_a_log[west]", &format!("--junit={}", file.display())])
        .code(0);
    let (folder, all) = collected(&world, "[west]");
    // What the test names is for failures.
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(read(&file).contains(&format!(
        "name=\"artifacts\" value=\"{}\"",
        folder.display()
    )));
}

/// The verdict stays infra, and the folder says why it is empty.
#[test]
fn an_instance_that_does_not_answer_is_told() {
    let world = World::on_machines(
        "[[targets]]\nname = \"good\"\nplatform = \"command\"\nexec = \"./exec\"\n\
         collect = [\"/var/log\"]\n",
    );
    world.program("up", "echo '{\"host\": \"box\"}'\n");
    world.program(
        "exec",
        "[ ! -e dead ] || { echo 'no route to box' >&2; exit 1; }\nexec sh -c \"$1\"\n",
    );
    world.run(&["leaves_a_log"]).code(69).says("artifacts: ");
    let (folder, all) = collected(&world, "[good]");
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(read(&folder.join("collected.txt")).contains("/var/log: 0 bytes; "));
    world.is_clean();
}
