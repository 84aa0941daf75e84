//! Tables of tests and targets, and the resulting cases.

use proptest::prelude::*;
use serde_json::json;

use super::super::{Durations, Prefer, missed, testing};
use super::*;

fn selected(select: Select) -> Choosing<'static> {
    Choosing {
        select,
        ..Choosing::default()
    }
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.cases
        .iter()
        .map(|case| case.info.name.as_str())
        .collect()
}

fn targets(names: &[&str]) -> Vec<PlaybookTarget> {
    names.iter().map(|name| testing::target(name)).collect()
}

/// Shards have recorded different durations; a test that runs on any one target must be in exactly one shard.
#[test]
fn shards_plan_the_same_cases() {
    let here = Some(json!({"targets": ["x"]}));
    let inventory = testing::inventory(&[("busy", here), ("any", Some(json!({"any": true})))]);
    let mut durations = Durations::default();
    durations.note("hello", "any", "y", 100.0);
    for (shared, expected) in [(false, "any[x]"), (true, "any[y]")] {
        let choosing = Choosing {
            prefer: Prefer::Fastest,
            durations: Some(&durations),
            shared,
            ..Choosing::default()
        };
        let plan = build(&inventory, &targets(&["x", "y"]), &choosing).unwrap();
        assert_eq!(names(&plan), ["busy[x]", expected]);
    }
}

/// A plan with too many cases is rejected before it takes memory.
#[test]
fn a_plan_has_at_most_a_million_cases() {
    let many = toml::from_str("times = 10000").expect("a rule");
    let choosing = Choosing {
        criteria: &[many],
        ..Choosing::default()
    };
    let of = |count: usize| {
        let targets: Vec<_> = (0..count)
            .map(|at| testing::target(&format!("x{at}")))
            .collect();
        build(&testing::inventory(&[("smoke", None)]), &targets, &choosing)
    };
    assert_eq!(of(3).unwrap().cases.len(), 30_000);
    let error = of(101).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1010000 cases are too many: a plan has at most 1000000"
    );
}

#[test]
fn which_tests_are_multiplied() {
    let some = [("plain", None), ("smoke", Some(json!({})))];
    let none = [("a", None), ("b", None)];
    for (tests, select, cases, plain) in [
        (&some, Select::Auto, vec!["smoke[x]", "smoke[y]"], vec![0]),
        (
            &some,
            Select::All,
            vec!["plain[x]", "plain[y]", "smoke[x]", "smoke[y]"],
            vec![],
        ),
        (
            &none,
            Select::Auto,
            vec!["a[x]", "a[y]", "b[x]", "b[y]"],
            vec![],
        ),
    ] {
        let plan = build(
            &testing::inventory(tests),
            &targets(&["x", "y"]),
            &selected(select),
        )
        .unwrap();
        assert_eq!((names(&plan), plan.plain.clone()), (cases, plain));
    }
    assert_eq!(
        build(
            &Inventory::default(),
            &targets(&["x"]),
            &selected(Select::Auto)
        )
        .unwrap(),
        Plan::default()
    );
}

#[test]
fn tests_of_host_binaries_run_once_and_decide_nothing() {
    let mut inventory = testing::inventory(&[("smoke", None), ("derives", Some(json!({})))]);
    inventory.binaries.push(testing::binary("macros", true));
    inventory.tests[1].binary = 1;
    for select in [Select::Auto, Select::All] {
        let plan = build(&inventory, &targets(&["x"]), &selected(select)).unwrap();
        assert_eq!(
            (names(&plan), &plan.plain, &plan.notes),
            (vec!["smoke[x]"], &vec![1], &vec![])
        );
    }
}

#[test]
fn a_case_carries_what_its_test_declares() {
    let declared =
        json!({"count": 2, "priority": 1, "expect-fail": [{"reason": "bug 7", "target": "y"}]});
    let inventory = testing::inventory(&[("pair", Some(declared))]);
    let mut targets = targets(&["x", "y"]);
    targets.iter_mut().for_each(|target| target.count = 2);
    let plan = build(&inventory, &targets, &selected(Select::Auto)).unwrap();
    let [x, y] = plan.cases.as_slice() else {
        panic!("{plan:?}")
    };
    assert_eq!((x.count, x.target, x.expect_fail.len()), (2, 0, 0));
    assert_eq!(
        (y.count, y.target, y.expect_fail[0].reason.as_str()),
        (2, 1, "bug 7")
    );
}

