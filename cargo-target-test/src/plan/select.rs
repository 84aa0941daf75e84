//! Whether a test runs on a target, and what a filter misses.
//!
//! Owns the reasons. Must not know the other tests or targets of a plan.

use std::collections::HashSet;

use regex::Regex;
use target_fixtures::metadata::{Condition, Metadata};

use super::{Plan, criteria::is_named, needs};
use crate::{case::reason::ExclusionReason, inventory::Inventory, playbook::Target};

/// Whether a test that declares this can run on a target; skip conditions apart ([`skip_reason`]).
/// Without the attribute it can run on any.
///
/// # Errors
/// Why it cannot: ``needs 2 instances, `alpha` has 1``.
pub fn fits(metadata: Option<&Metadata>, target: &Target) -> Result<(), ExclusionReason> {
    let Some(metadata) = metadata else {
        return Ok(());
    };
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
    needs::offered(&metadata.requirements, target)
}

/// Whether the test names the target or its platform, where it names any.
fn is_wanted(metadata: &Metadata, target: &Target) -> Result<(), ExclusionReason> {
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

/// Why a test is skipped on a target, where a condition of its `skip` holds.
pub fn skip_reason<'a>(metadata: &'a Metadata, target: &Target) -> Option<&'a str> {
    reason(&metadata.skip, target)
}

/// The reason that holds wherever a test runs, if there is one.
pub fn everywhere(conditions: &[Condition]) -> Option<&str> {
    let everywhere = conditions.iter().find(|condition| {
        condition.platform.is_none() && condition.target.is_none() && condition.feature.is_none()
    });
    everywhere.map(|condition| condition.reason.as_str())
}

/// Why a test is expected to fail on a target.
pub fn expected_failure<'a>(metadata: &'a Metadata, target: &Target) -> Option<&'a str> {
    reason(&metadata.expect_fail, target)
}

fn reason<'a>(conditions: &'a [Condition], target: &Target) -> Option<&'a str> {
    let held = conditions.iter().find(|condition| {
        condition
            .platform
            .as_deref()
            .is_none_or(|platform| platform == target.platform)
            && condition
                .target
                .as_deref()
                .is_none_or(|pattern| is_named(pattern, target))
            && condition
                .feature
                .as_ref()
                .is_none_or(|feature| target.features.contains(feature))
    });
    held.map(|condition| condition.reason.as_str())
}

/// The names that a filterset (or a filter of nextest's configuration) asks for exactly: those in
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

/// Of names that must match exactly, those which name a test but none of its cases; a warning for each,
/// with what to write instead.
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
