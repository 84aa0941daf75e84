//! Runs that are ended early: by Ctrl-C once and twice, by TERM, and by `kill -9`.

use rustix::process::Signal;

use super::{verdicts::alive, world::World};
use crate::support::{Started, eventually};

const EAST: &str = "[[targets]]\nname = \"east\"\nplatform = \"command\"\n";
const SLOW: &str = "[[targets]]\nname = \"slow\"\nplatform = \"command\"\n";

/// A run whose one case runs and waits.
fn waiting(world: &World) -> Started {
    let run = world.tool(&["around::waits"]).start();
    eventually("the case's start", || !world.read("waiting").is_empty());
    assert_eq!(world.machines(), ["east-0"]);
    run
}

#[track_caller]
fn all_gone(world: &World) {
    for pid in world.read("pids").lines() {
        eventually("the end of the test and its children", || !alive(pid));
    }
}

#[test]
fn ctrl_c_lets_nextest_finish_and_cleans_up() {
    let world = World::on_machines(EAST);
    let run = waiting(&world);
    run.signal_group(Signal::INT);
    let run = run
        .wait()
        .code(130)
        .line_with(&["SIGINT", "around::waits[east]"]);
    assert_eq!(
        run.lines_with(&["Cancelling due to interrupt"]),
        1,
        "{run:?}"
    );
    run.never_says("SIGKILL");
    all_gone(&world);
    world.is_clean();
}

/// Sent to us alone, nextest gets it from us.
#[test]
fn a_signal_for_us_alone_ends_the_run_too() {
    for signal in [Signal::TERM, Signal::INT] {
        let world = World::on_machines(EAST);
        let run = waiting(&world);
        run.signal(signal);
        run.wait().code(130).never_says("SIGKILL");
        all_gone(&world);
        world.is_clean();
    }
}

/// Other instances are deleted, as soon as no case needs them.
#[test]
fn only_instances_of_failed_cases_are_kept() {
    let world = World::on_machines(&format!("{EAST}{}", EAST.replace("east", "west")));
    let cases = [
        "--exact",
        "verdict::fails[east]",
        "verdict::passes[west]",
        "verdict::flaky[west]",
    ];
    let line = [&["--keep-targets=failed", "--retries=2", "--"], &cases[..]].concat();
    let run = world.run(&line).code(100);
    run.line_with(&["FLAKY", "verdict::flaky[west]"])
        .line_with(&["        Kept east-0"])
        .line_with(&["       Shell cargo target-test shell east-0"]);
    assert_eq!(world.machines(), ["east-0"]);
    let line = [
        "--keep-targets=failed",
        "--",
        "--exact",
        "verdict::passes[east]",
    ];
    world
        .run(&line)
        .code(0)
        .says("no longer kept: east-0")
        .never_says("        Kept ");
    assert_eq!(
        world.read("ledger").matches("deploy east-0").count(),
        1,
        "{}",
        world.read("ledger")
    );
    world.is_clean();
}

/// A deploy under way is ended, and what it made is deleted.
#[test]
fn ctrl_c_during_a_deploy() {
    let world = World::on_machines(SLOW);
    let run = world.tool(&["passes"]).start();
    eventually("the deploy", || world.machines() == ["slow-0"]);
    run.signal_group(Signal::INT);
    run.wait().code(130);
    world.is_clean();
}

/// Twice: at once, and the record is there for who comes next.
#[test]
fn ctrl_c_twice_leaves_a_pool_that_can_be_finished() {
    let world = World::on_machines(EAST);
    world.program(
        "down",
        "touch deleting; while ! [ -e go ]; do sleep 0.01; done; rm -f machines/*\n",
    );
    let run = waiting(&world);
    run.signal_group(Signal::INT);
    eventually("the delete", || world.path("deleting").exists());
    // As a second Ctrl-C; the same signal, sent again at once, would be the same wish.
    run.signal_group(Signal::TERM);
    run.wait()
        .code(130)
        .line_with(&["hint: ", "--delete-targets"]);
    all_gone(&world);
    world.has_no_private_folder();
    assert_eq!(world.machines(), ["east-0"]);
    world.file("go", "");
    world.run(&["--delete-targets"]).code(0);
    world.is_clean();
}

/// nextest, runners and tests die with us; the next start clears up.
#[test]
fn kill_9_leaves_no_process_and_the_next_run_cleans_up() {
    let world = World::on_machines(EAST);
    let run = waiting(&world);
    run.signal(Signal::KILL);
    all_gone(&world);
    drop(run);
    assert_eq!(world.machines(), ["east-0"]);
    world.run(&["passes"]).code(0);
    world.is_clean();
    assert!(world.read("ledger").matches("delete east-0").count() >= 1);
}
