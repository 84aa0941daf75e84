//! Machines that are made: their consoles, their reboots, and this host's.

use std::fs;

use serde_json::{Value, json};

use super::{quick, target, with_box, world};
use crate::{
    run::world::World,
    support::{Terminal, container::Engine, eventually, here, vm::Images},
};

/// Changes the pool as if the machine had been started before the last boot of this host.
fn as_after_a_boot(world: &World) {
    let path = world.path("pool/pool.json");
    let text = fs::read_to_string(&path).expect("the pool");
    let mut pool: Value = serde_json::from_str(&text).expect("JSON");
    let records = pool["records"].as_object_mut().expect("records");
    for record in records.values_mut() {
        let machine = &mut record["deployed"]["data"]["machine"];
        // A process of another start: the number is somebody else's now.
        *machine = json!({ "pid": std::process::id(), "started": 1 });
    }
    fs::write(&path, pool.to_string()).expect("the pool");
}

/// A run that keeps its instances, in a terminal that is closed after it where there is one.
fn keep(world: &World) {
    if !Terminal::is_here() {
        quick(world);
        return;
    }
    let line = ["--keep-targets", "-E", "test(/^quick/)"];
    let terminal = Terminal::open(world.tool(&line));
    assert_eq!(terminal.code(), 0, "{}", terminal.screen());
    terminal.close();
}

/// The run ends in order: what it was to keep stays, and is no dead holder's.
#[test]
fn a_run_whose_terminal_is_closed_keeps_what_it_should() {
    if !Terminal::is_here() {
        return;
    }
    let world = with_box();
    quick(&world);
    let line = ["--keep-targets", "holds[box]"];
    let terminal = Terminal::open(world.tool(&line));
    eventually("the run", || world.path("held").exists());
    terminal.close();
    let used = || target(&world, "box-0")["users"] != json!([]);
    eventually("the run's end", || !used());
    let left = target(&world, "box-0");
    assert_eq!(
        (&left["state"], &left["kept"]),
        (&json!("ready"), &json!(true))
    );
    quick(&world).never_says("recycled");
    assert_eq!(world.read("ledger"), "deploy box-0\n");
    world.run(&["--delete-targets"]).code(0);
    world.is_clean();
}

#[test]
fn a_virtual_machine() {
    let Some(images) = here(Images::build()) else {
        return;
    };
    let world = world();
    world.file("target-test.toml", &images.target("vm"));
    keep(&world);
    world.run(&["logs", "vm"]).code(0).says("ready: vm-0");
    let follow = world.tool(&["logs", "-f", "vm-0"]).start();
    let said = "echo seen on the console >/dev/console";
    world.run(&["exec", "vm", "--shell", said]).code(0);
    let mut follow = follow;
    follow.wait_for("seen on the console");

    // It boots anew, as the same instance.
    let boot_id = || {
        let id = ["exec", "vm", "--", "cat /proc/sys/kernel/random/boot_id"];
        let run = world.run(&id);
        run.status.success().then_some(run.stdout)
    };
    let before = boot_id().expect("a boot id");
    let reboot = "(sleep 0.1; reboot -f) >/dev/null 2>&1 & exit 0";
    world.run(&["exec", "vm", "--shell", reboot]).code(0);
    eventually("another boot", || boot_id().is_some_and(|id| id != before));
    let kept = target(&world, "vm-0");
    let run = quick(&world);
    run.never_says("recycled");
    assert_eq!(target(&world, "vm-0")["id"], kept["id"]);

    // After a boot of this host it is gone, and made anew; no error.
    as_after_a_boot(&world);
    world
        .run(&["shell", "vm-0"])
        .code(69)
        .says("`vm-0`: its virtual machine has ended")
        .says("the next run replaces `vm-0`");
    let run = quick(&world);
    run.never_says("infra:");
    assert_ne!(target(&world, "vm-0")["id"], kept["id"]);
    follow.wait().code(0);
    world.run(&["--delete-targets"]).code(0);
    world.is_clean();
}

#[test]
fn a_container() {
    let Some(engine) = here(Engine::start()) else {
        return;
    };
    let world = world();
    world.file("target-test.toml", &engine.target("ct"));
    keep(&world);
    let exec = world.run(&[
        "exec",
        "ct",
        "--",
        "sh",
        "-c",
        "echo $TARGET_TEST_NAME; exit 3",
    ]);
    assert_eq!(exec.code(3).stdout, "ct\n");
    let file = world.file("file", "text\n");
    let file = file.to_str().expect("UTF-8");
    world.run(&["cp", file, "ct-0:/root-file"]).code(0);
    let back = world.path("back");
    world
        .run(&["cp", "ct-0:/root-file", back.to_str().expect("UTF-8")])
        .code(0);
    assert_eq!(world.read("back"), "text\n");
    if Terminal::is_here() {
        let terminal = Terminal::open(world.tool(&["shell", "ct"]));
        terminal.wait_for("a shell on ct-0");
        terminal.line("test -t 0 && echo a terminal on $TARGET_TEST_INSTANCE");
        terminal.wait_for("a terminal on ct-0");
        terminal.line("exit 6");
        assert_eq!(terminal.code(), 6, "{}", terminal.screen());
    }
    world.run(&["--delete-targets"]).code(0);
    world.is_clean();
}
