//! Tests x targets -> cases.
//!
//! Owns which tests are multiplied, and the names of cases. Must not know how a target fits a test
//! (`select` does).

use std::collections::HashSet;

use target_fixtures::metadata::Metadata;

use super::{
    Case, Exclusion, Plan, notes,
    select::{expected_failure, fits, skip_reason},
};
use crate::{
    inventory::{Inventory, Test},
    playbook::{Select, Target},
};

/// Makes the plan.
///
/// Tests of host binaries run once, on the host. Of the others, those with `#[target_test]` are multiplied;
/// those without are where `select` is [`Select::All`] or no test has the attribute, else they run once, on the host.
pub fn build(inventory: &Inventory, targets: &[Target], select: Select) -> Plan {
    let on_targets = |test: &Test| !inventory.binaries[test.binary].host;
    let declared = |test: &Test| test.metadata.is_some();
    let all = select == Select::All
        || !inventory
            .tests
            .iter()
            .any(|test| on_targets(test) && declared(test));

    let tests = inventory.tests.iter().enumerate();
    let (multiplied, plain): (Vec<_>, Vec<_>) =
        tests.partition(|(_, test)| on_targets(test) && (all || declared(test)));
    let mut plan = Plan {
        plain: plain.iter().map(|(number, _)| *number).collect(),
        ..Plan::default()
    };
    let taken = bracketed(&plain);
    plan.cases.reserve(multiplied.len() * targets.len());
    for (number, test) in multiplied {
        multiply(&mut plan, (number, test), targets, &taken);
    }
    plan.notes = notes::notes(&plan, inventory);
    plan
}

/// Names that a plain test took and a case could have: binary and name.
type Taken<'a> = HashSet<(usize, &'a str)>;

fn bracketed<'a>(plain: &[(usize, &'a Test)]) -> Taken<'a> {
    let names = plain
        .iter()
        .map(|(_, test)| (test.binary, test.name.as_str()));
    names.filter(|(_, name)| name.ends_with(']')).collect()
}

/// Adds the cases and exclusions of one test.
fn multiply(
    plan: &mut Plan,
    (number, test): (usize, &Test),
    targets: &[Target],
    taken: &Taken<'_>,
) {
    let metadata = test.metadata.as_ref();
    if let Some(reason) = metadata.and_then(nowhere) {
        plan.excluded.push(Exclusion {
            test: number,
            target: None,
            reason,
        });
        return;
    }
    for (at, target) in targets.iter().enumerate() {
        match case(number, test, (at, target), taken) {
            Ok(case) => plan.cases.push(case),
            Err(reason) => plan.excluded.push(Exclusion {
                test: number,
                target: Some(at),
                reason,
            }),
        }
    }
}

/// Why a test runs on no target, whatever the targets are.
fn nowhere(metadata: &Metadata) -> Option<String> {
    if !metadata.roles.is_empty() {
        return Some("environments are not supported by this version".to_owned());
    }
    let everywhere = metadata.skip.iter().find(|condition| {
        condition.platform.is_none() && condition.target.is_none() && condition.feature.is_none()
    });
    everywhere.map(|condition| format!("skip: {}", condition.reason))
}

fn case(
    number: usize,
    test: &Test,
    (at, target): (usize, &Target),
    taken: &Taken<'_>,
) -> Result<Case, String> {
    let metadata = test.metadata.as_ref();
    if let Some(reason) = metadata.and_then(|metadata| skip_reason(metadata, target)) {
        return Err(format!("skip: {reason}"));
    }
    fits(metadata, target)?;
    let name = format!("{}[{}]", test.name, target.name);
    if taken.contains(&(test.binary, name.as_str())) {
        return Err(format!(
            "another test of the binary is itself named `{name}`"
        ));
    }
    Ok(Case {
        name,
        test: number,
        target: at,
        count: metadata
            .and_then(|metadata| metadata.count)
            .unwrap_or(1)
            .max(1),
        priority: metadata.and_then(|metadata| metadata.priority),
        expect_fail: metadata
            .and_then(|m| expected_failure(m, target))
            .map(str::to_owned),
    })
}

#[cfg(test)]
mod tests;
