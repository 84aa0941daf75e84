//! Requirements, criteria, orders, modes, scenarios: what is chosen, and on which instances it runs.

/// Instances: spent, spare, fresh, let go.
mod instances;
/// Modes, scenarios, statistics, and the report's file.
mod modes;
/// Orders and shards.
mod order;
/// Partitions of one run.
mod partitions;
/// Criteria, overrides, requirements.
mod rules;

use crate::{run::world::World, support::Outcome};

/// The crate, on two targets of this machine.
fn world() -> World {
    let files = [("tests/all.rs", include_str!("crates/choosing/all.rs"))];
    World::of("choosing-world", "\n[workspace]\n", &files)
}

/// The crate, on machines that a script makes.
fn on_machines(targets: &str) -> World {
    world().with_machines(targets)
}

/// `list --json` with these arguments.
#[track_caller]
fn listed(world: &World, args: &[&str]) -> serde_json::Value {
    let run = world.run(&[&["list", "--json"], args].concat()).code(0);
    serde_json::from_str(&run.stdout).expect("JSON")
}

/// The names of the cases that `list` shows.
#[track_caller]
fn cases(world: &World, args: &[&str]) -> Vec<String> {
    let listed = listed(world, args);
    let cases = listed["cases"].as_array().expect("cases").iter();
    cases
        .map(|case| case["case"].as_str().expect("a name").to_owned())
        .collect()
}

/// The cases that nextest says have passed, in the order in which they ended.
fn passed(run: &Outcome) -> Vec<String> {
    let lines = run.stderr.lines().filter(|line| line.contains("PASS ["));
    let names = lines.filter_map(|line| line.split_whitespace().last());
    let names = names.filter(|name| !name.starts_with("deploy["));
    names.map(str::to_owned).collect()
}