#[test]
fn every_exclusion_has_its_reason() {
    let inventory = testing::inventory(&[
        ("env", Some(json!({"roles": ["gateway"]}))),
        ("never", Some(json!({"skip": [{"reason": "broken"}]}))),
        (
            "not_x",
            Some(json!({"skip": [{"reason": "slow", "target": "x"}]})),
        ),
        ("pair", Some(json!({"count": 2}))),
    ]);
    let plan = build(&inventory, &targets(&["x", "y"]), &selected(Select::Auto)).unwrap();
    assert_eq!(names(&plan), ["not_x[y]"]);
    let excluded: Vec<_> = plan
        .excluded
        .iter()
        .map(|e| (e.test, e.target, e.reason.to_string()))
        .collect();
    let excluded: Vec<_> = excluded.iter().map(|e| (e.0, e.1, e.2.as_str())).collect();
    assert_eq!(
        excluded,
        [
            (0, None, "needs roles, and the playbook has no environment"),
            (1, None, "skip: broken"),
            (2, Some(0), "skip: slow"),
            (3, Some(0), "needs 2 instances, `x` has 1"),
            (3, Some(1), "needs 2 instances, `y` has 1"),
        ]
    );
    let note = "3 tests run on no target, such as `env`: needs roles";
    assert!(
        plan.notes.len() == 1 && plan.notes[0].to_string().starts_with(note),
        "{:?}",
        plan.notes
    );
}

#[test]
fn a_name_that_is_taken_is_said() {
    let inventory = testing::inventory(&[("smoke", Some(json!({}))), ("smoke[x]", None)]);
    let plan = build(&inventory, &targets(&["x", "y"]), &selected(Select::Auto)).unwrap();
    assert_eq!(names(&plan), ["smoke[y]"]);
    assert_eq!(plan.notes.len(), 2, "{:?}", plan.notes);
    assert!(
        plan.notes[1]
            .to_string()
            .contains("is itself named `smoke[x]`"),
        "{:?}",
        plan.notes
    );
    let all = build(&inventory, &targets(&["x", "y"]), &selected(Select::All)).unwrap();
    assert_eq!(
        names(&all),
        ["smoke[x]", "smoke[y]", "smoke[x][x]", "smoke[x][y]"]
    );
}

#[test]
fn exact_names_that_miss_are_corrected() {
    let inventory = testing::inventory(&[("a::smoke", Some(json!({}))), ("plain", None)]);
    let plan = build(&inventory, &targets(&["x", "y"]), &selected(Select::Auto)).unwrap();
    assert_eq!(
        missed(
            &plan,
            &inventory,
            &["a::smoke", "plain", "a::smoke[x]", "none", "a::smoke"]
        ),
        [
            "`a::smoke` is a test, and matches none of its cases: write `a::smoke[x]`, \
          or for all of them `test(/^a::smoke\\[/)`"
        ]
    );
}

/// Quadratic work would exceed the time limit of the test.
#[test]
fn a_hundred_thousand_cases_are_planned() {
    let long = "n\u{e4}me ".repeat(40);
    let tests: Vec<_> = (0..1_000).map(|n| format!("dir/{n}.txt {long}")).collect();
    let tests: Vec<_> = tests
        .iter()
        .map(|name| (name.as_str(), Some(json!({"tags": ["x"]}))))
        .collect();
    let targets: Vec<_> = (0..100)
        .map(|n| testing::target(&format!("t{n}")))
        .collect();
    let inventory = testing::inventory(&tests);
    assert_eq!(
        build(&inventory, &targets, &selected(Select::Auto))
            .unwrap()
            .cases
            .len(),
        100_000
    );
}

fn test_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c](::[a-c]){0,2}",
        "[a-c](\\[[xy]\\]){0,2}",
        "[ -~\u{e0}-\u{ff}\u{4e00}-\u{4e20}]{1,20}",
        Just("dir/a.txt".to_owned()),
        Just("n".repeat(200)),
    ]
}

fn declared() -> impl Strategy<Value = Option<serde_json::Value>> {
    prop_oneof![
        Just(None),
        Just(Some(json!({}))),
        Just(Some(json!({"count": 2}))),
        Just(Some(json!({"targets": ["x*"]}))),
        Just(Some(json!({"skip": [{"reason": "r", "target": "y"}]}))),
        Just(Some(json!({"roles": ["a"]}))),
    ]
}

