//! What tests declare, as the playbook changes it, and what a playbook demands of them.
//!
//! Owns which tests an override means. Must not know what is made of a declaration.

use crate::{
    inventory::{Inventory, Test},
    playbook::{Override, Rules},
};

/// How many tests are named that lack something.
const FEW: usize = 5;

/// Changes what tests declare, in the order of the overrides. Returns those that mean no test.
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

/// Overrides that say which targets and instances tests need, and mean only tests that run once, on the host; a
/// sentence each.
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

/// What a playbook demands that tests with the attribute do not declare, and categories that it does not know; a
/// sentence each.
pub fn demands(inventory: &Inventory, rules: &Rules) -> Vec<String> {
    let mut missing = Vec::new();
    let declared = || {
        let tests = inventory.tests.iter().filter(|test| test.attribute);
        tests.filter_map(|test| Some((test, test.metadata.as_ref()?)))
    };
    for key in &rules.metadata.required {
        let without = declared().filter(|(_, metadata)| !key.is_in(metadata));
        let names: Vec<_> = without
            .map(|(test, _)| format!("`{}`", test.name))
            .collect();
        if !names.is_empty() {
            let key = serde_json::to_value(key).unwrap_or_default();
            let key = key.as_str().unwrap_or_default().replace('-', "_");
            let more = match names.len().saturating_sub(FEW) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let names = names[..names.len().min(FEW)].join(", ");
            missing.push(format!(
                "the playbook demands `{key}`, which is missing in {names}{more}"
            ));
        }
    }
    let known = rules.metadata.categories();
    let is_known = |category: &str| known.iter().any(|one| one.eq_ignore_ascii_case(category));
    for (test, metadata) in declared() {
        if let Some(category) = metadata.category.as_deref().filter(|one| !is_known(one)) {
            let (name, known) = (&test.name, known.join("`, `"));
            missing.push(format!(
                "`{name}` is of the unknown category `{category}`; there are `{known}`"
            ));
        }
    }
    missing
}
