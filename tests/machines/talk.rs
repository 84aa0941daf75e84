//! Instances that reach each other, each platform in its own way.

use std::{fs, os::unix::fs::PermissionsExt};

use super::Lab;
use crate::support::{container::Engine, here, vm::Images};

#[test]
fn virtual_machines_talk_through_this_host_and_by_their_console() {
    let Some(images) = here(Images::build()) else {
        return;
    };
    let lab = Lab::new(&format!("{}count = 2\n", images.target("it")));
    let tests = "test(/^(talks|has_a_console)\\[/)";
    lab.run(&["-E", tests, "--success-output", "final"])
        .code(0)
        .line_with(&["PASS", "talks[it]"])
        .line_with(&["PASS", "has_a_console[it]"])
        .line_with(&["server = it-", ": $ while echo"])
        .line_with(&["client = it-", ": from it-"]);
}

#[test]
fn containers_talk_on_a_network_of_the_engine() {
    let Some(engine) = here(Engine::start()) else {
        return;
    };
    let none = format!("{}count = 2\n", engine.target("it"));
    let lab = Lab::new(&none);
    lab.run(&["has_no_address"]).code(0);
    lab.write("target-test.toml", &none.replace("\"none\"", "\"host\""));
    lab.run(&["talks"]).code(0);
    // Not every host that tests this has an engine with networks.
    let program = engine.program();
    let script = format!(
        "#!/bin/sh\ncase $* in *NetworkSettings*) echo 10.88.0.7 fd00::7 ;; *) exec {program:?} \"$@\" ;; esac\n"
    );
    let podman = lab.path("podman");
    fs::write(&podman, script).expect("a script");
    fs::set_permissions(&podman, fs::Permissions::from_mode(0o755)).expect("a script");
    let (real, other) = (format!("{program:?}"), format!("{podman:?}"));
    lab.write("target-test.toml", &none.replace(&real, &other));
    lab.run(&["has_an_address"]).code(0);
}
