//! Runs that wait for each other, that are stopped, and whose instances are deleted under their hands.

use rustix::process::Signal;

use super::{Lab, kill};
use crate::support::{eventually, processes::running};

#[test]
fn a_run_waits_for_another_and_says_for_whom() {
    let lab = Lab::new(2);
    let first = lab.start(&["holds", "idle"]);
    eventually("both to be held", || {
        lab.run(&["targets"]).lines_with(&["alpha-", "[alpha]"]) == 2
    });
    let mut second = lab.start(&["quick", "other", "--no-capture"]);
    second.wait_for("waiting for alpha: 2 of 2 leased (pid ");
    lab.let_go();
    second.wait().code(0);
    first.wait().code(0);
    assert!(lab.ledger().is_empty());
}

/// Two terminals with one case each: the second does not wait for the first's instance, but makes one; the third finds
/// that kept, and neither waits nor makes another.
#[test]
fn who_needs_one_takes_what_is_free() {
    let lab = Lab::new(3);
    let first = lab.start(&["holds"]);
    let [_, _, instance, _] = lab.said("held");
    assert_eq!(instance, "alpha-0");
    lab.run(&["quick", "--keep-targets"])
        .code(0)
        .line_with(&["PASS", "deploy[alpha-1]"])
        .line_with(&["PASS", "quick[alpha]"]);
    assert_eq!(lab.ledger(), ["alpha-0", "alpha-1"]);
    lab.run(&["other", "--no-capture"])
        .code(0)
        .says("alpha-1: kept from an earlier run")
        .line_with(&["PASS", "other[alpha]"]);
    lab.let_go();
    first.wait().code(0);
}

/// The place in the queue of a runner that was killed while it waited holds nobody up.
#[test]
fn a_waiter_that_dies_gives_its_place_away() {
    let lab = Lab::new(1);
    let first = lab.start(&["holds"]);
    let _: [String; 1] = lab.said("held");
    let mut second = lab.start(&["other", "quick", "--no-capture"]);
    second.wait_for("waiting for alpha: 1 of 1 leased");
    let place = lab.path("").display().to_string();
    let runners = running(|one| {
        let words = one.words();
        words.contains(&"other[alpha]".to_owned()) && words.iter().any(|word| word.contains(&place))
    });
    assert_eq!(runners.len(), 1);
    kill(&runners[0].to_string());
    let mut third = lab.start(&["quick", "--no-capture"]);
    third.wait_for("waiting for alpha: 1 of 1 leased");
    lab.let_go();
    second
        .wait()
        .code(69)
        .line_with(&["infra: other[alpha]"])
        .line_with(&["PASS", "quick[alpha]"]);
    third.wait().code(0);
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
