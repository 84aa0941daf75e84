//! Containers that do not start, and commands that the kernel ends in them.

use std::fs;

use super::Lab;
use crate::support::{Sshd, container::Engine, feed, here};

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

/// The output of a container's own command is the console of one that failed: on which a case failed, or that did not
/// start. The default command prints nothing, and a host of SSH has no console.
#[test]
fn the_output_of_a_failed_container_is_kept() {
    let Some(engine) = here(Engine::start()) else {
        return;
    };
    let lab = Lab::new(&engine.target("it"));
    let folder = |lab: &Lab| feed::folder(&lab.path("target-test.toml"));
    lab.run(&["kills_its_shell[it]"]).code(100);
    assert!(!folder(&lab).join("consoles").exists());
    let sshd = Sshd::start(&["it-0"]);
    let lab = Lab::new(&sshd.playbook(&[("it", &["it-0"])]));
    lab.run(&["kills_its_shell[it]"]).code(100);
    assert!(!folder(&lab).join("consoles").exists());

    let serves = "command = [\"sh\", \"-c\", \"echo serves; echo on 80 >&2; exec sleep 1000\"]\n";
    let lab = Lab::new(&format!("{}{serves}", engine.target("it")));
    lab.run(&["quick[it]"]).code(0);
    assert!(!folder(&lab).join("consoles").exists());
    lab.run(&["kills_its_shell[it]"]).code(100);
    let console = fs::read_to_string(folder(&lab).join("consoles/it-0.log"));
    let console = console.expect("the console");
    let mut lines: Vec<_> = console.lines().collect();
    // The engine reads two streams.
    lines.sort_unstable();
    assert_eq!(lines, ["on 80", "serves"]);

    let ends = "command = [\"sh\", \"-c\", \"echo no license >&2; exit 3\"]\nretries = 0\n";
    let lab = Lab::new(&format!("{}{ends}", engine.target("it")));
    let run = lab.run(&["quick[it]"]).code(69);
    run.says("ended with exit code 3; its last output:")
        .says("no license");
    let console = fs::read_to_string(folder(&lab).join("consoles/it-0.log"));
    assert_eq!(console.expect("the console").trim_end(), "no license");
    let events = feed::events(&lab.path("target-test.toml"));
    let consoles = feed::of_kind(&events, "console");
    let text = consoles[0]["text"].as_str().unwrap_or_default();
    assert_eq!(text.trim_end(), "no license", "{events:?}");
    lab.run(&["--delete-targets"]).code(0);
}
