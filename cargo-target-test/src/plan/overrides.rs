//! Applies the playbook's overrides to the tests' metadata, and checks the metadata that the playbook requires.
//!
//! Must not know how metadata is used.

use crate::{
    case,
    inventory::{Inventory, Test},
    playbook::{Override, Rules},
};

/// The maximum number of tests that a message names.
const FEW: usize = 5;

/// Applies the overrides in order. Returns the overrides that match no test.
pub fn change<'a>(inventory: &mut Inventory, overrides: &'a [Override]) -> Vec<&'a Override> {
    let mut idle = Vec::new();
    for change in overrides {
        let tests = inventory.tests.iter_mut();
        let mut meant = tests
            .filter(|test| change.name.is_match(&test.name))
            .peekable();
        if meant.peek().is_none() {
            idle.push(change);
        }
        for test in meant {
            change.apply(test.metadata.get_or_insert_default());
        }
    }
    idle
}

/// Returns one sentence per override that sets target keys and matches only tests that run once, on the host.
pub(super) fn on_host(
    overrides: &[Override],
    inventory: &Inventory,
    plain: &[(usize, &Test)],
) -> Vec<String> {
    let sentence = |change: &Override| {
        let is_meant = |test: &Test| change.name.is_match(&test.name);
        let meant = inventory.tests.iter().filter(|test| is_meant(test)).count();
        let on_host = plain.iter().filter(|(_, test)| is_meant(test)).count();
        let keys = change.target_keys();
        (meant > 0 && meant == on_host && !keys.is_empty()).then(|| {
            let (keys, name) = (keys.join("`, `"), String::from(change.name.clone()));
            format!("`{keys}` of the override for `{name}` change nothing: it matches only tests that run once, on the host")
        })
    };
    overrides.iter().filter_map(sentence).collect()
}

/// Returns one sentence per required key that tests with the attribute lack, and per unknown category.
pub fn demands(inventory: &Inventory, rules: &Rules) -> Vec<String> {
    let mut missing = Vec::new();
    let declared = || {
        let tests = inventory.tests.iter().filter(|test| test.attribute);
        tests.filter_map(|test| Some((test, test.metadata.as_ref()?)))
    };
    for key in &rules.metadata.required {
        let key = serde_json::to_value(key).unwrap_or_default();
        let key = key.as_str().unwrap_or_default();
        let without =
            declared().filter(|(_, metadata)| !case::declared(metadata).contains_key(key));
        let names: Vec<_> = without
            .map(|(test, _)| format!("`{}`", test.name))
            .collect();
        if !names.is_empty() {
            let key = key.replace('-', "_");
            let more = match names.len().saturating_sub(FEW) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let names = names[..names.len().min(FEW)].join(", ");
            missing.push(format!(
                "the playbook requires `{key}`, which is missing in {names}{more}"
            ));
        }
    }
    let known = rules.metadata.categories();
    let is_known = |category: &str| known.iter().any(|one| one.eq_ignore_ascii_case(category));
    for (test, metadata) in declared() {
        if let Some(category) = metadata.category.as_deref().filter(|one| !is_known(one)) {
            let (name, known) = (&test.name, known.join("`, `"));
            missing.push(format!(
                "`{name}` has the unknown category `{category}`; there are `{known}`"
            ));
        }
    }
    missing
}
