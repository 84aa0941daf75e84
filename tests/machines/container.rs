//! Containers that do not start, and commands that the kernel ends in them.

use std::{fs, os::unix::fs::PermissionsExt};

use super::Lab;
use crate::support::{Sshd, container::Engine, feed, here, processes::running};

/// An engine that is killed once podman's monitor of a new container runs. It notes the container's name.
const CUT_SHORT: &str = r#"#!/bin/sh
[ "$1" = run ] || exec ENGINE "$@"
echo "$4" >>"$0.names"
ENGINE "$@" &
while kill -0 $! 2>/dev/null; do
    for name in $(grep -lsx conmon /proc/[0-9]*/comm); do
        if grep -qsazx -e "$4" "${name%comm}cmdline"; then kill -KILL $!; fi
    done
done
exit 1
"#;

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

/// Podman forgets a container whose start was cut short, and its monitor goes on.
#[test]
fn a_start_that_is_cut_short_leaves_no_process() {
    let Some(engine) = here(Engine::start()) else {
        return;
    };
    let program = engine.program().display().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let killed = folder.path().join("engine");
    fs::write(&killed, CUT_SHORT.replace("ENGINE", &program)).expect("a script");
    fs::set_permissions(&killed, PermissionsExt::from_mode(0o755)).expect("a script");
    let target = engine.target("it");
    let target = target.replace(&program, &killed.display().to_string());
    let lab = Lab::new(&format!("{target}retries = 0\n"));
    lab.run(&["quick[it]"]).code(69);
    let names = fs::read_to_string(folder.path().join("engine.names")).expect("a name");
    for name in names.lines() {
        let left = running(|one| one.words().iter().any(|word| word == name));
        assert!(left.is_empty(), "{name}: {left:?}");
    }
}
