//! People who look at a target: what they type, see and hold, on every kind of instance.

/// Files and folders, both ways.
mod cp;
/// Commands: words, streams, exit codes.
mod exec;
/// Leases by hand.
mod lease;
/// Virtual machines and containers: consoles, reboots.
mod machines;
/// Shells, with and without a terminal.
mod shell;
/// `up` and `down`.
mod up;
/// `targets`, again and again.
mod watch;

use serde_json::Value;

use crate::{
    run::world::World,
    support::{Outcome, Sshd, Started, Tool, eventually},
};

/// One says that it has its instance, and keeps it until it is told; the other is quick.
const TESTS: &str = include_str!("crates/people/all.rs");

/// The crate, on `east` and `west`, two folders of this machine each.
fn world() -> World {
    World::of("people", "\n[workspace]\n", &[("tests/all.rs", TESTS)])
}

/// The crate, on the one machine `box` that a script makes, and which is recycled after a dead holder.
fn with_box() -> World {
    world().with_machines("[[targets]]\nname = \"box\"\nplatform = \"command\"\n")
}

/// A world in which `lab-0` (sshd), `here-0` and `here-1` (folders) are kept.
fn kept() -> (World, Sshd) {
    let (world, sshd) = (world(), Sshd::start(&["one"]));
    let ssh = sshd.playbook(&[("lab", &["one"])]);
    let local = "[[targets]]\nname = \"here\"\nplatform = \"local\"\ncount = 2\n";
    world.file("target-test.toml", &format!("{ssh}\n{local}"));
    // As many instances come up as there are cases for them.
    world.run(&["--keep-targets", "quick"]).code(0);
    (world, sshd)
}

/// A run that leaves one instance of each target.
fn quick(world: &World) -> Outcome {
    world
        .run(&["--keep-targets", "-E", "test(/^quick/)"])
        .code(0)
}

/// A run of `holds` on this target, started, which has its instance.
fn holding(world: &World, target: &str) -> Started {
    let case = format!("holds[{target}]");
    let run = world.tool(&["--keep-targets", &case]).start();
    eventually("the run to have its instance", || {
        world.path("held").exists()
    });
    run
}

/// Lets the run of [`holding`] end.
fn let_go(world: &World, run: Started) {
    world.file("go", "");
    run.wait().code(0);
}

/// The entry of an instance in `targets --json`.
#[track_caller]
fn target(world: &World, name: &str) -> Value {
    let printed = world.run(&["targets", "--json"]).code(0).stdout;
    let all: Vec<Value> = serde_json::from_str(&printed).expect("a JSON list");
    let mut all = all.into_iter();
    all.find(|target| target["name"] == name)
        .unwrap_or_default()
}

/// A line for `sh`, with the tool as `$TARGET_TEST_TOOL`.
fn sh(world: &World, line: &str) -> Tool {
    world.through(std::path::Path::new("sh"), &["-c", line])
}

/// True if this process runs; a zombie does not.
fn is_running(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}
