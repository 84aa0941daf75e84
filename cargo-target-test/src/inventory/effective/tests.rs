//! Tests of merging the declarations of a test and of its modules.

use super::*;

fn record(kind: RecordKind, path: &str, json: serde_json::Value) -> MetadataRecord {
    let metadata = serde_json::from_value(json).expect("metadata");
    MetadataRecord {
        kind,
        path: path.to_owned(),
        metadata,
        params: Vec::new(),
    }
}

fn records() -> Vec<MetadataRecord> {
    use RecordKind::{Module, Test};
    vec![
        record(
            Test,
            "hello::net::smoke",
            serde_json::json!({
                "doc": "Smoke.", "priority": 0, "tags": ["quick", "net"], "requirements": {"memory": "> 2"}
            }),
        ),
        record(
            Module,
            "hello::net",
            serde_json::json!({
                "doc": "Net.", "area": "net", "priority": 3, "tags": ["net"], "targets": ["a*"],
                "skip": [{"reason": "inner"}]
            }),
        ),
        record(
            Module,
            "hello",
            serde_json::json!({
                "area": "all", "owner": "me", "tags": ["outer"], "requirements": {"memory": "> 1", "cpus": "1"},
                "skip": [{"reason": "outer"}]
            }),
        ),
        record(
            Module,
            "hello::network",
            serde_json::json!({"owner": "not me"}),
        ),
        record(Test, "hello::plain", serde_json::json!({})),
    ]
}

#[test]
fn modules_give_defaults_and_the_test_wins() {
    let merged = effective(&records(), "hello::net::smoke").expect("declared");
    assert_eq!(merged.doc.as_deref(), Some("Smoke."));
    assert_eq!(
        (merged.area.as_deref(), merged.priority),
        (Some("net"), Some(0))
    );
    assert_eq!(merged.owner.as_deref(), Some("me"));
    assert_eq!(merged.tags, ["outer", "net", "quick"]);
    assert_eq!(merged.targets, ["a*"]);
    assert_eq!(merged.requirements["memory"], "> 2");
    assert_eq!(merged.requirements["cpus"], "1");
    let reasons: Vec<_> = merged
        .skip
        .iter()
        .map(|skip| skip.reason.as_str())
        .collect();
    assert_eq!(reasons, ["outer", "inner"]);
}

#[test]
fn parametrized_cases_take_their_functions_record() {
    let records = records();
    let smoke = effective(&records, "hello::net::smoke");
    assert_eq!(effective(&records, "hello::net::smoke::case_1"), smoke);
    assert_eq!(effective(&records, "hello::net::smoke::case_1::b_2"), smoke);
    let plain = effective(&records, "hello::plain").expect("declared");
    assert_eq!(plain.doc, None);
}

#[test]
fn a_test_without_the_attribute_declares_nothing() {
    for path in [
        "hello::net::other",
        "hello::net",
        "hello",
        "other::net::smoke",
        "hello::net::smok",
        "",
    ] {
        assert_eq!(effective(&records(), path), None, "{path}");
    }
}
