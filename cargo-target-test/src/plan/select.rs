//! Decides whether a test can run on a target, and finds exact names that match no case.
//!
//! Must not know the criteria of a plan.

use std::collections::HashSet;

use regex::Regex;
use target_fixtures::{
    metadata::{Condition, Metadata},
    wire::ExpectedFailure,
};

use super::{Plan, criteria::is_named, needs};
use crate::{
    case::reason::ExclusionReason,
    inventory::Inventory,
    playbook::{OnDirty, PlaybookTarget, meant},
};

/// Checks that a test with this metadata can run on a target. Skip conditions are checked by [`skip_reason`].
/// A test without the attribute can run on any target.
///
/// # Errors
/// The reason the test cannot run: ``needs 2 instances, `alpha` has 1``.
pub fn fits(metadata: Option<&Metadata>, target: &PlaybookTarget) -> Result<(), ExclusionReason> {
    check_roles(metadata.map_or(&[][..], |metadata| &metadata.roles), target)?;
    let Some(metadata) = metadata else {
        return Ok(());
    };
    let place = metadata.runs_on.iter();
    let mut place = place.filter(|_| !metadata.roles.is_empty());
    place.try_for_each(|place| target.check_place(place))?;
    is_wanted(metadata, target)?;
    let (name, needed) = (target.name.clone(), metadata.count.unwrap_or(1));
    if needed > target.count {
        return Err(ExclusionReason::Instances {
            needed,
            target: name,
            available: target.count,
        });
    }
    let mut features = metadata.features.iter();
    if let Some(feature) = features.find(|feature| !target.features.contains(feature)) {
        return Err(ExclusionReason::Feature {
            feature: feature.clone(),
            target: name,
        });
    }
    if metadata.fresh == Some(true) && !can_be_fresh(target) {
        return Err(ExclusionReason::NotFresh {
            target: name,
            platform: target.platform.to_owned(),
        });
    }
    needs::offered(metadata, target)
}

/// Checks that the target is an environment with these roles, or not one if there are none.
fn check_roles(roles: &[String], target: &PlaybookTarget) -> Result<(), ExclusionReason> {
    let name = target.name.clone();
    if roles.is_empty() {
        return match target.roles.is_empty() {
            true => Ok(()),
            false => Err(ExclusionReason::Environment { target: name }),
        };
    }
    let missing = roles.iter();
    let missing: Vec<_> = missing
        .filter(|role| target.machines_of(role).next().is_none())
        .cloned()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(ExclusionReason::MissingRoles {
        missing,
        target: name,
        has: target.machines().collect(),
    })
}

/// True if an instance that a test has used can become fresh: it is created anew, or cleaned as `on-dirty` says.
fn can_be_fresh(target: &PlaybookTarget) -> bool {
    let on_dirty = &target.lifecycle.on_dirty;
    !target.machines_stay || matches!(on_dirty, Some(OnDirty::Reboot | OnDirty::Clean(_)))
}

/// Checks that the target is among the platform and targets that the test declares, if any.
fn is_wanted(metadata: &Metadata, target: &PlaybookTarget) -> Result<(), ExclusionReason> {
    if let Some(wanted) = &metadata.platform
        && wanted != target.platform
    {
        return Err(ExclusionReason::Platform {
            wanted: wanted.clone(),
            target: target.name.clone(),
            platform: target.platform.to_owned(),
        });
    }
    let patterns = &metadata.targets;
    if patterns.is_empty() || patterns.iter().any(|pattern| is_named(pattern, target)) {
        return Ok(());
    }
    Err(ExclusionReason::Targets(patterns.clone()))
}

