//! `lease` and `release`: who holds, for how long, and what ends it.

use rustix::process::{Pid, Signal, kill_process};

use super::{holding, is_running, let_go, quick, sh, target, with_box};
use crate::{
    run::world::World,
    support::{Terminal, eventually},
};

fn kept_box() -> World {
    let world = with_box();
    quick(&world);
    world
}

fn holder(world: &World) -> Pid {
    let pid = target(world, "box-0")["holder"]["pid"].as_i64();
    let pid = pid.and_then(|pid| i32::try_from(pid).ok());
    pid.and_then(Pid::from_raw).expect("a holder")
}

/// A lease of a target uses the instance that it got, and no other.
#[test]
fn a_lease_of_a_target_uses_one_instance() {
    let (world, _sshd) = super::kept();
    let leased = world.run(&["lease", "here"]).code(0).stdout;
    let (mine, other) = match leased.starts_with("here-0") {
        true => ("here-0", "here-1"),
        false => ("here-1", "here-0"),
    };
    let deleted = world.run(&["--delete-targets"]).code(69);
    deleted
        .says(&format!("`{mine}` is in use"))
        .never_says(&format!("`{other}` is in use"));
    assert_eq!(target(&world, other), serde_json::Value::Null);
    world.run(&["release", mine]).code(0);
    world.run(&["--delete-targets"]).code(0);
}

#[test]
fn its_owner_goes_through_and_others_wait() {
    let world = kept_box();
    world
        .run(&["lease", "box", "--for", "2h"])
        .code(0)
        .says("box-0 (localhost) is yours until ")
        .says("release box-0");
    let held = target(&world, "box-0");
    let case = held["holder"]["case"].as_str().expect("a text");
    assert!(
        case.starts_with("lease of ") && case.contains(" until "),
        "{case}"
    );
    world
        .run(&["targets"])
        .code(0)
        .line_with(&["box-0", case, ", for ", " more"]);
    let through = world.run(&["exec", "box", "--", "echo", "mine"]).code(0);
    assert_eq!(
        (through.stdout.as_str(), through.stderr.as_str()),
        ("mine\n", "")
    );
    let line = "echo 'exit 4' | \"$TARGET_TEST_TOOL\" shell box-0";
    sh(&world, line).run().code(4).never_says("waiting");
    let file = world.file("file", "text");
    let there = format!("box-0:{}", world.path("copy").display());
    world
        .run(&["cp", file.to_str().expect("UTF-8"), &there])
        .code(0);
    // What is cut off goes, and nothing else of the same lease.
    let sleeps = |name: &str| {
        let file = world.path(name);
        let line = format!("echo $$ >{}; exec sleep 1000", file.display());
        let started = world.tool(&["exec", "box", "--shell", &line]).start();
        eventually("a pid", || world.read(name).ends_with('\n'));
        started
    };
    let (stays, ends) = (sleeps("stays"), sleeps("ends"));
    ends.signal(Signal::TERM);
    ends.wait().code(143);
    // It was killed, which is not to say that it has died.
    eventually("its end", || !is_running(&world.read("ends")));
    assert!(is_running(&world.read("stays")));
    world
        .run(&["lease", "box-0"])
        .code(2)
        .says("`box-0` is yours (pid ");

    let mut run = world
        .tool(&["--keep-targets", "-E", "test(/^quick/)"])
        .start();
    run.wait_for("waiting for box");
    assert!(run.printed().contains("lease of "), "{}", run.printed());
    world
        .run(&["release", "box-0"])
        .code(0)
        .says("released box-0");
    assert!(!is_running(&world.read("stays")));
    stays
        .wait()
        .code(137)
        .says("the lease of box-0 ended, which killed the processes under it");
    run.wait().code(0).never_says("recycled");
    world
        .run(&["release", "box-0"])
        .code(0)
        .says("box-0 is not leased");
    world.run(&["--delete-targets"]).code(0);
    world.is_clean();
}

/// The holder is a process in the background, whose words must reach the person.
#[test]
fn who_keeps_the_pool_locked_is_named() {
    let world = kept_box();
    let lock = std::fs::File::open(world.path("pool/pool.lock")).expect("the lock");
    lock.lock().expect("the lock");
    let mut run = world.tool(&["lease", "box-0"]).start();
    run.wait_for(&format!("(pid {}, user ", std::process::id()));
    drop(lock);
    run.wait().code(0).says("is yours until ");
    world.run(&["release", "box-0"]).code(0);
    world.run(&["--delete-targets"]).code(0);
}

