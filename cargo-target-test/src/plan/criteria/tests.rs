//! Tables of rules and their decisions on tests and targets.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::plan::{Plan, build, testing};

fn rule(toml: &str) -> Rule {
    toml::from_str(toml).expect(toml)
}

/// Tests of the tables: name, priority, area.
fn tests() -> Vec<(&'static str, Option<Value>)> {
    vec![
        ("smoke", Some(json!({"priority": 0}))),
        ("smoke_reboot", Some(json!({"priority": 1}))),
        ("verify_xdp", Some(json!({"priority": 0, "area": "xdp"}))),
        ("smoke_xdp", Some(json!({"priority": 2, "area": "xdp"}))),
    ]
}

fn planned(tests: &[(&str, Option<Value>)], criteria: &[Rule], expressions: &[Expression]) -> Plan {
    let choosing = Choosing {
        criteria,
        expressions,
        ..Choosing::default()
    };
    let targets = [testing::target("debian"), testing::target("ubuntu")];
    build(&testing::inventory(tests), &targets, &choosing).unwrap()
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.cases
        .iter()
        .map(|case| case.info.name.as_str())
        .collect()
}

#[test]
fn the_first_example_in_any_order_is_eight_cases() {
    let rules = [
        rule("priority = 0"),
        rule("name = \"smoke\"\ntimes = 2"),
        rule("area = \"xdp\"\nexclude = true"),
    ];
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    for order in orders {
        let rules = order.map(|number| rules[number].clone());
        let plan = planned(&tests(), &rules, &[]);
        assert_eq!(
            names(&plan),
            [
                "smoke[debian#1]",
                "smoke[debian#2]",
                "smoke[ubuntu#1]",
                "smoke[ubuntu#2]",
                "smoke_reboot[debian#1]",
                "smoke_reboot[debian#2]",
                "smoke_reboot[ubuntu#1]",
                "smoke_reboot[ubuntu#2]",
            ]
        );
        assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    }
}

#[test]
fn without_an_include_rule_everything_is_included() {
    let plan = planned(&tests(), &[rule("area = \"xdp\"\nexclude = true")], &[]);
    assert_eq!(plan.cases.len(), 4);
    let reason = "excluded by criteria `area = \"xdp\", exclude = true`";
    assert!(
        plan.excluded
            .iter()
            .all(|one| one.reason.to_string() == reason && !one.reason.is_unfit())
    );
    assert_eq!(planned(&tests(), &[], &[]).cases.len(), 8);
}

#[test]
fn a_rule_that_matches_nothing_selects_nothing_and_is_named() {
    let plan = planned(&tests(), &[rule("area = \"xpd\"")], &[]);
    assert!(plan.cases.is_empty());
    assert_eq!(plan.warnings, ["criteria `area = \"xpd\"` match no test"]);
    let plan = planned(
        &tests(),
        &[rule("target = \"fedora\"\nexclude = true")],
        &[],
    );
    assert_eq!(plan.cases.len(), 8);
    assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
}

#[test]
fn every_field_has_to_hold() {
    let declared = json!({
        "priority": 1, "area": "net", "category": "Functional", "tags": ["a", "b"], "owner": "me", "features": ["gpu"]
    });
    let inventory = testing::inventory(&[("net::smoke", Some(declared)), ("plain", None)]);
    let is_met =
        |toml: &str, test: usize| is_met_by(&rule(toml), &inventory.tests[test], &inventory);
    for (toml, met) in [
        ("name = \"::sm\"", true),
        ("name = \"/^net::/\"", true),
        ("name = \"/^smoke/\"", false),
        ("module = \"net\"", true),
        ("module = [\"net::smoke\", \"n*\"]", true),
        ("module = \"ne\"", false),
        ("area = [\"disk\", \"net\"]", true),
        ("area = \"NET\"", true),
        ("area = \"nets\"", false),
        ("category = \"FUNCTIONAL\"", true),
        ("category = \"stress\"", false),
        ("priority = \"<= 1\"", true),
        ("priority = [0, 2]", false),
        ("tags = [\"a\", \"b\"]", true),
        ("tags = [\"a\", \"c\"]", false),
        ("owner = \"me\"\nfeature = \"gpu\"", true),
        ("owner = \"me\"\nfeature = \"kvm\"", false),
        ("times = 2", true),
    ] {
        assert_eq!(is_met(toml, 0), met, "{toml}");
        let meets = toml.starts_with("times");
        assert_eq!(is_met(toml, 1), meets, "{toml} without the attribute");
    }
    let target = testing::target("debian-arm");
    for (toml, met) in [
        ("platform = \"local\"", true),
        ("platform = [\"ssh\", \"qemu\"]", false),
        ("target = \"debian*\"", true),
        ("target = \"debian\"", false),
    ] {
        assert_eq!(is_met_on(&rule(toml), &target), met, "{toml}");
    }
}

#[test]
fn what_declares_nothing_is_dropped_by_an_include_rule_it_does_not_meet() {
    let tests = [("smoke", Some(json!({"priority": 0}))), ("plain", None)];
    assert_eq!(planned(&tests, &[], &[]).plain, [1]);
    assert!(
        planned(&tests, &[rule("priority = 0")], &[])
            .plain
            .is_empty()
    );
    assert_eq!(
        planned(
            &tests,
            &[rule("priority = 0"), rule("name = \"plain\"")],
            &[]
        )
        .plain,
        [1]
    );
    assert_eq!(
        planned(&tests, &[rule("priority = 0\nexclude = true")], &[]).plain,
        [1]
    );
}

#[test]
fn the_command_line_holds_beside_the_rules() {
    let expression =
        crate::playbook::parse_expression("area = xdp and not (priority > 1 or target = ubuntu)");
    let expression = [expression.expect("an expression")];
    assert_eq!(
        names(&planned(&tests(), &[], &expression)),
        ["verify_xdp[debian]"]
    );
    let rules = [rule("name = \"smoke\"")];
    assert!(planned(&tests(), &rules, &expression).cases.is_empty());
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let parts = prop::sample::subsequence(
        vec![
            "name = \"smoke\"",
            "priority = \"<= 1\"",
            "area = \"xdp\"",
            "target = \"u*\"",
        ],
        1..3,
    );
    let end = prop::sample::select(vec!["", "exclude = true", "times = 2", "times = 3"]);
    (parts, end).prop_map(|(parts, end)| rule(&format!("{}\n{end}", parts.join("\n"))))
}

proptest! {
    #[test]
    fn order_does_not_matter(
        rules in prop::collection::vec(any_rule(), 0..5).prop_flat_map(|rules| (Just(rules.clone()), Just(rules).prop_shuffle()))
    ) {
        let (one, other) = (planned(&tests(), &rules.0, &[]), planned(&tests(), &rules.1, &[]));
        prop_assert_eq!(names(&one), names(&other));
    }

    #[test]
    fn an_exclude_rule_never_adds_a_case(rules in prop::collection::vec(any_rule(), 0..4), more in any_rule()) {
        let more = Rule { exclude: true, times: None, ..more };
        let before = planned(&tests(), &rules, &[]);
        let rules: Vec<_> = rules.into_iter().chain([more]).collect();
        let after = planned(&tests(), &rules, &[]);
        prop_assert!(names(&after).iter().all(|name| names(&before).contains(name)));
    }
}
