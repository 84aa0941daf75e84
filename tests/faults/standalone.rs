//! Tests that were started without the tool: one broker for each pool, which dies, goes and comes again.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{Lab, alive, kill, signal, target};
use crate::support::{core_limit, eventually, processes};

const TEST: &[&str] = &["test", "--test", "faults", "--quiet", "--", "--exact"];

fn test(name: &str) -> Vec<&str> {
    [TEST, &[name]].concat()
}

/// The numbers of the brokers of this lab's pool.
pub(super) fn brokers(lab: &Lab) -> Vec<String> {
    brokers_of(&lab.path("pool"))
}

fn brokers_of(pool: &Path) -> Vec<String> {
    let all = processes::brokers(pool).into_iter();
    all.map(|pid| pid.to_string()).collect()
}

#[test]
fn tests_share_one_broker_which_goes_and_takes_its_instances() {
    let lab = Lab::new(2);
    let first = lab.cargo(&test("holds")).start();
    let _: [String; 1] = lab.said("held");
    let one = brokers(&lab);
    assert_eq!(one.len(), 1);
    lab.cargo(&test("quick")).run().code(0).says("1 passed");
    assert_eq!(brokers(&lab), one);
    lab.run(&["targets"])
        .code(0)
        .line_with(&["leased", "faults::holds"]);
    // It stays for a while; who is slow to see its end does no harm.
    let started = Instant::now();
    lab.let_go();
    first.wait().code(0);
    let idle = format!(
        "the broker of tests outside a run, pid {}, which ends 10 s after",
        one[0]
    );
    lab.run(&["--delete-targets", "--all"]).code(69).says(&idle);
    eventually("the broker's end", || brokers(&lab).is_empty());
    let took = started.elapsed();
    assert!(took > Duration::from_secs(5), "gone after {took:?}");
    assert!(lab.ledger().is_empty());
}

#[test]
fn a_killed_broker_is_an_error_and_what_it_kept_can_be_deleted() {
    let lab = Lab::new(1);
    let run = lab.cargo(&test("holds")).env("RUST_BACKTRACE", "0").start();
    let _: [String; 1] = lab.said("held");
    let [broker] = <[String; 1]>::try_from(brokers(&lab)).expect("one broker");
    kill(&broker);
    eventually("the broker's end", || !alive(&broker));
    lab.let_go();
    run.wait().code(101).says("broker gone");
    assert_eq!(lab.ledger(), ["alpha-0"]);
    // The next one comes up by itself; a machine whose holder died is made anew. It learns later that it is kept.
    lab.cargo(&test("quick")).run().code(0);
    let next = brokers(&lab);
    lab.cargo(&test("quick"))
        .env("TARGET_TEST_KEEP", "1")
        .run()
        .code(0);
    assert_eq!(brokers(&lab), next);
    assert_eq!(lab.ledger(), ["alpha-0"]);
    eventually("the broker's end", || brokers(&lab).is_empty());
    assert_eq!(lab.ledger(), ["alpha-0"], "kept");
    lab.clean("a kept instance of a broker");
}

#[test]
fn many_who_want_a_broker_get_the_same_and_none_outlives_its_pool() {
    let lab = Lab::new(1);
    let all: Vec<_> = (0..20)
        .map(|_| lab.tool(&["broker", "--ensure"]).start())
        .collect();
    let mut sockets: Vec<_> = (all.into_iter())
        .map(|one| one.wait().code(0).stdout)
        .collect();
    sockets.sort();
    sockets.dedup();
    assert_eq!(sockets.len(), 1, "{sockets:?}");
    eventually("the losers' end", || brokers(&lab).len() == 1);
    // One whose pool stays waits for clients for a while; the other, asked after it, would wait for longer.
    let ensure = ["broker", "--ensure"];
    let stays = lab.path("stays");
    lab.tool(&ensure)
        .env("TARGET_TEST_POOL", &stays)
        .run()
        .code(0);
    lab.tool(&ensure).run().code(0);
    fs::remove_dir_all(lab.path("pool")).expect("the pool");
    eventually("the broker's end", || brokers(&lab).is_empty());
    assert_eq!(brokers_of(&stays).len(), 1);
    fs::remove_dir_all(&stays).expect("the pool");
    eventually("the other's end", || brokers_of(&stays).is_empty());
}

/// It deletes what it made, and what it knows is in no core file.
#[test]
fn a_broker_that_is_told_to_quit_cleans_up() {
    let lab = Lab::new(1);
    let script = "ulimit -S -c $(ulimit -H -c); exec cargo \"$@\"";
    let words = [&["-c", script, "sh"][..], &test("holds")].concat();
    let run = lab.program("sh").args(words).start();
    let _: [String; 1] = lab.said("held");
    let [broker] = <[String; 1]>::try_from(brokers(&lab)).expect("one broker");
    assert_eq!(core_limit(&broker), "0");
    signal(&broker, Signal::QUIT);
    eventually("the broker's end", || !alive(&broker));
    assert!(lab.ledger().is_empty());
    lab.let_go();
    run.wait().code(101).says("broker gone");
    lab.run(&["--delete-targets"])
        .code(0)
        .says("nothing to delete");
}

/// A deploy that failed is not the answer to the next run of the tests, though the broker is the same.
#[test]
fn a_script_that_was_corrected_is_tried_again() {
    let lab = Lab::new(1);
    let works = fs::read_to_string(lab.path("up")).expect("a script");
    lab.script("up", "#!/bin/sh\necho not yet >&2\nexit 1\n");
    lab.cargo(&test("quick")).run().code(101).says("not yet");
    let one = brokers(&lab);
    lab.script("up", &works);
    eventually("the deploy to be tried again", || {
        lab.cargo(&test("quick")).run().status.success()
    });
    assert_eq!(brokers(&lab), one);
    let missing = lab
        .cargo(&test("quick"))
        .env("TARGET_TEST_TARGET", "alpha-1");
    missing.run().code(101).says("no `alpha-1`");
    lab.playbook(&target("alpha", 1, ""));
    eventually("the broker's end", || brokers(&lab).is_empty());
    assert!(lab.ledger().is_empty());
}

#[test]
fn a_lease_ends_with_its_test_though_a_daemon_keeps_the_connection() {
    let lab = Lab::new(1);
    // Cargo waits for the output that the daemon holds.
    let first = lab.cargo(&test("forks")).start();
    let [daemon] = lab.said("forked");
    lab.cargo(&test("quick")).run().code(0).says("1 passed");
    assert!(alive(&daemon));
    lab.let_go();
    first.wait().code(0);
}
