//! `shell`: with a terminal and without, and when the terminal goes.

use super::{holding, is_running, kept, let_go, quick, sh, target, with_box};
use crate::{
    run::world::World,
    support::{Terminal, eventually},
};

#[test]
fn without_a_terminal_it_reads_commands() {
    let (world, _sshd) = kept();
    for name in ["here-0", "lab-0"] {
        let script = "echo $TARGET_TEST_NAME/$TARGET_TEST_INSTANCE/$TARGET_TEST_PLATFORM; test -t 0 || exit 5";
        let line = format!("echo '{script}' | \"$TARGET_TEST_TOOL\" shell {name}");
        let run = sh(&world, &line).run().code(5);
        let (target, _) = name.split_once('-').expect("a number");
        let platform = if target == "lab" { "ssh" } else { "local" };
        assert_eq!(
            run.stdout,
            format!("{target}/{name}/{platform}\n"),
            "{run:?}"
        );
    }
    world.run(&["--delete-targets"]).code(0);
}

#[test]
fn in_a_terminal_it_is_one() {
    if !Terminal::is_here() {
        return;
    }
    let (world, _sshd) = kept();
    for name in ["here-0", "lab-0"] {
        let terminal = Terminal::open(world.tool(&["shell", name]));
        terminal.wait_for(&format!("a shell on {name} ("));
        terminal.line("echo it is $(tty | cut -c1-9) $TARGET_TEST_INSTANCE");
        terminal.wait_for(&format!("it is /dev/pts/ {name}"));
        let held = target(&world, name);
        assert_eq!(held["holder"]["case"], "shell", "{held}");
        // Ctrl-C and Ctrl-\ are the shell's: they end what runs in it. The typed line does not have the number that it prints.
        for (key, number) in [("C-c", 11), ("C-\\", 12)] {
            let shown = format!("$(({number} + 10))");
            terminal.line(&format!(
                "sh -c 'trap \"echo ended {shown}; exit\" INT QUIT; echo runs {shown}; while :; do sleep 0.1; done'"
            ));
            terminal.wait_for(&format!("runs {}", number + 10));
            terminal.key(key);
            terminal.wait_for(&format!("ended {}", number + 10));
        }
        terminal.line("echo and goes on $((20 + 3))");
        terminal.wait_for("and goes on 23");
        terminal.line("exit 9");
        assert_eq!(terminal.code(), 9, "{}", terminal.screen());
        assert_eq!(target(&world, name)["state"], "ready");
    }
    world.run(&["--delete-targets"]).code(0);
}

#[test]
fn a_shell_waits_while_a_run_holds_it() {
    if !Terminal::is_here() {
        return;
    }
    let world = with_box();
    let run = holding(&world, "box");
    let waits = Terminal::open(world.tool(&["shell", "box"]));
    waits.wait_for("waiting for box-0: held by pid ");
    waits.wait_for(" holds[box], ");
    let beside = Terminal::open(world.tool(&["shell", "box-0", "--now"]));
    beside.wait_for("a shell on box-0");
    assert_eq!(target(&world, "box-0")["holder"]["case"], "holds[box]");
    beside.line("exit");
    assert_eq!(beside.code(), 0);
    let_go(&world, run);
    waits.wait_for("a shell on box-0");
    assert_eq!(target(&world, "box-0")["holder"]["case"], "shell");
    waits.line("exit 3");
    assert_eq!(waits.code(), 3);
    assert_eq!(target(&world, "box-0")["state"], "ready");
    world.run(&["--delete-targets"]).code(0);
    world.is_clean();
}

/// Nobody says that its holder died: the instance stays, and what ran in the shell does not.
#[test]
fn a_terminal_that_is_closed_gives_the_instance_back() {
    if !Terminal::is_here() {
        return;
    }
    let world = with_box();
    quick(&world);
    is_given_back(&world, "box-0");
    quick(&world).never_says("recycled");
    assert_eq!(world.read("ledger"), "deploy box-0\n");
    world.run(&["--delete-targets"]).code(0);
    let (world, _sshd) = kept();
    is_given_back(&world, "lab-0");
    world.run(&["--delete-targets"]).code(0);
}

fn is_given_back(world: &World, name: &str) {
    let terminal = Terminal::open(world.tool(&["shell", name]));
    terminal.wait_for(&format!("a shell on {name}"));
    let file = world.path("pid");
    terminal.line(&format!("nohup sleep 1000 & echo $! >{}", file.display()));
    eventually("the pid", || world.read("pid").ends_with('\n'));
    terminal.close();
    eventually("the instance", || target(world, name)["holder"].is_null());
    assert!(!is_running(&world.read("pid")));
}