proptest! {
    #[test]
    fn every_pair_is_a_case_or_excluded_and_names_are_unique(
        tests in prop::collection::btree_map(test_name(), declared(), 0..12),
        all in any::<bool>(),
    ) {
        let tests: Vec<_> = tests.iter().map(|(name, json)| (name.as_str(), json.clone())).collect();
        let (inventory, targets) = (testing::inventory(&tests), targets(&["x", "y", "x.1"]));
        let plan = build(&inventory, &targets, &selected(if all { Select::All } else { Select::Auto })).unwrap();
        for number in 0..inventory.tests.len() {
            let plain = plan.plain.contains(&number);
            let cases: Vec<_> =
                plan.cases.iter().filter(|case| case.test == number).map(|case| case.target).collect();
            let out: Vec<_> =
                plan.excluded.iter().filter(|e| e.test == number).map(|e| e.target).collect();
            for at in 0..targets.len() {
                let (is, not) = (cases.contains(&at), out.contains(&Some(at)) || out.contains(&None));
                prop_assert!(usize::from(plain) + usize::from(is) + usize::from(not) == 1);
            }
            prop_assert!(cases.len() <= targets.len() && !(all && plain));
        }
        let plain = plan.plain.iter().map(|number| inventory.tests[*number].name.as_str());
        let mut names: Vec<_> = names(&plan).into_iter().chain(plain).collect();
        let total = names.len();
        names.sort_unstable();
        names.dedup();
        prop_assert_eq!(names.len(), total);
        for case in &plan.cases {
            let name = format!("{}[{}]", inventory.tests[case.test].name, targets[case.target].name);
            prop_assert_eq!(&case.info.name, &name);
        }
    }
}

/// A test with roles runs on environments that have them, once for each of its variants; others never do.
#[test]
fn roles_and_variants_decide_about_environments() {
    let inventory = testing::inventory(&[
        ("plain", Some(json!({}))),
        ("vlan", Some(json!({"roles": ["gateway", "tester"]}))),
        (
            "prints",
            Some(json!({"roles": ["gateway", "printer"], "runs-on": "printer"})),
        ),
        (
            "is_one",
            Some(json!({"roles": ["gateway"], "runs-on": "tester2"})),
        ),
        (
            "is_several",
            Some(json!({"roles": ["gateway"], "runs-on": "tester", "targets": ["lan"]})),
        ),
    ]);
    let targets = [testing::target("x"), testing::environment("lan")];
    let variant = |json| Arc::new(serde_json::from_value::<TestVariant>(json).expect("a variant"));
    let variants = [
        variant(json!({"name": "v7", "test": "vlan", "targets": "l*"})),
        variant(json!({"name": "v93", "test": "vlan"})),
        variant(json!({"name": "idle", "test": "vlan", "targets": "x"})),
    ];
    let choosing = Choosing {
        variants: &variants,
        ..Choosing::default()
    };
    let plan = build(&inventory, &targets, &choosing).expect("a plan");
    let names: Vec<_> = plan.cases.iter().map(|case| &*case.info.name).collect();
    assert_eq!(
        names,
        ["plain[x]", "vlan[lan/v7]", "vlan[lan/v93]", "is_one[lan]"]
    );
    assert_eq!(plan.cases[2].variant, Some(Arc::clone(&variants[1])));
    let reasons: Vec<_> = (plan.excluded.iter())
        .map(|one| (one.test, one.target, one.reason.to_string()))
        .collect();
    let reason = |test, target, text: &str| (test, Some(target), text.to_owned());
    assert_eq!(
        reasons,
        [
            reason(0, 1, "names no roles, and `lan` is an environment"),
            reason(
                1,
                0,
                "needs roles `gateway`, `tester`, `x` is not an environment"
            ),
            reason(
                2,
                0,
                "needs roles `gateway`, `printer`, `x` is not an environment"
            ),
            reason(
                2,
                1,
                "needs role `printer`, `lan` has `gateway`, `tester1`, `tester2`"
            ),
            reason(3, 0, "needs role `gateway`, `x` is not an environment"),
            reason(4, 0, "needs role `gateway`, `x` is not an environment"),
            reason(
                4,
                1,
                "needs one machine to run on, role `tester` of `lan` has `tester1`, `tester2`"
            ),
        ]
    );
    assert_eq!(plan.warnings, ["variant `idle` applies to no case"]);
}
