//! Death by `kill -9`: of the run at every point between two durable steps, of its processes, of scripts.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use cargo_target_test::failpoint;
use rustix::process::Signal;

use super::{DOWN, Lab, UP, alive, kill, pair, target};
use crate::support::{Terminal, core_limit, eventually};

/// The number of runs at once.
const AT_ONCE: usize = 3;

/// Kills a run at the first and at the third visit of every failpoint, and cleans up after it.
fn at_every_point(keep: bool, after: impl Fn(&Lab, &str) + Sync) {
    let faults: Vec<String> = (failpoint::POINTS.iter())
        .flat_map(|point| [(*point).to_owned(), format!("{point}#3")])
        .collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    die_at(fault, keep, &after);
                }
            });
        }
    });
}

fn die_at(fault: &str, keep: bool, after: &impl Fn(&Lab, &str)) {
    let lab = Lab::new(2);
    // What is made dirty: a machine that does not answer.
    lab.script(
        "unreachable",
        &UP.replace("\"transport\": \"local\"", "\"port\": 1"),
    );
    let broken = target("broken", 1, "ready-timeout = \"1s\"\nretries = 0\n")
        .replace("./up", "./unreachable");
    let recipe = "[recipes.two]\nsteps = [{ run = \"true\" }, { run = \"true\" }]\n";
    let alpha = target("alpha", 2, "recipe = \"two\"");
    let pair = pair("./up", "./up");
    lab.playbook(&format!("{recipe}{alpha}{broken}{pair}"));
    let filters: &[&str] = if keep {
        &["quick", "other", "together", "--keep-targets"]
    } else {
        &["quick", "other", "together"]
    };
    let died = lab.tool(filters).env("TARGET_TEST_FAULT", fault).run();
    let met = std::os::unix::process::ExitStatusExt::signal(&died.status) == Some(9);
    assert!(
        met || fault.ends_with("#3"),
        "`{fault}` was never met: {died:?}"
    );
    after(&lab, fault);
}

#[test]
fn deleting_cleans_up_after_a_death_at_every_point() {
    at_every_point(true, |lab, fault| lab.clean(fault));
}

#[test]
fn the_next_run_cleans_up_after_a_death_at_every_point() {
    at_every_point(false, |lab, fault| {
        lab.playbook(&target("alpha", 2, ""));
        lab.run(&["quick", "other"]).code(0);
        assert!(lab.ledger().is_empty(), "{fault}: {:?}", lab.ledger());
    });
}

#[test]
fn a_killed_run_leaves_only_what_can_be_deleted() {
    let lab = Lab::new(2);
    let run = lab.start(&["children", "quick"]);
    let [runner, test, _] = lab.said("held");
    let [child, daemon] = lab.said("children");
    let [remote] = lab.said("remote");
    run.signal(Signal::KILL);
    let _ = run.wait();
    for pid in [&runner, &test, &child, &daemon] {
        eventually("the end of the run's processes", || !alive(pid));
    }
    assert!(!lab.ledger().is_empty());
    // The next holder kills what the dead one's test runs there; a machine that we made is made anew.
    lab.run(&["quick"]).code(0);
    eventually("the remote command's end", || !alive(&remote));
    lab.clean("a killed run");
}

#[test]
fn a_killed_runner_is_a_failure_of_its_case_and_of_no_other() {
    let lab = Lab::new(1);
    let run = lab.start(&["children", "quick", "other", "-j1"]);
    let [runner, test, _] = lab.said("held");
    let [child, daemon] = lab.said("children");
    let [remote] = lab.said("remote");
    kill(&runner);
    let run = run.wait().code(100);
    for pid in [&test, &child, &daemon, &remote] {
        assert!(!alive(pid), "{run:?}");
    }
    run.line_with(&["SIGKILL", "children[alpha]"])
        .line_with(&["PASS", "quick[alpha]"])
        .line_with(&["PASS", "other[alpha]"]);
    assert!(lab.ledger().is_empty());
}

#[test]
fn a_killed_test_is_a_failure_by_its_signal() {
    let lab = Lab::new(1);
    let run = lab.start(&["endless_alone", "quick", "-j1"]);
    let [_, test, _] = lab.said("held");
    let [remote] = lab.said("remote");
    kill(&test);
    run.wait()
        .code(100)
        .line_with(&["SIGKILL", "endless_alone[alpha]"])
        .line_with(&["PASS", "quick[alpha]"]);
    assert!(!alive(&remote));
    assert!(lab.ledger().is_empty());
}

/// The instance's next holder would share it with the command.
#[test]
fn what_a_test_still_runs_remotely_ends_before_the_next_lease() {
    let lab = Lab::new(1);
    let run = lab.run(&["endless_behind", "quick", "-j1"]).code(100);
    let [remote] = lab.said("remote");
    assert!(!alive(&remote));
    run.line_with(&["FAIL", "endless_behind[alpha]"])
        .line_with(&["PASS", "quick[alpha]"]);
}

