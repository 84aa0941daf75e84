//! Which instances cases get, and what becomes of these.

use super::{cases, on_machines, passed, world};

fn count(world: &crate::run::world::World, word: &str) -> usize {
    world.read("ledger").matches(word).count()
}

/// The replacement comes up beside the running tests; nothing is made that no case needs.
#[test]
fn spent_instances_are_replaced_ahead() {
    let world = on_machines(
        "[[targets]]\nname = \"east\"\nplatform = \"command\"\ncount = 1\nmax-spares = 1\n",
    );
    let run = world.run(&["fresh::spends"]).code(0);
    assert_eq!(passed(&run).len(), 3, "{run:?}");
    let machines = world.read("spent");
    let mut machines: Vec<_> = machines.lines().collect();
    machines.sort_unstable();
    machines.dedup();
    assert_eq!(machines.len(), 3, "each had its own");
    assert_eq!(
        (count(&world, "deploy"), count(&world, "delete")),
        (3, 3),
        "{run:?}"
    );
    world.is_clean();
}

#[test]
fn a_spent_instance_without_spares_is_made_anew() {
    is_made_anew(&["fresh::spends_1", "fresh::spends_2"]);
}

/// Where the platform cannot put it back.
#[test]
fn an_instance_that_cannot_be_put_back_is_made_anew() {
    is_made_anew(&["fresh::restored"]);
}

fn is_made_anew(tests: &[&str]) {
    let world = on_machines("[[targets]]\nname = \"east\"\nplatform = \"command\"\n");
    world.run(tests).code(0);
    let machines = world.read("spent");
    let machines: Vec<_> = machines.lines().collect();
    assert_eq!(machines.len(), 2);
    assert_ne!(machines[0], machines[1]);
    assert_eq!(count(&world, "deploy"), 2);
    world.is_clean();
}

#[test]
fn an_attempt_after_a_failed_one_gets_a_fresh_instance_where_it_asks() {
    let world = on_machines("[[targets]]\nname = \"east\"\nplatform = \"command\"\n");
    let run = world.run(&["fresh::third_machine_passes"]).code(0);
    for attempt in ["TRY 1 FAIL", "TRY 2 FAIL", "TRY 3 PASS"] {
        assert!(run.lines_with(&[attempt]) >= 1, "{attempt}: {run:?}");
    }
    let tried = world.read("tried");
    let mut machines: Vec<_> = tried.lines().collect();
    machines.sort_unstable();
    machines.dedup();
    assert_eq!((tried.lines().count(), machines.len()), (3, 3), "{tried}");
    world.is_clean();

    let world = on_machines("[[targets]]\nname = \"east\"\nplatform = \"command\"\n");
    world.run(&["fresh::second_attempt_passes"]).code(0);
    let tried = world.read("tried");
    let machines: Vec<_> = tried.lines().collect();
    assert!(machines.len() == 2 && machines[0] == machines[1], "{tried}");
}

/// They come first; the third case gets the instance of one of them.
#[test]
fn a_test_starts_on_a_machine_that_no_test_has_used() {
    let east = "[[targets]]\nname = \"east\"\nplatform = \"command\"\n";
    let world = on_machines(east);
    world.run(&["fresh::starts_", "--keep-targets"]).code(0);
    let started = world.read("started");
    let machines: Vec<_> = started.lines().collect();
    assert_eq!(machines.len(), 3, "{started}");
    assert_ne!(machines[0], machines[1]);
    assert_eq!(machines[1], machines[2]);
    assert_eq!(count(&world, "deploy"), 2);
    // A kept instance was used by an earlier run.
    world.run(&["fresh::starts_fresh_1"]).code(0);
    assert_eq!(count(&world, "deploy"), 3);
    world.is_clean();

    let lab = "[[targets]]\nname = \"lab\"\nplatform = \"ssh\"\nhosts = [\"127.0.0.1:1\"]\n";
    let world = on_machines(&format!("{east}{lab}"));
    let list = world.run(&["list", "fresh::starts_"]).code(0);
    let list = list.says("needs a fresh machine, which target `lab` (platform `ssh`)");
    list.says("fresh::starts_anywhere[lab]");
}

