//! `up` and `down`: instances without a test.

use rustix::process::Signal;

use super::{holding, let_go, target, world};
use crate::{
    run::world::World,
    support::{Terminal, eventually},
};

/// Machines that a script makes: two of `box`, one that fails, one that never ends.
fn boxes() -> World {
    let target = |name: &str, more: &str| {
        format!("[[targets]]\nname = \"{name}\"\nplatform = \"command\"\nretries = 0\n{more}")
    };
    let all = [
        target("box", "count = 2\n"),
        target("bad", ""),
        target("slow", ""),
        target("bad-too", ""),
    ];
    world().with_machines(&all.concat())
}

#[test]
fn instances_are_there_without_a_test() {
    let world = boxes();
    // What is there is used, and what is missing is deployed.
    world.run(&["up", "box"]).code(0).says("box-0: deployed in");
    world
        .run(&["up", "box=2"])
        .code(0)
        .says("box-0: kept from an earlier run")
        .says("box-1: deployed in");
    world
        .run(&["exec", "box-1", "--", "echo", "here"])
        .code(0)
        .says("here");
    // A run uses it and leaves it.
    world.run(&["quick[box]"]).code(0).says("Kept box-0");
    world.run(&["down", "box-0"]).code(0).says("deleted box-0");
    world.run(&["down", "box"]).code(0).says("deleted box-1");
    let ledger = "deploy box-0\ndeploy box-1\ndelete box-0\ndelete box-1\n";
    assert_eq!(world.read("ledger"), ledger);
    world
        .run(&["down", "box"])
        .code(2)
        .says("instance `box` not found");
    world.is_clean();
}

#[test]
fn words_that_name_nothing() {
    let world = boxes();
    world
        .run(&["up", "bx"])
        .code(2)
        .says("the playbook has no target `bx`")
        .says("did you mean `box`?");
    world
        .run(&["up", "box=3"])
        .code(2)
        .says("`box` has `count = 2`: no more");
    for wrong in ["box=", "box=0", "box=two"] {
        world
            .run(&["up", wrong])
            .code(2)
            .says("is not a number of instances");
    }
    world
        .run(&["exec", "box", "--", "true"])
        .code(2)
        .says("`cargo target-test up box` deploys one");
    world.is_clean();
}

#[test]
fn an_instance_that_fails_leaves_the_others() {
    let world = boxes();
    world
        .run(&["up", "bad", "box", "bad-too"])
        .code(69)
        .says("bad-0 could not be deployed")
        .says("bad-too-0 could not be deployed")
        .says("no such flavour");
    assert_eq!(target(&world, "box-0")["kept"], true);
    assert!(target(&world, "bad-0").is_null());

    // After an interrupt, what was not ready is gone.
    let up = world.tool(&["up", "slow", "box"]).start();
    eventually("the deploy", || world.path("machines/slow-0").exists());
    up.signal(Signal::INT);
    up.wait().code(130);
    assert!(target(&world, "slow-0").is_null());
    assert_eq!(target(&world, "box-0")["kept"], true);
    world.run(&["down", "box"]).code(0);
    world.is_clean();
}

/// A run that deletes what an earlier one kept says so.
#[test]
fn what_is_no_longer_kept_is_named() {
    let world = boxes();
    let quick = ["quick[box]", "-E", "test(/^quick/)"];
    let keep = [&quick[..], &["--keep-targets"]].concat();
    world.run(&keep).code(0).says("Kept box-0");
    world.run(&quick).code(0).says("no longer kept: box-0");
    world.run(&quick).code(0).never_says("no longer kept");
    world.is_clean();
}

#[test]
fn it_goes_down_by_the_clock_when_it_is_free() {
    let world = boxes();
    world.run(&["up", "box=2", "--for", "1s"]).code(0);
    eventually("the end of one", || target(&world, "box-1").is_null());
    eventually("the end of both", || target(&world, "box-0").is_null());

    let run = holding(&world, "box");
    world.run(&["up", "box", "--for", "1s"]).code(0);
    world
        .run(&["down", "box-0"])
        .code(69)
        .says("`box-0` is in use");
    let until = std::time::SystemTime::now() + std::time::Duration::from_secs(2);
    eventually("the time", || std::time::SystemTime::now() > until);
    assert_eq!(target(&world, "box-0")["state"], "leased");
    let_go(&world, run);
    eventually("its end", || target(&world, "box-0").is_null());
    world.run(&["--delete-targets"]).code(0);
    world.is_clean();
}

#[test]
fn a_shell_offers_it() {
    if !Terminal::is_here() {
        return;
    }
    let world = boxes();
    let terminal = Terminal::open(world.tool(&["shell", "box"]));
    terminal.wait_for("target `box` has no instance; deploy one? [y/N]");
    terminal.line("y");
    terminal.wait_for("a shell on box-0");
    terminal.line("exit 7");
    assert_eq!(terminal.code(), 7, "{}", terminal.screen());
    world.run(&["down", "box"]).code(0);
    world.is_clean();
}
