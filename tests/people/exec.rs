//! `exec`: what a command is given, and what comes back of it.

use rustix::process::Signal;

use super::{holding, is_running, kept, let_go, quick, sh, target, with_box, world};
use crate::support::{core_limit, eventually};

#[test]
fn words_lines_streams_and_codes() {
    let (world, _sshd) = kept();
    for name in ["here-0", "lab-0"] {
        let exec = |args: &[&str]| world.run(&[&["exec", name], args].concat());
        let words = exec(&["--", "printf", "<%s>", "a  b", "$HOME", "it's", ""]).code(0);
        assert_eq!(words.stdout, "<a  b><$HOME><it's><>", "{words:?}");
        assert_eq!(words.stderr, "");
        let line = exec(&["--", "echo $TARGET_TEST_INSTANCE; echo two >&2; exit 7"]).code(7);
        assert_eq!(
            (line.stdout, line.stderr),
            (format!("{name}\n"), "two\n".to_owned())
        );
        exec(&["--shell", "kill -KILL $$"]).code(137);
        // A program whose interpreter is missing, as that of a dynamic binary.
        let line = "printf '#!/none\\n' >/tmp/lone-$$; chmod +x /tmp/lone-$$; \
                    /tmp/lone-$$; s=$?; rm /tmp/lone-$$; exit $s";
        exec(&["--shell", line])
            .code(127)
            .says("hint: ")
            .says("linux-musl");
        exec(&["--shell", "none-such"])
            .code(127)
            .says("hint: the program is not installed on the instance");
        exec(&["--", "sh", "-c", "exit 255"]).code(255);
        exec(&["--timeout", "200ms", "--", "sleep", "1000"])
            .code(124)
            .says("timed out after 200ms");
        // Every byte there is, both ways, and a command that reads nothing.
        let tool = "\"$TARGET_TEST_TOOL\" exec";
        let bytes = "awk 'BEGIN { for (i = 0; i < 256; i++) printf \"%c\", i }' | head -c 100000";
        let line = format!("{bytes} | {tool} {name} -- cat | cksum; {bytes} | cksum");
        let sums = sh(&world, &line).env("LC_ALL", "C").run().code(0).stdout;
        let (there, here) = sums.split_once('\n').expect("two lines");
        assert_eq!(there, here.trim());
        sh(&world, &format!("{bytes} | {tool} {name} -- true"))
            .run()
            .code(0);
        // An output that cannot be written is an error, and a closed one is not.
        let full = format!("{tool} {name} -- echo a >/dev/full");
        sh(&world, &full).run().code(70).says("No space left");
        // Who reads no more ends it.
        let line = format!("{{ {tool} {name} -- yes; echo $? >\"$SCRATCH/code\"; }} | head -1");
        assert_eq!(sh(&world, &line).run().code(0).stdout, "y\n");
        assert_eq!(world.read("code"), "141\n");
        let free = target(&world, name);
        assert_eq!(
            (&free["state"], &free["holder"]),
            (&"ready".into(), &().into())
        );
    }
    world.run(&["--delete-targets"]).code(0);
}

#[test]
fn a_target_is_any_free_one_of_it() {
    let (world, _sshd) = kept();
    let first = world.tool(&["exec", "here-0", "--", "touch held; sleep 1000"]);
    let first = first.start();
    eventually("the first", || {
        target(&world, "here-0")["state"] == "leased"
    });
    let second = world.run(&["exec", "here", "--shell", "echo $TARGET_TEST_INSTANCE"]);
    assert_eq!(second.code(0).stdout, "here-1\n");
    // Told to end, it ends what it started.
    first.signal(Signal::TERM);
    first.wait().code(143);
    let left = world.run(&["exec", "here-0", "--", "ls"]).code(0);
    assert_eq!(left.stdout, "held\n");
    world.run(&["--delete-targets"]).code(0);
}

#[test]
fn who_comes_second_waits_unless_it_is_now() {
    let world = with_box();
    let run = holding(&world, "box");
    let mut waits = world.tool(&["exec", "box-0", "--", "echo", "mine"]).start();
    waits.wait_for("waiting for box-0: held by pid ");
    assert!(
        waits.printed().contains(" holds[box], "),
        "{}",
        waits.printed()
    );
    assert!(waits.printed().contains("`--now` works beside the holder"));
    let now = world.run(&["exec", "--now", "box-0", "--", "echo", "beside"]);
    assert_eq!(now.code(0).stdout, "beside\n");
    assert!(!waits.printed().contains("mine"));
    let mut leaves = world.tool(&["exec", "box-0", "--", "true"]).start();
    leaves.wait_for("waiting for box-0: held by pid ");
    leaves.signal(Signal::QUIT);
    leaves
        .wait()
        .code(131)
        .says("interrupted while waiting for `box-0`");
    let_go(&world, run);
    assert_eq!(waits.wait().code(0).stdout, "mine\n");
    // The run was told to keep it, though somebody waited for it when that ended.
    assert_eq!(target(&world, "box-0")["kept"], true);
    world.run(&["--delete-targets"]).code(0);
    world.is_clean();
}

