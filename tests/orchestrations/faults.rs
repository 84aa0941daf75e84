//! Faults on real machines: caused, seen, and taken back, whatever becomes of the test.

use crate::support::{Project, container::Engine, feed, here, repository, vm};

const FAULTS: &str = include_str!("../crates/orchestrations/faults.rs");

const FAULTY: &str = r#"
test_name = "faulty"
duration = "1s"

[[events]]
name = "pause_target"
params = { seconds = 0.3 }

[[events]]
name = "jump_clock"
at_startup = false
at_teardown = true
params = { seconds = 0.1, by = 60 }
"#;

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
        .file("descriptions/faulty.toml", FAULTY)
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
        "--include-ignored",
    ])
    .code(0)
    .line_with(&["6 cases: 6 passed", "0 infra"]);
    let events = feed::events(&project.path("target-test.toml"));
    let deployed = feed::of_kind(&events, "deploy-ended");
    let is_kept = |event: &&serde_json::Value| event["reused"] == true;
    assert!(deployed.iter().all(is_kept), "{deployed:?}");
    project.run(&["--delete-targets"]).code(0);
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
        .line_with(&["6 cases: 0 passed, 6 skipped"]);
    let project = project.playbook(&format!("{target}faults = [\"pause\", \"cloak\"]\n"));
    project.run(&[]).code(78).says(
        "unknown value `cloak`, expected one of `pause`, `power-cut`, `clock`, `disk`, `memory`",
    );
    let project = project.playbook(&format!("{target}faults = [\"pause\"]\n"));
    project
        .run(&["pauses"])
        .code(69)
        .says("platform `local` cannot pause `here-0`");
}

/// A container can be paused; its clock is that of this host.
#[test]
fn a_container_can_be_paused() {
    let Some(engine) = here(Engine::start()) else {
        return;
    };
    let project = project("faulty-container", &engine.target("box"));
    project
        .run(&["pauses", "jumps", "presses"])
        .line_with(&["PASS", "pauses[box]"])
        .says("fault `clock` is not allowed on target `box` of platform `container`")
        .says("has no limit: set `memory`");
    project.run(&["--delete-targets"]).code(0);
}
