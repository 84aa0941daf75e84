//! Orders of cases and their nextest priorities.

use serde_json::{Value, json};

use super::*;
use crate::plan::{Choosing, build, testing};

/// Returns the names of the cases in nextest's order: by priority, then by name.
fn started(tests: &[(&str, Value)], durations: &Durations, order: Order) -> Vec<(String, i8)> {
    let tests: Vec<_> = tests
        .iter()
        .map(|(name, json)| (*name, Some(json.clone())))
        .collect();
    let inventory = testing::inventory(&tests);
    let choosing = Choosing {
        durations: Some(durations),
        order,
        ..Choosing::default()
    };
    let plan = build(&inventory, &[testing::target("t")], &choosing).unwrap();
    let mut cases: Vec<_> = plan
        .cases
        .into_iter()
        .map(|case| (case.info.name.clone(), case.rank))
        .collect();
    cases.sort_by_key(|(name, rank)| (Reverse(*rank), name.clone()));
    cases
}

fn names(started: &[(String, i8)]) -> Vec<&str> {
    started
        .iter()
        .map(|(name, _)| name.trim_end_matches("[t]"))
        .collect()
}

fn durations(all: &[(&str, f64)]) -> Durations {
    let mut durations = Durations::default();
    for (test, seconds) in all {
        durations.note("hello", test, "t", *seconds);
    }
    durations
}

#[test]
fn important_then_alike_then_long_ones_start_first() {
    let nothing = Durations::default();
    let tests = [
        ("a", json!({"priority": 4})),
        ("b", json!({})),
        ("c", json!({"priority": 0})),
        ("d", json!({"priority": 2})),
    ];
    let cases = started(&tests, &nothing, Order::Planned);
    assert_eq!(names(&cases), ["c", "b", "d", "a"]);
    assert_eq!(cases[1].1, 0, "the most frequent needs no override");

    let tests = [
        ("a", json!({"requirements": {"cores": "> 1"}})),
        ("b", json!({})),
        ("c", json!({"requirements": {"cores": "> 1"}})),
        ("d", json!({})),
        ("e", json!({"reuse": false})),
        ("f", json!({"fresh": true})),
    ];
    let cases = started(&tests, &nothing, Order::Planned);
    assert_eq!(names(&cases), ["f", "a", "c", "b", "d", "e"]);
    let times = durations(&[("a", 0.5), ("b", 1.0), ("c", 0.7), ("d", 9.0), ("e", 99.0)]);
    let cases = started(&tests, &times, Order::Planned);
    assert_eq!(names(&cases), ["f", "d", "b", "c", "a", "e"]);
}

#[test]
fn what_was_never_run_starts_first_and_noise_changes_nothing() {
    let tests = [("a", json!({})), ("b", json!({})), ("c", json!({}))];
    let cases = started(
        &tests,
        &durations(&[("a", 0.1), ("b", 3.0)]),
        Order::Planned,
    );
    assert_eq!(names(&cases), ["b", "c", "a"]);
    let cases = started(
        &tests,
        &durations(&[("a", 0.001), ("b", 0.002), ("c", 0.019)]),
        Order::Planned,
    );
    assert!(cases.iter().all(|(_, rank)| *rank == 0), "{cases:?}");
}

#[test]
fn chance_is_the_seed_alone() {
    let tests: Vec<_> = (0..300)
        .map(|number| (format!("t{number:03}"), json!({})))
        .collect();
    let tests: Vec<_> = tests
        .iter()
        .map(|(name, json)| (name.as_str(), json.clone()))
        .collect();
    let nothing = Durations::default();
    let one = started(&tests, &nothing, Order::Random(1));
    assert_eq!(one, started(&tests, &nothing, Order::Random(1)));
    assert_ne!(one, started(&tests, &nothing, Order::Random(2)));
    assert_ne!(
        names(&one),
        names(&started(&tests, &nothing, Order::Planned))
    );
}

proptest::proptest! {
    /// Priorities descend with the ranks, stay in range and leave 100 to deploys.
    #[test]
    fn priorities_fall(ranks in proptest::collection::vec(0_usize..600, 1..700)) {
        let mut dense = ranks.clone();
        dense.sort_unstable();
        dense.dedup();
        let ranks: Vec<_> = ranks.iter().map(|rank| dense.binary_search(rank).expect("in it")).collect();
        let all = priorities(&ranks);
        proptest::prop_assert_eq!(all.len(), dense.len());
        proptest::prop_assert!(all.windows(2).all(|pair| pair[0] >= pair[1]));
        proptest::prop_assert!(dense.len() > PRIORITIES || all.windows(2).all(|pair| pair[0] > pair[1]));
        proptest::prop_assert!(all.iter().all(|one| (-100..100).contains(one)));
    }
}
