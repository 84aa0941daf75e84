//! Faults on real machines: caused, seen, and taken back, whatever becomes of the test.

use crate::support::{Project, container::Engine, feed, here, repository, vm};

const FAULTS: &str = include_str!("../crates/orchestrations/faults.rs");

/// All ready-made events of a machine, one after the other.
const FAULTY: &str = r#"{
    "test_name": "faulty",
    "duration": "1s",
    "grace": "2m",
    "events": [
        { "name": "pause_target", "params": { "seconds": 0.3 } },
        { "name": "mounts", "at_startup": false, "at_teardown": true },
        { "name": "fill_disk", "at_startup": false, "at_teardown": true,
          "params": { "seconds": 0.1, "folder": "/tmp/filled" } },
        { "name": "press_memory", "at_startup": false, "at_teardown": true,
          "params": { "seconds": 0.1, "mebibytes": 10 } },
        { "name": "jump_clock", "at_startup": false, "at_teardown": true, "params": { "seconds": 0.1, "by": 60 } },
        { "name": "drift_clock", "at_startup": false, "at_teardown": true,
          "params": { "seconds": 0.1, "every": 10, "gains": true } },
        { "name": "notes_boot", "at_startup": false, "at_teardown": true },
        { "name": "cut_power", "at_startup": false, "at_teardown": true },
        { "name": "is_booted_again", "at_startup": false, "at_teardown": true },
        { "name": "cut_link", "at_startup": false, "at_teardown": true, "params": { "seconds": 0.1 } }
    ]
}"#;

fn project(name: &str, playbook: &str) -> Project {
    let fixtures = repository().join("target-fixtures");
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [dev-dependencies]\ntarget-fixtures = {{ path = {fixtures:?} }}\n\n\
         [profile.dev]\ndebug = false\n\n[workspace]\n"
    );
    Project::new(name)
        .file("Cargo.toml", &manifest)
        .file("tests/faults.rs", FAULTS)
        .file("descriptions/faulty.json", FAULTY)
        .playbook(&format!(
            "{playbook}\n[orchestration]\ndescriptions = \"descriptions\"\n"
        ))
}

/// A virtual machine has every fault, survives all of them, and serves on after a test that died under one.
#[test]
fn a_virtual_machine_has_all_faults() {
    let Some(images) = here(vm::Images::build()) else {
        return;
    };
    let project = project("faulty-vm", &images.target("it"));
    let run = |arguments: &[&str]| project.tool(arguments).patience(vm::PATIENCE).run();
    let first = run(&["dies_paused", "--keep-targets"]);
    first
        .code(100)
        .line_with(&["1 case: ", "1 failed", "0 infra"]);
    run(&[
        "--keep-targets",
        "--",
        "--skip",
        "dies_paused",
        "--skip",
        "stays_full",
        "--include-ignored",
    ])
    .code(0)
    .line_with(&["6 cases: 5 passed, 1 skipped", "0 infra"])
    .says("fault `link-cut` needs a network of an environment: target `it` has only its management link");
    let events = feed::events(&project.path("target-test.toml"));
    let results = feed::results(&events, "faulty");
    let passed = [
        "pause_target",
        "mounts",
        "fill_disk",
        "press_memory",
        "jump_clock",
        "drift_clock",
        "notes_boot",
        "cut_power",
        "is_booted_again",
    ];
    let passed = passed.map(|event| format!("{event}/pass"));
    assert_eq!(
        results,
        [&passed[..], &["cut_link/skip".to_owned()]].concat()
    );
    let deployed = feed::of_kind(&events, "deploy-ended");
    let is_kept = |event: &&serde_json::Value| event["reused"] == true;
    assert!(deployed.iter().all(is_kept), "{deployed:?}");
    run(&["stays_full"]).code(0);
    let events = feed::events(&project.path("target-test.toml"));
    let dirty = serde_json::json!(feed::of_kind(&events, "dirty")).to_string();
    assert!(
        dirty.contains("failed to end fault `disk` of `it-0`"),
        "{dirty}"
    );
    project.run(&["targets"]).code(0).says("no targets");
}

/// This machine has none, unless the playbook says so: then the test runs.
#[test]
fn this_machine_has_no_faults() {
    let target = "[[targets]]\nname = \"here\"\nplatform = \"local\"\ncount = 1\n";
    let project = project("faulty-here", target);
    project
        .run(&[])
        .code(0)
        .says("fault `pause` is not allowed on target `here` of platform `local`")
        .line_with(&["7 cases: 0 passed, 7 skipped"]);
    // An orchestration says which of its events did not run.
    project.run(&["--run-orch", "faulty"]).line_with(&[
        "faulty: pause_target: 1 of 1 runs skipped: fault `pause` is not allowed on target `here`",
    ]);
    let project = project.playbook(&format!("{target}faults = [\"pause\", \"cloak\"]\n"));
    project.run(&[]).code(78).says(
        "unknown value `cloak`, expected one of `pause`, `power-cut`, `clock`, `disk`, `memory`, `link-cut`, `link-delay`, `link-loss`",
    );
    let project = project.playbook(&format!("{target}faults = [\"pause\"]\n"));
    project
        .run(&["pauses"])
        .code(69)
        .says("platform `local` cannot pause `here-0`");
}

/// A container can be paused, and runs out of disk and memory within limits of its own; its clock is that of this host.
#[test]
fn a_container_has_the_faults_of_its_own_limits() {
    let Some(engine) = here(Engine::start()) else {
        return;
    };
    let limits = "memory = \"64 MiB\"\nargs = [\"--tmpfs=/tmp/small:size=4m\"]\n";
    let playbook = format!("{}{}{limits}", engine.target("bare"), engine.target("box"));
    let project = project("faulty-container", &playbook);
    project
        .run(&["pauses", "jumps", "presses", "fills", "cuts_its_link"])
        .line_with(&["PASS", "pauses[box]"])
        .line_with(&["PASS", "presses[box]"])
        .line_with(&["PASS", "fills[box]"])
        .line_with(&["FAIL", "fills[bare]"])
        .says("fault `clock` is not allowed on target `box` of platform `container`")
        .says("fault `link-cut` needs a network of an environment: target `box` has only its management link")
        .says("`bare-0` has no limit: set `memory`")
        .says("the file system is that of this host");
    project.run(&["--delete-targets"]).code(0);
}