/// Adds the name of a similar target to the reason of a test whose targets do not exist.
pub(super) fn with_meant(reason: ExclusionReason, targets: &[PlaybookTarget]) -> ExclusionReason {
    let ExclusionReason::Targets(patterns) = reason else {
        return reason;
    };
    let exists = |pattern: &String| targets.iter().any(|target| is_named(pattern, target));
    let names: Vec<_> = targets.iter().map(|target| target.name.as_str()).collect();
    let mut similar = patterns.iter().filter_map(|pattern| meant(pattern, &names));
    match similar.next() {
        Some(meant) if !patterns.iter().any(exists) => ExclusionReason::UnknownTargets {
            meant: meant.to_owned(),
            patterns,
        },
        _ => ExclusionReason::Targets(patterns),
    }
}

/// Returns the reason a test is skipped on a target, or without one on every target, if a condition of its `skip` holds.
pub fn skip_reason<'a>(metadata: &'a Metadata, target: Option<&PlaybookTarget>) -> Option<&'a str> {
    let mut held = metadata.skip.iter().filter(|one| holds(one, target));
    held.next().map(|condition| condition.reason.as_str())
}

/// Returns the failures of a test that are expected on a target, or without one on every target.
pub fn expected_failures(
    metadata: &Metadata,
    target: Option<&PlaybookTarget>,
) -> Vec<ExpectedFailure> {
    let held = metadata.expect_fail.iter().filter(|one| holds(one, target));
    let expected = |condition: &Condition| ExpectedFailure {
        reason: condition.reason.clone(),
        error: condition.error.clone(),
    };
    held.map(expected).collect()
}

/// True if a condition holds on a target, or without one on every target.
fn holds(condition: &Condition, target: Option<&PlaybookTarget>) -> bool {
    let is = |wanted: &Option<String>, fits: &dyn Fn(&String, &PlaybookTarget) -> bool| {
        let wanted = wanted.as_ref();
        wanted.is_none_or(|wanted| target.is_some_and(|target| fits(wanted, target)))
    };
    is(&condition.platform, &|platform, target| {
        platform == target.platform
    }) && is(&condition.target, &|pattern, target| {
        is_named(pattern, target)
    }) && is(&condition.feature, &|feature, target| {
        target.features.contains(feature)
    })
}

/// Returns the names that a filterset (or a filter of nextest's configuration) matches exactly, such as those in
/// `test(=smoke)` and `test(/^smoke$/)`.
pub fn exact_names(filterset: &str) -> Vec<String> {
    #[expect(clippy::expect_used, reason = "a constant")]
    let exact =
        Regex::new(r"\btest\(\s*(?:=\s*([^)]*?)|/\^?((?:[\w:-])+)\$/)\s*\)").expect("a regex");
    let names = exact
        .captures_iter(filterset)
        .filter_map(|found| found.get(1).or(found.get(2)));
    names.map(|name| name.as_str().to_owned()).collect()
}

/// Returns a warning per exact name that names a test but none of its cases, with the filter to write instead.
pub fn missed(plan: &Plan, inventory: &Inventory, exact_names: &[&str]) -> Vec<String> {
    if exact_names.is_empty() {
        return Vec::new();
    }
    let cases: HashSet<_> = plan
        .cases
        .iter()
        .map(|case| case.info.name.as_str())
        .collect();
    let mut seen = HashSet::new();
    let names = exact_names
        .iter()
        .filter(|name| !cases.contains(*name) && seen.insert(**name));
    let warnings = names.filter_map(|name| {
            let of_test = |case: &&super::Case| inventory.tests[case.test].name == *name;
        let mut cases = plan.cases.iter().filter(of_test);
        if let Some(first) = cases.next() {
            let (first, all) = (&first.info.name, regex::escape(name));
            return Some(format!(
                "`{name}` is a test, and matches none of its cases: write `{first}`, or for all of them `test(/^{all}\\[/)`"
            ));
        }
        let numbered = format!("{}#", name.strip_suffix(']')?);
        let mut cases = plan.cases.iter();
        let first = &cases.find(|case| case.info.name.starts_with(&numbered))?.info.name;
        let all = regex::escape(&numbered);
        Some(format!(
            "`{name}` is run several times: write `{first}`, or for all of them `test(/^{all}/)`"
        ))
    });
    warnings.collect()
}

#[cfg(test)]
mod tests;
