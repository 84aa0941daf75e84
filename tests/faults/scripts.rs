//! Deploy scripts that fail, each in its own way, beside one that works.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{Lab, UP, target};

#[test]
fn every_failure_names_script_and_instance_and_spares_the_others() {
    let lab = Lab::new(1);
    let cases = [
        (
            "code",
            "echo no disk for it >&2; exit 3",
            "exited with code 3: no disk for it",
        ),
        ("garbage", "echo hello", "`./garbage` for `garbage-0`"),
        ("silent", "exit 0", "`./silent` for `silent-0`"),
        ("wrong", "echo '{\"host\": 7}'", "`./wrong` for `wrong-0`"),
        (
            "hangs",
            "sleep 1000",
            "did not end within 1s and was killed",
        ),
    ];
    let mut playbook = target("alpha", 1, "");
    for (name, line, _) in cases {
        lab.script(
            name,
            &UP.replace("echo '{", &format!("{line}\nexit\necho '{{")),
        );
        let more = "timeout = \"1s\"";
        playbook += &target(name, 1, more).replace("./up", &format!("./{name}"));
    }
    lab.playbook(&playbook);
    let run = lab.run(&["quick"]).code(69);
    let run = run.line_with(&["PASS", "quick[alpha]"]);
    for (name, _, says) in cases {
        let entry = format!("infra: quick[{name}]: {name}-0 could not be deployed");
        assert!(run.lines_with(&[&entry]) == 1, "{name}: {run:?}");
        assert!(run.lines_with(&[says]) >= 1, "{name}: {run:?}");
    }
    assert!(lab.ledger().is_empty(), "{:?}", lab.ledger());
}

#[test]
fn a_script_that_cannot_start_is_the_playbooks_fault() {
    let lab = Lab::new(1);
    fs::set_permissions(lab.path("up"), PermissionsExt::from_mode(0o644)).expect("permissions");
    lab.run(&["quick"])
        .code(78)
        .says("is not executable")
        .says("chmod +x")
        .never_says("deploy[alpha-0]");
    assert!(lab.ledger().is_empty());
}

#[test]
fn what_a_script_says_is_seen_while_it_works() {
    let lab = Lab::new(1);
    let wait = "echo half way >&2; until [ -e go ]; do sleep 0.01; done\n";
    lab.script("up", &UP.replace("echo '{", &format!("{wait}echo '{{")));
    let mut run = lab.start(&["quick"]);
    run.wait_for("alpha-0: half way");
    lab.let_go();
    run.wait().code(0);
    assert!(lab.ledger().is_empty());
}