#[test]
fn it_ends_by_the_clock_and_takes_what_it_left_with_it() {
    let world = kept_box();
    world.run(&["lease", "box-0", "--for", "2s"]).code(0);
    let pid = world.run(&[
        "exec",
        "box-0",
        "--",
        "sleep 1000 >/dev/null 2>&1 & echo $!",
    ]);
    let pid = pid.code(0).stdout.trim().to_owned();
    // A process that cannot see the time pass, like one on a machine that sleeps.
    let holder = holder(&world);
    kill_process(holder, Signal::STOP).expect("a holder");
    let until = target(&world, "box-0")["holder"]["until"]
        .as_u64()
        .expect("a time");
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    eventually("the time", || now().expect("a clock").as_secs() > until);
    assert_eq!(target(&world, "box-0")["holder"]["stopped"], true);
    kill_process(holder, Signal::CONT).expect("a holder");
    eventually("the lease's end", || {
        target(&world, "box-0")["holder"].is_null()
    });
    assert_eq!(target(&world, "box-0")["state"], "ready");
    assert!(!is_running(&pid));
    world.run(&["--delete-targets"]).code(0);
    world.is_clean();
}

#[test]
fn a_holder_that_is_killed_is_a_dead_holder() {
    let world = kept_box();
    world.run(&["lease", "box-0"]).code(0);
    kill_process(holder(&world), Signal::KILL).expect("a holder");
    eventually("the lease's end", || {
        target(&world, "box-0")["holder"].is_null()
    });
    world
        .run(&["exec", "box-0", "--", "true"])
        .code(69)
        .says("`box-0` is dirty (its holder died (pid ")
        .says("lease of ");
    world
        .run(&["exec", "--now", "box-0", "--", "echo", "seen"])
        .code(0)
        .says("seen");
    let run = quick(&world);
    run.says("recycled: its holder died");
    assert_eq!(
        world.read("ledger"),
        "deploy box-0\ndelete box-0\ndeploy box-0\n"
    );
    world.run(&["--delete-targets"]).code(0);
}

#[test]
fn it_outlives_its_terminal() {
    if !Terminal::is_here() {
        return;
    }
    let world = kept_box();
    let line = "\"$TARGET_TEST_TOOL\" lease box-0; exec sleep 1000";
    let terminal = Terminal::open(sh(&world, line));
    terminal.wait_for("is yours until ");
    let pid = holder(&world);
    terminal.key("C-c");
    terminal.close();
    assert_eq!(holder(&world), pid);
    world.run(&["exec", "box-0", "--", "true"]).code(0);
    world
        .run(&["release", "box"])
        .code(0)
        .says("released box-0");
    world.run(&["--delete-targets"]).code(0);
    world.is_clean();
}

#[test]
fn it_waits_for_a_run_and_gives_up_with_who_waits_for_it() {
    let world = with_box();
    let run = holding(&world, "box");
    world
        .run(&["release", "box-0"])
        .code(69)
        .says("`box-0` is held by pid ")
        .says("which is not a lease by hand");
    let mut gives_up = world.tool(&["lease", "box"]).start();
    gives_up.wait_for("waiting for box-0: held by pid ");
    let waiters = || std::fs::read_dir(world.path("pool/tickets")).map_or(0, Iterator::count);
    assert_eq!(waiters(), 1);
    gives_up.signal(Signal::KILL);
    eventually("the other process to give up", || waiters() == 0);
    let mut waits = world.tool(&["lease", "box"]).start();
    waits.wait_for("waiting for box-0: held by pid ");
    let_go(&world, run);
    waits.wait().code(0).says("is yours until");
    world.run(&["release", "box"]).code(0);
    assert_eq!(target(&world, "box-0")["state"], "ready");
    world.run(&["--delete-targets"]).code(0);
    world.is_clean();
}

#[test]
fn it_ends_with_its_instance() {
    let world = kept_box();
    world.run(&["lease", "box-0"]).code(0);
    let holder = holder(&world);
    world.run(&["--delete-targets"]).code(69).says("lease of ");
    world.run(&["--delete-targets", "--force"]).code(0);
    eventually("the holder's end", || !is_running(&holder.to_string()));
    world.is_clean();
}
