//! The text and JSON output of `list`.

use serde_json::json;

use super::*;
use crate::plan::{self, testing};
use crate::{inventory::Inventory, plan::Plan, playbook::PlaybookTarget};

fn world() -> (Inventory, Vec<PlaybookTarget>, Plan) {
    let mut inventory = testing::inventory(&[
        (
            "smoke",
            Some(json!({
                "doc": "\nIt answers.\nAlways.", "priority": 0, "tags": ["quick"], "targets": ["alpha", "beta"],
                "expect-fail": [{"reason": "bug 7", "target": "beta"}]
            })),
        ),
        ("pair", Some(json!({"count": 2}))),
        ("unit", None),
    ]);
    inventory.tests[2].ignored = true;
    let mut targets = ["alpha", "beta", "gamma"].map(testing::target).to_vec();
    targets[2].count = 2;
    let plan = plan::build(&inventory, &targets, &plan::Choosing::default()).unwrap();
    (inventory, targets, plan)
}

#[test]
fn people_see_cases_then_what_is_left_out_then_plain_tests() {
    let (inventory, targets, plan) = world();
    let table = Listing::new(&inventory, &plan, &targets, None).table();
    snapbox::assert_data_eq!(
        table.replace("\x1b[2m", "").replace("\x1b[0m", ""),
        snapbox::str![[r#"
hello
    smoke[alpha]  It answers.
    smoke[beta]   (expected to fail: bug 7)
    pair[gamma]
left out:
  hello
    smoke[gamma]: only on `alpha`, `beta`
    pair[alpha]: needs 2 instances, `alpha` has 1
    pair[beta]: needs 2 instances, `beta` has 1
once, on the host:
  hello
    unit (ignored)
3 cases, 3 left out, 1 once, on the host
"#]]
    );
    assert!(table.contains("\x1b[2mIt answers.\x1b[0m"));
}

#[test]
fn filters_decide_what_is_shown() {
    let (inventory, targets, plan) = world();
    let chosen = [("hello", "pair[gamma]"), ("other", "unit")].into();
    let listing = Listing::new(&inventory, &plan, &targets, Some(&chosen));
    let shown: Vec<_> = listing.cases.iter().map(|line| line.case).collect();
    assert_eq!(
        (shown, listing.excluded.len(), listing.plain.len()),
        (vec!["pair[gamma]"], 2, 0)
    );
    let nothing = Listing::new(&inventory, &plan, &targets, Some(&HashSet::new()));
    assert_eq!(nothing.table(), "0 cases");
}

#[test]
fn programs_see_everything() {
    let (inventory, targets, plan) = world();
    let listing = Listing::new(&inventory, &plan, &targets, None);
    let json = serde_json::to_value(&listing).expect("JSON");
    assert_eq!(
        json["cases"][1],
        json!({
            "case": "smoke[beta]", "binary": "hello", "test": "smoke", "target": "beta", "platform": "local",
            "count": 1, "expect-fail": "bug 7", "doc": "\nIt answers.\nAlways.", "priority": 0, "tags": ["quick"]
        })
    );
    assert_eq!(
        json["excluded"][0],
        json!({
            "binary": "hello", "test": "smoke", "target": "gamma", "reason": "only on `alpha`, `beta`"
        })
    );
    assert_eq!(
        json["plain"],
        json!([{"binary": "hello", "test": "unit", "ignored": true}])
    );
    assert!(
        json["notes"][0]
            .as_str()
            .is_some_and(|note| note.contains("--all-tests"))
    );
}
