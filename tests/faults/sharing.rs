//! Runs that wait for each other, that are stopped, and whose instances are deleted under their hands.

use rustix::process::Signal;

use super::Lab;
use crate::support::eventually;

#[test]
fn a_run_waits_for_another_and_says_for_whom() {
    let lab = Lab::new(2);
    let first = lab.start(&["holds", "idle"]);
    let _: [String; 1] = lab.said("held");
    let mut second = lab.start(&["quick", "other", "--no-capture"]);
    second.wait_for("waiting for alpha: 2 of 2 leased (pid ");
    lab.let_go();
    second.wait().code(0);
    first.wait().code(0);
    assert!(lab.ledger().is_empty());
}

#[test]
fn a_stopped_run_is_seen_as_stopped_and_goes_on() {
    let lab = Lab::new(1);
    let first = lab.start(&["holds"]);
    let _: [String; 1] = lab.said("held");
    first.signal_group(Signal::TSTP);
    eventually("the run to be stopped", || {
        lab.run(&["targets"]).lines_with(&["alpha-0", "(stopped)"]) == 1
    });
    let mut second = lab.start(&["quick", "--no-capture"]);
    second.wait_for("holds[alpha] (stopped)");
    lab.let_go();
    first.signal_group(Signal::CONT);
    first.wait().code(0);
    second.wait().code(0);
    assert!(lab.ledger().is_empty());
}

#[test]
fn what_a_living_run_holds_is_deleted_by_force_only() {
    let lab = Lab::new(1);
    let run = lab.start(&["holds"]);
    let [runner] = lab.said("held");
    lab.run(&["--delete-targets"])
        .code(69)
        .says(&format!("`alpha-0` is in use (pid {runner} holds[alpha]"))
        .says("--force");
    assert_eq!(lab.ledger(), ["alpha-0"]);
    lab.run(&["--delete-targets", "--force"])
        .code(0)
        .says("deleted alpha-0");
    assert!(lab.ledger().is_empty());
    lab.let_go();
    run.wait().never_says("panicked");
    lab.clean("by force");
}