#[test]
fn a_daemon_that_a_test_leaves_is_killed_and_named() {
    let lab = Lab::new(1);
    let run = lab.run(&["daemon"]).code(0);
    let [daemon] = lab.said("daemon");
    assert!(!alive(&daemon));
    run.line_with(&["PASS", "daemon[alpha]"]);
    let shown = lab.run(&["daemon", "--success-output", "immediate"]);
    shown.code(0).says("the test left `").says("behind: killed");
}

#[test]
fn killed_scripts_leave_nothing() {
    let lab = Lab::new(1);
    lab.playbook(&target("alpha", 1, "retries = 0"));
    let hang = "echo $$ >hangs.new; mv hangs.new hangs; sleep 1000; exit\n";
    lab.script("up", &UP.replace("echo '{", &format!("{hang}echo '{{")));
    let run = lab.start(&["quick"]);
    let [script] = lab.said("hangs");
    assert_eq!(lab.ledger(), ["alpha-0"]);
    kill(&script);
    let failed = run.wait().code(69);
    failed
        .says("was killed by signal 9")
        .says("alpha-0 could not be deployed");
    assert!(lab.ledger().is_empty());

    // The same for a delete, which is tried again.
    lab.script("up", UP);
    let _ = std::fs::remove_file(lab.path("hangs"));
    let once = "[ -e hangs ] || { echo $$ >hangs.new; mv hangs.new hangs; sleep 1000; }\n";
    lab.script("down", &DOWN.replace("rm ", &format!("{once}rm ")));
    let run = lab.start(&["quick"]);
    let [script] = lab.said("hangs");
    kill(&script);
    run.wait().code(0);
    assert!(lab.ledger().is_empty());
}

#[test]
fn a_run_killed_while_a_script_works_is_taken_over() {
    for victim in ["up", "down"] {
        let lab = Lab::new(1);
        let once = "[ -e hangs ] || { echo $$ >hangs.new; mv hangs.new hangs; sleep 1000; }\n";
        let (text, before) = match victim {
            "up" => (UP, "echo '{"),
            _ => (DOWN, "rm "),
        };
        lab.script(victim, &text.replace(before, &format!("{once}{before}")));
        let run = lab.start(&["quick"]);
        let [script] = lab.said("hangs");
        run.signal(Signal::KILL);
        let _ = run.wait();
        eventually("the script's end", || !alive(&script));
        assert_eq!(lab.ledger(), ["alpha-0"]);
        lab.run(&["quick"]).code(0);
        assert!(lab.ledger().is_empty(), "{victim}");
    }
}

#[test]
fn a_quit_cleans_up_and_leaves_no_core_file() {
    let lab = Lab::new(1);
    lab.script("up", &UP.replace("echo '{", "ulimit -S -c >limit\necho '{"));
    let script = "ulimit -S -c $(ulimit -H -c); exec \"$TARGET_TEST_TOOL\" holds";
    let run = lab.program("sh").args(["-c", script]).start();
    let [runner, test, _] = lab.said("held");
    assert_eq!(core_limit(&runner), "0");
    assert_eq!(core_limit(run.pid().as_raw_nonzero()), "0");
    let [theirs] = lab.said("limit");
    assert_eq!(core_limit(&test), theirs);
    run.signal(Signal::QUIT);
    run.wait().code(130);
    assert!(!alive(&test));
    assert!(lab.ledger().is_empty());
}

#[test]
fn a_fifo_without_a_writer_stops_no_other_test() {
    let lab = Lab::new(2);
    lab.run(&["puts_a_fifo"]).code(0);
    let run = lab.start(&["reads_a_fifo", "quick", "other", "holds"]);
    let _: [String; 1] = lab.said("reads");
    let _: [String; 1] = lab.said("held");
    lab.let_go();
    eventually("the other tests", || {
        ["quick-alpha-0", "quick-alpha-1"]
            .iter()
            .any(|name| lab.path(name).exists())
    });
    run.signal_group(Signal::INT);
    run.wait().code(130);
    assert!(lab.ledger().is_empty());
}

/// GNU `timeout` signals its child and the child's group.
#[test]
fn a_signal_that_is_sent_twice_at_once_is_one_interrupt() {
    let lab = Lab::new(1);
    let run = lab.start(&["holds"]);
    let _: [String; 1] = lab.said("held");
    run.signal(Signal::TERM);
    run.signal_group(Signal::TERM);
    run.wait().code(130).never_says("interrupted twice");
    assert!(lab.ledger().is_empty());
    // The program itself, whose time is up now.
    std::fs::remove_file(lab.path("held")).expect("a file");
    let words = [
        "-s",
        "TERM",
        "1000",
        env!("CARGO_BIN_EXE_cargo-target-test"),
        "holds",
    ];
    let run = lab.program("timeout").args(words).start();
    let _: [String; 1] = lab.said("held");
    run.signal(Signal::ALARM);
    run.wait().code(124).never_says("interrupted twice");
    assert!(lab.ledger().is_empty());
}

