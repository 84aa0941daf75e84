//! Which case starts when, and which shard has it.

use std::collections::BTreeMap;

use super::{cases, on_machines, world};
use crate::run::world::World;

/// The tests of `timed` in the order in which they started.
fn started(world: &World, args: &[&str]) -> Vec<String> {
    let _ = std::fs::remove_file(world.path("started"));
    let args = [&["timed::", "--on", "east", "-j1"], args].concat();
    world.run(&args).code(0);
    world.read("started").lines().map(str::to_owned).collect()
}

#[test]
fn from_the_second_run_on_the_longest_start_first() {
    let world = world();
    assert_eq!(started(&world, &[]), ["a_short", "b_middle", "c_long"]);
    assert_eq!(started(&world, &[]), ["c_long", "b_middle", "a_short"]);
}

#[test]
fn chance_can_be_had_again_by_its_seed() {
    let world = world();
    let run = world.run(&["timed::", "--order", "random"]).code(0);
    let note = run
        .stderr
        .lines()
        .find(|line| line.contains("random order"));
    let note = note.expect("the seed is said");
    let seed = note
        .split("--seed ")
        .nth(1)
        .and_then(|rest| rest.split('`').next());
    let seed = seed.expect("a seed");
    assert!(seed.parse::<u64>().is_ok(), "{note}");
    let one = started(&world, &["--order", "random", "--seed", seed]);
    assert_eq!(started(&world, &["--order", "random", "--seed", seed]), one);
    let mut orders = std::collections::BTreeSet::new();
    for seed in ["1", "2", "3", "4", "5", "6"] {
        orders.insert(started(&world, &["--order", "random", "--seed", seed]));
    }
    assert!(orders.len() > 1, "{orders:?}");
}

/// Two terminals, one pool: every case once, every machine once.
#[test]
fn shards_at_once_share_their_instances() {
    let world = on_machines("[[targets]]\nname = \"east\"\nplatform = \"command\"\ncount = 2\n");
    let part = |part: &str| world.tool(&["shards::", "--partition", part]);
    // Both have begun before the first machine is there: a run deletes what no other run uses.
    let up = world.read("up");
    world.program(
        "up",
        &up.replace("set -e;", "until [ -e go ]; do sleep 0.01; done; set -e;"),
    );
    let mut halves = ["slice:1/2", "slice:2/2"].map(|half| part(half).start());
    for half in &mut halves {
        half.wait_for("Starting ");
    }
    world.file("go", "");
    for half in halves {
        half.wait().code(0);
    }
    let ran = world.read("ran");
    let mut counts = BTreeMap::<&str, u32>::new();
    for line in ran.lines() {
        *counts.entry(line).or_default() += 1;
    }
    let all = ["a_one east", "b_two east", "c_one east", "d_two east"];
    assert_eq!(counts, all.map(|case| (case, 1)).into());
    let ledger = world.read("ledger");
    for instance in ["east-0", "east-1"] {
        assert_eq!(
            ledger.matches(&format!("deploy {instance}")).count(),
            1,
            "{ledger}"
        );
    }
    world.is_clean();
    let whole = cases(&world, &["shards::"]);
    for kind in ["count", "hash", "slice"] {
        let mut union = Vec::new();
        for part in 1..=3 {
            union.extend(cases(
                &world,
                &["shards::", "--partition", &format!("{kind}:{part}/3")],
            ));
        }
        union.sort();
        assert_eq!(union, whole, "{kind}");
    }
}
