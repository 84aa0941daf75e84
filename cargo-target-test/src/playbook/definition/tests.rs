//! Tests of changes that affect the hash of a definition, and of changes that do not.

use serde_json::json;

use super::*;

fn of(parameters: &Value) -> Definition {
    Definition::new("qemu", 1, &["gpu".to_owned()], Vec::new(), parameters)
}

#[test]
fn keys_are_dotted_and_sorted() {
    let definition = of(&json!({
        "memory": "1 GiB", "port": null,
        "params": { "b": [{ "y": 1, "x": 2 }], "a.b": true, "none": {} },
    }));
    let keys: Vec<_> = definition
        .keys
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    assert_eq!(
        keys,
        [
            "features=[\"gpu\"]",
            "memory=\"1 GiB\"",
            "params.\"a.b\"=true",
            "params.b=[{\"x\":2,\"y\":1}]",
            "params.none={}",
            "platform=\"qemu\"",
            "platform-version=1",
        ]
    );
    assert_eq!(definition.hash.len(), 16);
    assert_eq!(definition.hash, of(&json!({"params": {"none": {}, "a.b": true, "b": [{"x": 2, "y": 1}]}, "memory": "1 GiB"})).hash);
}

#[test]
fn every_part_counts() {
    let base = of(&json!({}));
    let gpu = ["gpu".to_owned()];
    assert_ne!(
        base.hash,
        Definition::new("ssh", 1, &gpu, Vec::new(), &json!({})).hash
    );
    assert_ne!(
        base.hash,
        Definition::new("qemu", 2, &gpu, Vec::new(), &json!({})).hash
    );
    assert_ne!(
        base.hash,
        Definition::new("qemu", 1, &[], Vec::new(), &json!({})).hash
    );
    assert_ne!(base.hash, of(&json!({"a": 1})).hash);
}

#[test]
fn names_the_changed_key() {
    let old = of(&json!({"kernel": "a", "memory": "1"}));
    let new = of(&json!({"kernel": "b", "memory": "1", "disk": 2}));
    assert_eq!(new.changed_key(&old.keys).as_deref(), Some("disk"));
    assert_eq!(old.changed_key(&new.keys).as_deref(), Some("disk"));
    assert_eq!(new.changed_key(&new.keys), None);
}