#[test]
fn a_stopped_nextest_ends_by_an_interrupt() {
    let lab = Lab::new(1);
    let run = lab.start(&["holds"]);
    let [runner, _, _] = lab.said("held");
    let stat = std::fs::read_to_string(format!("/proc/{runner}/stat")).expect("the runner");
    let parent = stat
        .rsplit_once(')')
        .expect("a stat")
        .1
        .split_whitespace()
        .nth(1);
    let nextest = parent.expect("nextest").parse().ok();
    let nextest = nextest
        .and_then(rustix::process::Pid::from_raw)
        .expect("nextest");
    rustix::process::kill_process(nextest, Signal::TSTP).expect("nextest");
    let stat = format!("/proc/{}/stat", nextest.as_raw_nonzero());
    eventually("nextest stops", || {
        std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "))
    });
    run.signal(Signal::INT);
    run.wait().code(130);
    assert!(lab.ledger().is_empty());
}

/// The tool leads the terminal's session, as in a window of its own. No shell would continue a stopped nextest.
#[test]
fn keys_end_a_run_that_leads_its_terminal() {
    if !Terminal::is_here() {
        return;
    }
    let stopped = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| stat.contains(") T "))
    };
    for both_at_once in [false, true] {
        let lab = Lab::new(1);
        let terminal = Terminal::leading(lab.tool(&["holds"]));
        let [runner, test, _] = lab.said("held");
        terminal.key("C-z");
        if !both_at_once {
            eventually("the test stops", || stopped(&test));
        }
        terminal.key("C-c");
        assert_eq!(terminal.code(), 130, "{}", terminal.screen());
        assert!(!alive(&test) && !alive(&runner));
        assert!(lab.ledger().is_empty());
    }
}

#[test]
fn an_interrupt_ends_a_recipe_step() {
    let lab = Lab::new(1);
    let step = format!("echo $$ >{}; exec sleep 1000", lab.path("step").display());
    let recipe = format!("[recipes.slow]\nsteps = [{{ run = {step:?} }}]\n");
    lab.playbook(&(recipe + &target("alpha", 1, "recipe = \"slow\"")));
    let run = lab.start(&["quick"]);
    let [step] = lab.said("step");
    run.signal_group(Signal::INT);
    run.wait().code(130).never_says("timed out");
    assert!(!alive(&step));
    assert!(lab.ledger().is_empty());
}

/// Every kind of step that waits: `run` is above, `reboot` in `boots`, `sudo` in `remains`.
#[test]
fn an_interrupt_ends_each_kind_of_step() {
    let lab = Lab::new(1);
    let at = lab.path("").display().to_string();
    lab.script(
        "script.sh",
        &format!("#!/bin/sh\necho $$ >{at}script; exec sleep 1000\n"),
    );
    let made = lab.program("mkfifo").args([lab.path("fifo")]).run();
    made.code(0);
    let steps = [
        ("script", "{ script = \"script.sh\" }".to_owned()),
        // A FIFO without a reader.
        (
            "put",
            format!("{{ put = \"script.sh\", to = \"{at}fifo\" }}"),
        ),
        (
            "command",
            format!("{{ wait = {{ command = \"echo $$ >{at}command; exec sleep 1000\" }} }}"),
        ),
        (
            "again",
            format!("{{ wait = {{ command = \"touch {at}again; false\" }} }}"),
        ),
        ("port", "{ wait = { port = 1 } }".to_owned()),
        ("duration", "{ wait = { duration = \"1000s\" } }".to_owned()),
    ];
    let recipe = |(name, step): &(&str, String)| {
        let run = format!("{{ run = \"touch {at}before-{name}\" }}");
        format!("[recipes.{name}]\nsteps = [{run}, {step}]\n")
            + &target(name, 1, &format!("recipe = \"{name}\""))
    };
    lab.playbook(&steps.iter().map(recipe).collect::<String>());
    let run = lab.start(&["quick"]);
    for (name, _) in &steps {
        eventually(name, || lab.path(&format!("before-{name}")).exists());
    }
    let pids = ["script", "command"].map(|name| {
        let [pid] = lab.said(name);
        pid
    });
    eventually("a try", || lab.path("again").exists());
    run.signal_group(Signal::INT);
    let run = run.wait().code(130).never_says("timed out");
    let run = run.never_says("took too long").never_says("failed to");
    for pid in pids {
        assert!(!alive(&pid), "{run:?}");
    }
    assert!(lab.ledger().is_empty(), "{run:?}");
}

