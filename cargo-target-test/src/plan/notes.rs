//! What a user should know of a plan, in sentences.
//!
//! Owns the wording. Must not change the plan.

use std::collections::HashSet;

use super::{Exclusion, Plan};
use crate::inventory::Inventory;

/// What a user should know of a plan.
pub(super) fn notes(plan: &Plan, inventory: &Inventory) -> Vec<String> {
    let mut notes = Vec::new();
    let host = |test: &&usize| inventory.binaries[inventory.tests[**test].binary].host;
    let of_host_binaries = plan.plain.iter().filter(host).count();
    let plain = plan.plain.len() - of_host_binaries;
    if plain > 0 {
        notes.push(format!(
            "{} once, on the host (`--all-tests` runs all on the targets)",
            tests(plain, "without `#[target_test]` ")
        ));
    }
    let homeless = homeless(plan);
    if let [first, ..] = homeless.as_slice() {
        notes.push(format!(
            "{} on no target, such as `{}`: {} (`cargo target-test list` shows all)",
            tests(homeless.len(), ""),
            inventory.tests[first.test].name,
            first.reason
        ));
    }
    let twice = plan
        .excluded
        .iter()
        .filter(|exclusion| exclusion.reason.starts_with("another test"));
    notes.extend(twice.map(|exclusion| {
        let name = &inventory.tests[exclusion.test].name;
        format!("`{name}` is not run everywhere: {}", exclusion.reason)
    }));
    notes
}

/// The first exclusion of every test that has no case.
fn homeless(plan: &Plan) -> Vec<&Exclusion> {
    let with_cases: HashSet<_> = plan.cases.iter().map(|case| case.test).collect();
    let mut homeless: Vec<_> = plan
        .excluded
        .iter()
        .filter(|exclusion| !with_cases.contains(&exclusion.test))
        .collect();
    homeless.dedup_by_key(|exclusion| exclusion.test);
    homeless
}

/// `1 test runs`, `2 tests without ... run`
fn tests(count: usize, which: &str) -> String {
    match count {
        1 => format!("1 test {which}runs"),
        _ => format!("{count} tests {which}run"),
    }
}