/// The command ends, the instance stays as it is, and no core file has what was in memory.
#[test]
fn a_quit_ends_what_was_started() {
    let world = with_box();
    quick(&world);
    let pid = world.path("pid").display().to_string();
    let held = format!("echo $$ >{pid}; exec sleep 1000");
    let core = "ulimit -S -c $(ulimit -H -c); exec \"$TARGET_TEST_TOOL\"";
    let commands = "mkfifo \"$SCRATCH/in\"; exec 3<>\"$SCRATCH/in\"; echo \"$HELD\" >&3";
    for line in [
        format!("{core} exec box-0 --shell \"$HELD\""),
        format!("{commands}; {core} shell box-0 <&3"),
    ] {
        world.file("pid", "");
        let verb = sh(&world, &line).env("HELD", &held).start();
        eventually("the command", || world.read("pid").ends_with('\n'));
        assert_eq!(core_limit(verb.pid().as_raw_nonzero()), "0");
        verb.signal(Signal::QUIT);
        verb.wait().code(131);
        assert!(!is_running(&world.read("pid")), "{line}");
        assert_eq!(target(&world, "box-0")["state"], "ready", "{line}");
    }
    quick(&world).never_says("recycled");
    assert_eq!(world.read("ledger"), "deploy box-0\n");
    world.run(&["--delete-targets"]).code(0);
    world.is_clean();
}

/// Who holds an instance need not wait for it: a test that uses the tool, say.
#[test]
fn a_test_goes_through_to_its_own_instance() {
    let world = with_box();
    world.file("asks", "");
    world.file("go", "");
    world.run(&["holds[box]"]).code(0);
    assert_eq!(world.read("said"), "seen by the test\n");
    world.is_clean();
}

#[test]
fn what_no_run_keeps_goes_with_the_last_who_uses_it() {
    let world = with_box();
    let run = world.tool(&["holds[box]"]).start();
    eventually("the run", || world.path("held").exists());
    let line = format!(
        "until [ -e {} ]; do sleep 0.02; done; echo mine",
        world.path("ended").display()
    );
    let mut waits = world.tool(&["exec", "box", "--shell", &line]).start();
    waits.wait_for("waiting for box-0: held by pid ");
    world.file("go", "");
    run.wait().code(0).says("still used by others");
    world.file("ended", "");
    waits.wait().code(0).says("mine").says("deleted box-0");
    world.is_clean();
}

#[test]
fn slips_of_the_keyboard() {
    let world = world();
    world
        .run(&["exec", "east-0", "--", "true"])
        .code(2)
        .says("instance `east-0` not found")
        .says("the pool is empty; deploy an instance with `cargo target-test up TARGET`");
    world.run(&["quick[east]", "--keep-targets"]).code(0);
    world
        .run(&["shell", "eats-0"])
        .code(2)
        .says("instance `eats-0` not found")
        .says("did you mean `east-0`? There are `east-0`");
    for (args, says) in [
        (&["exec", "east-0"][..], "<COMMAND>"),
        (&["exec", "east-0", "true"], "unexpected argument 'true'"),
        (
            &["exec", "east-0", "--nwo", "--", "true"],
            "unexpected argument '--nwo'",
        ),
        (
            &["exec", "east-0", "--timeout", "0s", "--", "true"],
            "greater than zero",
        ),
        (&["lease", "east-0", "--for", "0s"], "greater than zero"),
        (
            &["lease", "east-0", "--for", "tomorrow"],
            "`90s`, `30m`, `2h`",
        ),
        (
            &["lease", "east-0", "--for", "-1h"],
            "unexpected argument '-1'",
        ),
        (&["shell"], "<INSTANCE>"),
        (&["release"], "<INSTANCE>"),
        (&["shel", "east-0"], "did you mean `shell`?"),
    ] {
        world
            .run(args)
            .code(if args[0] == "shel" { 4 } else { 2 })
            .says(says);
    }
    world
        .run(&["logs", "east-0"])
        .code(2)
        .says("`east-0` has no console: platform `local` does not record one");
    world.run(&["--delete-targets"]).code(0);
}

#[test]
fn a_machine_that_is_gone_is_named_with_what_to_do() {
    let (world, sshd) = kept();
    drop(sshd);
    for verb in [&["exec", "lab-0", "--", "true"][..], &["shell", "lab-0"]] {
        world
            .run(verb)
            .code(69)
            .says("`lab-0`")
            .says("the next run replaces `lab-0`")
            .says("--delete-targets");
    }
    world
        .run(&["--delete-targets"])
        .code(0)
        .says("deleted here-0")
        .says("released lab-0: the machine stays");
}