/// A process of another user, started by `sudo`, may still make the machine: its record stays until it has ended.
#[test]
fn an_interrupt_waits_for_what_sudo_does_for_a_deploy() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for ends in [true, false] {
        let lab = Lab::new(1);
        let folder = lab.path("");
        rustix::fs::chmod(&folder, 0o755.into()).expect("a folder");
        for name in ["ledger", "said"] {
            let _ = std::fs::create_dir(lab.path(name));
            rustix::fs::chmod(lab.path(name), 0o777.into()).expect("a folder");
        }
        let works = "trap : INT TERM HUP; echo $$ >said/new; mv said/new said/works; \
                     until [ -e go ] || [ ! -e said ]; do sleep 0.01; done; echo late >ledger/$0";
        let up = UP.replace(
            "echo \"$instance\"",
            &format!("sudo -u nobody sh -c '{works}' \"$unique\"; exit 1\n#"),
        );
        lab.script("up", &up);
        let without = ["--bounding-set", "-kill", "--inh-caps", "-kill"];
        let run = lab.program("setpriv").args(without);
        let mut run = run
            .args([env!("CARGO_BIN_EXE_cargo-target-test"), "quick"])
            .start();
        let [worker] = lab.said("said/works");
        run.signal_group(Signal::INT);
        run.wait_for(&format!("`sh` (pid {worker}, user nobody)"));
        lab.run(&["targets"]).code(0).line_with(&["alpha-0"]);
        assert!(alive(&worker));
        if ends {
            lab.let_go();
            run.wait().code(130).never_says("failed to delete");
        } else {
            run.wait()
                .code(130)
                .says("the interrupted `deploy` of `alpha-0` still works after 20 s");
            lab.run(&["targets"]).code(0).line_with(&["alpha-0"]);
            lab.let_go();
            lab.run(&["--delete-targets"])
                .code(0)
                .says("deleted alpha-0");
        }
        assert!(!alive(&worker), "{ends}");
        assert!(lab.ledger().is_empty(), "{ends}: {:?}", lab.ledger());
        lab.clean("a deploy by sudo");
    }
}

#[test]
fn a_delete_that_times_out_is_not_tried_at_once_again() {
    let lab = Lab::new(1);
    lab.script("down", "#!/bin/sh\necho >>tries; exec sleep 1000\n");
    lab.playbook(&target("alpha", 1, "delete-timeout = \"1s\""));
    lab.run(&["quick"])
        .code(69)
        .says("alpha-0 could not be deleted");
    let tries = std::fs::read_to_string(lab.path("tries")).expect("the tries");
    // Once when no case needs the instance any more, and once at the end.
    assert!(tries.lines().count() <= 2, "{tries}");
    lab.script("down", DOWN);
    lab.clean("a slow delete");
}

#[test]
fn a_run_inside_a_test_does_not_wait_for_itself() {
    let lab = Lab::new(1);
    lab.run(&["nested", "--success-output", "immediate"])
        .code(0)
        .says("this would wait for itself");
    assert!(lab.ledger().is_empty());
}

#[test]
fn an_interrupt_ends_what_a_container_engine_does() {
    let lab = Lab::new(1);
    let work =
        "run|create|pull) echo $$ >hangs.new; mv hangs.new hangs; exec sleep 1000 ;; ps) exit";
    let engine = format!(
        "#!/bin/sh\ncd {}\ncase $1 in {work} ;; esac\n",
        lab.path("").display()
    );
    lab.script("engine", &format!("{engine}echo 1\n"));
    let engine = lab.path("engine");
    lab.playbook(&format!(
        "[[targets]]\nname = \"alpha\"\nplatform = \"container\"\nimage = \"x\"\nengine = {engine:?}\n"
    ));
    let run = lab.start(&["quick"]);
    let [engine] = lab.said("hangs");
    run.signal_group(Signal::INT);
    run.wait().code(130).never_says("timed out");
    assert!(!alive(&engine));
}

/// Without the right to kill them, processes of another user are as those of `sudo`.
#[test]
fn a_test_may_leave_what_its_runner_cannot_kill() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let lab = Lab::new(1);
    let tool = env!("CARGO_BIN_EXE_cargo-target-test");
    let run = lab
        .program("setpriv")
        .args(["--bounding-set", "-kill", "--inh-caps", "-kill"]);
    let run = run.args([
        tool,
        "leaves_roots_process",
        "quick",
        "--success-output",
        "immediate",
    ]);
    let run = run.run();
    let [left] = lab.said("anothers");
    assert!(alive(&left));
    kill(&left);
    run.code(0)
        .says(&format!("(pid {left}, user "))
        .says("behind, which could not be killed")
        .line_with(&["PASS", "quick[alpha]"]);
    assert!(lab.ledger().is_empty());
}
