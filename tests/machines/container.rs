//! Containers that do not start, and commands that the kernel ends in them.

use super::Lab;
use crate::support::{container::Engine, here};

/// The container is well: the test is what failed.
#[test]
fn a_command_that_the_kernel_kills_failed() {
    let Some(engine) = here(Engine::start()) else {
        return;
    };
    let lab = Lab::new(&format!("{}memory = \"64 MiB\"\n", engine.target("it")));
    let run = lab.run(&[
        "-E",
        "test(/^(kills_its_shell|eats_memory|quick)\\[/)",
        "-j1",
    ]);
    let run = run
        .code(100)
        .line_with(&["3 cases: 1 passed", "2 failed, 0 infra"])
        .never_says("infra: ");
    assert!(run.lines_with(&["signal KILL"]) >= 2, "{run:?}");
}

#[test]
fn a_container_that_does_not_start_counts_as_the_target_says() {
    let Some(engine) = here(Engine::start()) else {
        return;
    };
    let ends = "command = [\"sh\", \"-c\", \"exit 3\"]\nretries = 0\nready-timeout = \"5s\"\n";
    for (counts, code) in [("infra", 69), ("fail", 100)] {
        let more = format!("{ends}on-boot-failure = \"{counts}\"\n");
        let lab = Lab::new(&format!("{}{more}", engine.target("it")));
        let verdict = if code == 69 { "infra" } else { "crash" };
        let line = format!("target-test: {verdict}: quick[it]: it-0 could not be deployed");
        lab.run(&["quick"]).code(code).line_with(&[&line]);
        lab.run(&["--delete-targets"]).code(0);
    }
}