/// Four cases that try three times, each time on two machines. Those that spend them need 24, and one is spare. Of the
/// others each has four replaced; where a third one is there, a machine of an earlier case may be one more.
#[test]
fn only_what_a_test_has_used_is_replaced_by_fresh_instances() {
    for (test, instances, most) in [
        ("fresh::pair_spends", "count = 2\nmax-spares = 1", 25),
        ("fresh::pair_passes_on", "count = 2", 18),
        ("fresh::pair_passes_on", "count = 3", 22),
    ] {
        let world = on_machines(&format!(
            "[[targets]]\nname = \"east\"\nplatform = \"command\"\n{instances}\n[[criteria]]\ntimes = 4\n",
        ));
        world.run(&[test]).code(0);
        let tried = world.read("tried");
        assert_eq!(tried.lines().count(), 24, "{tried}");
        let made = count(&world, "deploy");
        assert!(made <= most, "{test} with {instances}: {made} instances");
        world.is_clean();
    }
}

/// A machine that is there to stay has to be told what "fresh" means.
#[test]
fn fresh_instances_of_machines_that_stay_are_refused() {
    let world = super::world();
    world.file(
        "target-test.toml",
        "[[targets]]\nname = \"lab\"\nplatform = \"ssh\"\nhosts = [\"127.0.0.1:1\"]\n",
    );
    world
        .run(&["fresh::third_machine_passes"])
        .code(78)
        .says("declares `retry_on = \"fresh\"`, and target `lab`")
        .says("on-dirty");
}

const COSTS: &str = "[[targets]]\nname = \"dear\"\nplatform = \"command\"\ncost = 9\n\
                     [[targets]]\nname = \"cheap\"\nplatform = \"command\"\n";

#[test]
fn a_test_that_does_not_care_runs_once_where_it_is_cheapest() {
    let world = on_machines(COSTS);
    assert_eq!(cases(&world, &["any::"]), ["any::anywhere[cheap]"]);
    let run = world.run(&["any::"]).code(0);
    assert_eq!(world.read("any"), "cheap\n");
    run.says("target-test: instance-seconds: cheap ");
    assert_eq!(
        cases(&world, &["any::", "--on", "dear"]),
        ["any::anywhere[dear]"]
    );
    let list = world.run(&["list"]).code(0);
    list.says("any::anywhere[dear]: runs on any one target; `cheap` was chosen");
    world.is_clean();
}

/// `cheap` has all the work that is known; `dear` has none.
#[test]
fn a_test_that_does_not_care_runs_where_it_ends_first() {
    let rules =
        "[[criteria]]\nname = \"any::\"\n[[criteria]]\nname = \"timed::\"\ntarget = \"cheap\"\n";
    let world = on_machines(&format!("{COSTS}{rules}"));
    let where_to = |how: &str| {
        let cases = cases(&world, &["--prefer", how]);
        cases.into_iter().find(|case| case.starts_with("any::"))
    };
    assert_eq!(
        where_to("cheapest").as_deref(),
        Some("any::anywhere[cheap]")
    );
    assert_eq!(where_to("fastest").as_deref(), Some("any::anywhere[dear]"));
}

/// The long test sees the machine go that the short one had.
#[test]
fn an_instance_that_no_case_needs_goes_while_others_run() {
    let targets = "[[targets]]\nname = \"quick\"\nplatform = \"command\"\n\
                   [[targets]]\nname = \"patient\"\nplatform = \"command\"\n";
    let world = on_machines(targets);
    let run = world.run(&["early::"]).code(0);
    assert_eq!(passed(&run).len(), 2, "{run:?}");
    run.line_with(&["TARGET  PASSED  INSTANCES  SECONDS"])
        .line_with(&["       quick       1          1  "])
        .line_with(&["     patient       1          1  "]);
    assert_eq!((count(&world, "deploy"), count(&world, "delete")), (2, 2));
    world.is_clean();
}

#[test]
fn kept_instances_do_not_go_early() {
    let world = on_machines("[[targets]]\nname = \"quick\"\nplatform = \"command\"\n");
    let kept = world.run(&["--keep-targets", "early::"]).code(0);
    kept.says("        Kept quick-0  ");
    assert_eq!(count(&world, "delete"), 0);
    world.run(&["--delete-targets"]).code(0);
    world.is_clean();
}

/// Each target is tried once; then the faster one has the test.
#[test]
fn the_fastest_is_the_faster_of_those_that_were_tried() {
    let world = world();
    world.file("uneven", "");
    for _ in 0..4 {
        let run = world.run(&["any::anywhere", "--prefer", "fastest"]);
        run.code(0);
    }
    assert_eq!(world.read("any"), "east\nwest\nwest\nwest\n");
}
