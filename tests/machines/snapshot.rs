//! `reuse = "snapshot"`: every test finds the instance as its recipe left it, and none is made for that.

use super::Lab;
use crate::support::{container::Engine, vm::Images};

const RECIPE: &str = "[recipes.base]\nsteps = [{ run = \"echo prepared >/etc/prepared\" }]\n";

/// `None` if this host cannot do it, which is a failure if `TARGET_TEST_NO_SKIP` is set.
fn here<T>(what: Result<T, String>) -> Option<T> {
    what.map_err(|why| {
        let must = std::env::var_os("TARGET_TEST_NO_SKIP").is_some();
        assert!(!must, "not possible here: {why}");
        eprintln!("skipped, since it is not possible here: {why}");
    })
    .ok()
}

/// One instance serves them all, and another run after them.
fn is_put_back(lab: &Lab) {
    let run = lab.run(&["restored", "--keep-targets"]).code(0);
    let passed = run.lines_with(&["PASS", "restored_"]);
    assert_eq!(passed, 3, "{run:?}");
    run.says("saving a snapshot")
        .line_with(&["instance-seconds: it "])
        .never_says("instances)");
    let again = ["restored_2", "--keep-targets", "--success-output", "final"];
    let again = lab.run(&again).code(0);
    again
        .says("it-0: kept from an earlier run, answers")
        .never_says("recycled");
    lab.run(&["--delete-targets"]).code(0);
}

#[test]
fn a_virtual_machine_is_put_back() {
    let Some(images) = here(Images::build()) else {
        return;
    };
    let target = images.target("it");
    is_put_back(&Lab::new(&format!("{RECIPE}{target}recipe = \"base\"\n")));
}

#[test]
fn a_container_is_put_back() {
    let Some(engine) = here(Engine::start()) else {
        return;
    };
    let target = engine.target("it");
    let lab = Lab::new(&format!("{RECIPE}{target}recipe = \"base\"\n"));
    is_put_back(&lab);
    let pool = std::fs::read_to_string(lab.path("pool/pool.json")).expect("the pool");
    let pool: serde_json::Value = serde_json::from_str(&pool).expect("JSON");
    let label = pool["label"].as_str().expect("a label");
    let filter = format!("label=cargo-target-test={label}");
    assert_eq!(engine.run(&["images", "--quiet", "--filter", &filter]), "");
    // The imported image stays for the next instance, until everything goes.
    let imported = || {
        engine.run(&[
            "images",
            "--format",
            "{{.Tag}}",
            "localhost/cargo-target-test",
        ])
    };
    assert!(imported().contains(label));
    lab.run(&["quick", "--keep-targets"]).code(0);
    lab.run(&["--delete-targets", "--all"]).code(0);
    assert!(!imported().contains(label), "{}", imported());
    assert_eq!(engine.labelled(label), [""; 0]);
}

#[test]
fn a_test_restarts_its_container() {
    let Some(engine) = here(Engine::start()) else {
        return;
    };
    let lab = Lab::new(&format!("{}count = 2\n", engine.target("it")));
    let tests = "test(/^(is_restarted|are_two|quick)\\[/)";
    let run = lab.run(&["-E", tests]).code(0);
    run.line_with(&["PASS", "are_two[it]"])
        .line_with(&["PASS", "is_restarted[it]"])
        .line_with(&["PASS", "quick[it]"]);
}

/// An instance that a run keeps has a state to go back to, whether or not that run needs it.
#[test]
fn a_kept_instance_has_a_state_to_go_back_to() {
    let Some(engine) = here(Engine::start()) else {
        return;
    };
    let target = engine.target("it");
    let lab = Lab::new(&format!("{RECIPE}{target}recipe = \"base\"\n"));
    lab.run(&["quick", "--keep-targets"]).code(0);
    let run = lab.run(&["restored"]).code(0);
    assert_eq!(run.lines_with(&["PASS", "restored_"]), 3, "{run:?}");
    run.line_with(&["instance-seconds: it "])
        .never_says("instances)")
        .never_says("recycled");
}
