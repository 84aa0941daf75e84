//! nextest decides every filter and partition, over names of cases; no filter can drop a deploy.

use std::collections::BTreeSet;

use super::world::{World, summary};
use crate::support::Outcome;

/// The names of the cases and plain tests that `list` shows for these arguments.
fn listed(world: &World, args: &[&str]) -> BTreeSet<String> {
    let run = world.run(&[&["list", "--json"], args].concat()).code(0);
    let json: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    let names = |list: &str, key: &str| -> Vec<String> {
        let entries = json[list].as_array().cloned().unwrap_or_default();
        let name = |entry: &serde_json::Value| entry[key].as_str().map(str::to_owned);
        entries.iter().filter_map(name).collect()
    };
    let mut all = names("cases", "case");
    all.extend(names("plain", "test"));
    let count = all.len();
    let all: BTreeSet<_> = all.into_iter().collect();
    assert_eq!(all.len(), count, "twice in {run:?}");
    all
}

fn passed(run: &Outcome, names: &[&str]) {
    let count = names.len();
    for name in names {
        assert_eq!(run.lines_with(&["PASS", name]), 1, "{name}: {run:?}");
    }
    let deploys = run.lines_with(&["PASS", "deploy["]);
    let total = format!("{} tests run: {}", count + deploys, count + deploys);
    assert!(summary(run).starts_with(&total) && deploys > 0, "{run:?}");
}

#[test]
fn filters_choose_cases_and_keep_their_deploys() {
    let world = World::new();
    passed(
        &world.run(&["passes[east]"]).code(0),
        &["verdict::passes[east]"],
    );
    passed(
        &world
            .run(&["-E", "test(/^verdict::(passes|skips)/) & test(/west/)"])
            .code(0),
        &["verdict::passes[west]", "verdict::skips[west]"],
    );
    let skip = [
        "good::", "--", "--skip", "meets", "--skip", "west", "--skip", "pair",
    ];
    passed(
        &world.run(&skip).code(0),
        &["good::late[east]", "good::early[east]"],
    );
    passed(
        &world
            .run(&["--", "--exact", "verdict::passes[west]"])
            .code(0),
        &["verdict::passes[west]"],
    );
    passed(
        &world.run(&["--run-ignored", "only", "good::"]).code(0),
        &["good::ignored[east]", "good::ignored[west]"],
    );
    passed(
        &world
            .run(&["good::ignored[east]", "--", "--include-ignored"])
            .code(0),
        &["good::ignored[east]"],
    );
}

#[test]
fn colours_do_not_hide_cases() {
    let world = World::new();
    for tool in [
        world
            .tool(&["passes[east]"])
            .env("CARGO_TERM_COLOR", "always"),
        world.tool(&["passes[east]", "--color", "always"]),
    ] {
        tool.run().code(0).says("verdict");
    }
}

#[test]
fn the_users_default_filter_holds_unless_ignored() {
    let world = World::new().nextest(
        "[profile.default]\ndefault-filter = 'test(/^verdict::passes.east/) | test(=verdict::skips)'\n",
    );
    let run = world.run(&[]).code(0);
    passed(&run, &["verdict::passes[east]"]);
    run.line_with(&[
        "warning: `verdict::skips` is a test, and matches none of its cases",
        "`verdict::skips[east]`",
    ]);
    let run = world.run(&["--ignore-default-filter", "verdict::passes"]);
    passed(
        &run.code(0),
        &["verdict::passes[east]", "verdict::passes[west]"],
    );
}

/// Every k/N is nextest's own choice, and together they are every case exactly once.
#[test]
fn partitions_cover_every_case_once() {
    let world = World::new();
    let all = listed(&world, &[]);
    for kind in ["count", "hash", "slice"] {
        let mut union = BTreeSet::new();
        for part in 1..=3 {
            let partition = format!("{kind}:{part}/3");
            for name in listed(&world, &["--partition", &partition]) {
                assert!(union.insert(name.clone()), "{name} is in two of {kind}");
            }
        }
        assert_eq!(union, all, "{kind}");
    }
    let half = [
        "--partition",
        "slice:1/2",
        "verdict::passes",
        "verdict::skips",
    ];
    let (listed, run) = (listed(&world, &half), world.run(&half).code(0));
    let names: Vec<_> = listed.iter().map(String::as_str).collect();
    assert_eq!(names.len(), 2);
    passed(&run, &names);
}

#[test]
fn no_case_means_no_deploy_and_nextests_own_words() {
    let world = World::on_machines("[[targets]]\nname = \"east\"\nplatform = \"command\"\n");
    let run = world.run(&["no_such_case"]).code(4).says("no tests to run");
    run.never_says("deploy[");
    world
        .run(&["no_such_case", "--no-tests", "pass"])
        .code(0)
        .never_says("warning");
    assert_eq!(world.read("ledger"), "");
    world
        .run(&["--", "--exact", "verdict::passes"])
        .code(4)
        .line_with(&[
            "warning: `verdict::passes` is a test",
            "`verdict::passes[east]`",
        ]);
    world
        .run(&["-E", "test(=verdict::passes)"])
        .code(4)
        .says("or for all of them `test(/^verdict::passes\\[/)`");
}
