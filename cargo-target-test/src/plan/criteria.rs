//! Evaluation of criteria: the cases that rules include, exclude and repeat, regardless of the order of the rules.
//!
//! Must not know how rules are written.

use super::Choosing;
use crate::{
    case::reason::ExclusionReason,
    inventory::{Inventory, Test},
    playbook::{Expression, PlaybookTarget, Rule, Texts, matches},
};

/// The rules, evaluated once for every test and every target.
pub(super) struct Criteria<'a> {
    choosing: &'a Choosing<'a>,
    inventory: &'a Inventory,
    /// True if a rule matches a test; by rule, then by test.
    tests: Vec<Vec<bool>>,
    /// True if a rule matches a target; by rule, then by target.
    targets: Vec<Vec<bool>>,
    includes: bool,
}

/// The decision of the rules on a case.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// Run the case this number of times.
    Run(u32),
    /// Exclude the case for this reason.
    Leave(ExclusionReason),
}

impl<'a> Criteria<'a> {
    pub(super) fn new(
        choosing: &'a Choosing<'a>,
        inventory: &'a Inventory,
        targets: &[PlaybookTarget],
    ) -> Self {
        let of_test = |rule: &Rule| {
            let tests = inventory.tests.iter();
            tests.map(|test| is_met_by(rule, test, inventory)).collect()
        };
        let on_target = |rule: &Rule| {
            targets
                .iter()
                .map(|target| is_met_on(rule, target))
                .collect()
        };
        let rules = choosing.criteria.iter();
        Self {
            choosing,
            inventory,
            tests: rules.clone().map(of_test).collect(),
            targets: rules.clone().map(on_target).collect(),
            includes: rules.clone().any(|rule| !rule.exclude),
        }
    }

    /// Returns the decision on a test on a target; without a target, the test runs once on the host.
    pub(super) fn of(
        &self,
        number: usize,
        test: &Test,
        target: Option<(usize, &PlaybookTarget)>,
    ) -> Said {
        let on = |rule: usize| match target {
            Some((at, _)) => self.targets[rule][at],
            None => !names_target(&self.choosing.criteria[rule]),
        };
        let rules = self.choosing.criteria.iter().enumerate();
        let met = rules.filter(|(rule, _)| self.tests[*rule][number] && on(*rule));
        let (mut times, mut included) = (1, !self.includes);
        for (_, rule) in met {
            if rule.exclude {
                return Said::Leave(ExclusionReason::ExcludedBy(rule.to_string()));
            }
            included = true;
            times = times.max(rule.times.map_or(1, |times| times.0.get()));
        }
        if !included {
            return Said::Leave(ExclusionReason::NotIncluded);
        }
        let target = target.map(|(_, target)| target);
        match self
            .choosing
            .expressions
            .iter()
            .all(|one| holds(one, test, target, self.inventory))
        {
            true => Said::Run(times),
            false => Said::Leave(ExclusionReason::Criteria),
        }
    }

    /// Returns one sentence per rule that has no effect; `plain` are the tests that run on no target.
    pub(super) fn idle(&self, plain: &[(usize, &Test)]) -> Vec<String> {
        let rules = self.choosing.criteria.iter().enumerate();
        let sentence = |(number, rule): (usize, &Rule)| {
            let met = self.tests[number].iter().filter(|met| **met).count();
            let on_host = plain.iter().filter(|(test, _)| self.tests[number][*test]);
            let on_host = on_host.count();
            let on_targets = met > on_host && self.targets[number].contains(&true);
            match (on_targets, on_host > 0 && !names_target(rule)) {
                (true, _) => None,
                (false, false) => Some(format!("criteria `{rule}` match no test")),
                (false, true) => rule.times.map(|_| {
                    format!("criteria `{rule}` match only tests that run once, on the host")
                }),
            }
        };
        rules.filter_map(sentence).collect()
    }
}

fn names_target(rule: &Rule) -> bool {
    rule.platform.is_some() || rule.target.is_some()
}

/// Returns true if the test keys of a rule match this test. A key that the test does not declare never matches.
fn is_met_by(rule: &Rule, test: &Test, inventory: &Inventory) -> bool {
    let any = |wanted: &Option<Texts>, is: &dyn Fn(&str) -> bool| {
        (wanted.as_ref()).is_none_or(|wanted| wanted.0.iter().any(|pattern| is(pattern)))
    };
    let binary = &inventory.binaries[test.binary];
    let modules = || (test.name.match_indices("::")).map(|(end, _)| &test.name[..end]);
    let metadata = test.declared();
    let is = |wanted: &Option<Texts>, is: Option<&String>| match (wanted, is) {
        (None, _) => true,
        (Some(wanted), is) => is.is_some_and(|is| wanted.0.contains(is)),
    };
    let has_all = |wanted: &Option<Texts>, has: &[String]| {
        let mut wanted = wanted.iter().flat_map(|texts| &texts.0);
        wanted.all(|one| has.contains(one))
    };
    let folded = |wanted: &Option<Texts>, is: Option<&String>| {
        let is = is.map(|is| is.to_lowercase());
        let mut wanted = wanted.iter().flat_map(|texts| &texts.0);
        wanted.any(|one| Some(one.to_lowercase()) == is)
    };
    let ranked = |priority: u8| {
        rule.priority
            .as_ref()
            .is_none_or(|wanted| wanted.has(priority))
    };
    rule.name
        .as_ref()
        .is_none_or(|name| name.is_match(&test.name))
        && any(&rule.binary, &|pattern| {
            matches(pattern, &binary.name) || matches(pattern, &binary.id)
        })
        && any(&rule.module, &|pattern| {
            modules().any(|module| matches(pattern, module))
        })
        && (rule.area.is_none() || folded(&rule.area, metadata.area.as_ref()))
        && is(&rule.owner, metadata.owner.as_ref())
        && (rule.category.is_none() || folded(&rule.category, metadata.category.as_ref()))
        && metadata.priority.map_or(rule.priority.is_none(), ranked)
        && has_all(&rule.tags, &metadata.tags)
        && has_all(&rule.feature, &metadata.features)
}

/// Returns true if the target keys of a rule match this target.
fn is_met_on(rule: &Rule, target: &PlaybookTarget) -> bool {
    let platform = rule.platform.as_ref();
    let patterns = rule.target.as_ref();
    platform.is_none_or(|wanted| wanted.0.iter().any(|one| one == target.platform))
        && patterns.is_none_or(|wanted| wanted.0.iter().any(|one| is_named(one, target)))
}

/// Returns true if a pattern matches the target's name, with or without the scenario's prefix.
pub fn is_named(pattern: &str, target: &PlaybookTarget) -> bool {
    matches(pattern, target.written_name()) || matches(pattern, &target.label)
}

fn holds(
    expression: &Expression,
    test: &Test,
    target: Option<&PlaybookTarget>,
    inventory: &Inventory,
) -> bool {
    let holds = |one: &Expression| holds(one, test, target, inventory);
    match expression {
        Expression::All(all) => all.iter().all(holds),
        Expression::Any(any) => any.iter().any(holds),
        Expression::Not(one) => !holds(one),
        Expression::Is(rule) => {
            let on = target.map_or_else(|| !names_target(rule), |target| is_met_on(rule, target));
            on && is_met_by(rule, test, inventory)
        }
    }
}

#[cfg(test)]
mod tests;
