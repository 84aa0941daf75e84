//! Tests x targets -> cases: multiplies tests by targets and names the cases.
//!
//! Must not know when a target fits a test (see `select`), how criteria are evaluated or how cases are ordered.

use std::{collections::HashSet, sync::Arc};

use target_fixtures::metadata::Metadata;

use super::{
    Case, Choosing, Exclusion, Plan,
    criteria::{Criteria, Said},
    notes, order, overrides,
    prefer::Loads,
    select::{expected_failures, fits, skip_reason, with_meant},
};
use crate::{
    case::{CaseInfo, RunsOn, reason::ExclusionReason},
    error::{Error, Result},
    inventory::{Inventory, Test},
    playbook::{PlaybookTarget, Select, TestVariant},
};

/// Builds the plan.
///
/// Tests of host binaries run once, on the host. Tests with `#[target_test]` are multiplied by the targets. Tests
/// without the attribute are multiplied if `select` is [`Select::All`] or no test has the attribute; otherwise they
/// run once, on the host. The plan contains only tests that the criteria include.
///
/// # Errors
/// [`ErrorKind::Playbook`](crate::ErrorKind::Playbook) if the plan has more than a million cases.
pub fn build(
    inventory: &Inventory,
    targets: &[PlaybookTarget],
    choosing: &Choosing<'_>,
) -> Result<Plan> {
    let on_targets = |test: &Test| !inventory.binaries[test.binary].host;
    let mut attributes = inventory.tests.iter().filter(|test| test.attribute);
    let all = choosing.select == Select::All || !attributes.any(on_targets);

    let is_selected = |test: usize| {
        let scenes = choosing.scenes;
        scenes.is_none_or(|scenes| scenes.selects_test(test))
    };
    let tests = inventory.tests.iter().enumerate();
    let tests = tests.filter(|(number, _)| is_selected(*number));
    let (multiplied, plain): (Vec<_>, Vec<_>) =
        tests.partition(|(_, test)| on_targets(test) && (all || test.attribute));
    let criteria = Criteria::new(choosing, inventory, targets);
    let mut warnings = criteria.idle(&plain);
    warnings.extend(overrides::on_host(choosing.overrides, inventory, &plain));
    let mut matrix = Matrix {
        inventory,
        targets,
        criteria: &criteria,
        choosing,
        taken: bracketed(&plain),
        planned: 0,
        texts: Texts::new(inventory, targets),
        plan: Plan::default(),
    };
    for (number, test) in plain {
        matrix.add_plain(number, test);
    }
    matrix.multiply(multiplied);
    if matrix.planned > MOST_CASES {
        return Err(too_many(matrix.planned));
    }
    let mut plan = matrix.plan;
    // Tests that run on any one target were added last.
    plan.cases.sort_by_key(|case| (case.test, case.target));
    plan.excluded
        .sort_by_key(|exclusion| (exclusion.test, exclusion.target));
    order::rank(
        &mut plan.cases,
        inventory,
        choosing.durations,
        choosing.order,
    );
    plan.notes = notes::notes(&plan, inventory);
    plan.impossible = notes::impossible(&plan, inventory);
    warnings.extend(idle_variants(&plan, choosing.variants));
    plan.warnings = warnings;
    Ok(plan)
}

/// Returns one sentence per variant that no case has.
fn idle_variants(plan: &Plan, variants: &[Arc<TestVariant>]) -> Vec<String> {
    let is_used = |variant: &Arc<TestVariant>| {
        let mut cases = plan.cases.iter().filter_map(|case| case.variant.as_ref());
        cases.any(|one| Arc::ptr_eq(one, variant))
    };
    let idle = variants.iter().filter(|variant| !is_used(variant));
    let sentence =
        |variant: &Arc<TestVariant>| format!("variant `{}` applies to no case", variant.name);
    idle.map(sentence).collect()
}

/// The maximum number of cases of a plan. Each case takes memory here and in nextest.
const MOST_CASES: u64 = 1_000_000;

fn too_many(planned: u64) -> Error {
    let message = format!("{planned} cases are too many: a plan has at most {MOST_CASES}");
    Error::playbook(message).with_hint(
        "cases are tests x targets x `times` of criteria; select fewer targets with `--on`",
    )
}

/// Names of plain tests that collide with possible case names, as binary and name.
type Taken<'a> = HashSet<(usize, &'a str)>;

fn bracketed<'a>(plain: &[(usize, &'a Test)]) -> Taken<'a> {
    let names = plain
        .iter()
        .map(|(_, test)| (test.binary, test.name.as_str()));
    names.filter(|(_, name)| name.ends_with(']')).collect()
}

/// A plan under construction.
struct Matrix<'a> {
    inventory: &'a Inventory,
    targets: &'a [PlaybookTarget],
    criteria: &'a Criteria<'a>,
    choosing: &'a Choosing<'a>,
    taken: Taken<'a>,
    /// The number of cases, including those beyond [`MOST_CASES`].
    planned: u64,
    texts: Texts,
    plan: Plan,
}

/// The texts that cases share: a plan may have a million cases of a few thousand tests.
struct Texts {
    binaries: Vec<Arc<str>>,
    tests: Vec<Arc<str>>,
    metadata: Vec<Option<Arc<Metadata>>>,
    /// The places of cases, by target: with the scenario and without.
    targets: Vec<[RunsOn; 2]>,
}

impl Texts {
    fn new(inventory: &Inventory, targets: &[PlaybookTarget]) -> Self {
        let target = |target: &PlaybookTarget| {
            [target.label.as_str(), target.written_name()].map(|label| {
                let (name, label) = (target.name.as_str().into(), label.into());
                match target.roles.is_empty() {
                    true => RunsOn::Target { name, label },
                    false => RunsOn::Environment { name, label },
                }
            })
        };
        let (binaries, tests) = (inventory.binaries.iter(), inventory.tests.iter());
        Self {
            binaries: binaries.map(|binary| binary.id.as_str().into()).collect(),
            tests: tests
                .clone()
                .map(|test| test.name.as_str().into())
                .collect(),
            metadata: tests
                .map(|test| test.metadata.clone().map(Arc::new))
                .collect(),
            targets: targets.iter().map(target).collect(),
        }
    }
}

impl Matrix<'_> {
    fn add_plain(&mut self, number: usize, test: &Test) {
        if let Some(reason) = self.nowhere(test.declared()) {
            return self.leave(number, None, reason);
        }
        match self.criteria.of(number, test, None) {
            Said::Run(_) => self.plan.plain.push(number),
            Said::Leave(reason) => self.leave(number, None, reason),
        }
    }

    /// Adds the cases of the given tests. Tests that run on any one target are placed last, when the load of every
    /// target is known.
    fn multiply(&mut self, tests: Vec<(usize, &Test)>) {
        let choosing = self.choosing;
        let mut careless = Vec::new();
        let mut loads = Loads::new(self.inventory, self.targets, choosing);
        for (number, test) in tests {
            for (target, times) in self.fitting(number, test) {
                match test.declared().any {
                    Some(true) => careless.push((number, target, times)),
                    _ => {
                        loads.add(number, target, times);
                        self.add(number, target, times);
                    }
                }
            }
        }
        // Each scenario chooses separately: its filterset may exclude tests that another scenario runs.
        let scenario = |target: usize| &self.targets[target].scenario;
        for fitting in careless.chunk_by(|a, b| a.0 == b.0 && scenario(a.1) == scenario(b.1)) {
            let number = fitting[0].0;
            let among: Vec<_> = fitting.iter().map(|one| one.1).collect();
            let Some(best) = loads.best(choosing.prefer, number, &among) else {
                continue;
            };
            for (_, target, times) in fitting {
                if *target == best {
                    loads.add(number, best, *times);
                    self.add(number, best, *times);
                } else {
                    let chosen = choosing.label(number, &self.targets[best]).to_owned();
                    let reason = ExclusionReason::OtherTarget { chosen };
                    self.leave(number, Some(*target), reason);
                }
            }
        }
    }

    /// Returns the targets that a test runs on and the repetitions on each. Adds an exclusion for every other target.
    fn fitting(&mut self, number: usize, test: &Test) -> Vec<(usize, u32)> {
        if let Some(reason) = self.nowhere(test.declared()) {
            self.leave(number, None, reason);
            return Vec::new();
        }
        let mut fitting = Vec::new();
        for (at, target) in self.targets.iter().enumerate() {
            if !self.is_selected(number, target, None) {
                continue;
            }
            let times = match self.criteria.of(number, test, Some((at, target))) {
                Said::Run(times) => times,
                Said::Leave(reason) => {
                    self.leave(number, Some(at), reason);
                    continue;
                }
            };
            match self.times((number, test), (at, target), times) {
                Ok(()) => fitting.push((at, times)),
                Err(reason) => self.leave(number, Some(at), with_meant(reason, self.targets)),
            }
        }
        fitting
    }

    /// Checks that a test can run `times` times on a target.
    fn times(
        &self,
        (number, test): (usize, &Test),
        (at, target): (usize, &PlaybookTarget),
        times: u32,
    ) -> Result<(), ExclusionReason> {
        if let Some(reason) = skip_reason(test.declared(), Some(target)) {
            return Err(ExclusionReason::Declared(reason.to_owned()));
        }
        fits(test.metadata.as_ref(), target)?;
        if self.taken.is_empty() {
            return Ok(());
        }
        let taken = |case: &CaseInfo| self.taken.contains(&(test.binary, case.name.as_str()));
        self.infos(number, at, times)
            .map(|(info, _)| info)
            .find(taken)
            .map_or(Ok(()), |case| {
                Err(ExclusionReason::NameTaken { name: case.name })
            })
    }

    /// Adds the cases of a test on a target.
    fn add(&mut self, number: usize, at: usize, times: u32) {
        self.planned += u64::from(times) * self.variants(number, at).len() as u64;
        if self.planned > MOST_CASES {
            return;
        }
        let (test, target) = (&self.inventory.tests[number], &self.targets[at]);
        let expected = expected_failures(test.declared(), Some(target));
        let count = test.declared().count.unwrap_or(1).max(1);
        let case = |(info, variant): (CaseInfo, Option<&Arc<TestVariant>>)| Case {
            info: Arc::new(info),
            variant: variant.cloned(),
            test: number,
            target: at,
            count,
            rank: 0,
            expect_fail: expected.clone(),
        };
        let infos = self.infos(number, at, times);
        let infos = infos.filter(|(info, variant)| {
            let variant = variant.map(|variant| variant.name.as_str());
            self.is_selected(number, target, Some((variant, info.repetition)))
        });
        let cases: Vec<_> = infos.map(case).collect();
        self.plan.cases.extend(cases);
    }

    /// Returns the variants of a test on a target; none if it has no variants.
    fn variants(&self, number: usize, at: usize) -> Vec<Option<&Arc<TestVariant>>> {
        let (test, target) = (&self.inventory.tests[number].name, &self.targets[at]);
        let all = self.choosing.variants.iter();
        let own: Vec<_> = all
            .filter(|variant| variant.is_for(test, target))
            .map(Some)
            .collect();
        if own.is_empty() { vec![None] } else { own }
    }

    /// Returns the cases of a test on a target, one for each of its variants. Repetitions are numbered if `times` exceeds
    /// 1.
    fn infos(
        &self,
        number: usize,
        at: usize,
        times: u32,
    ) -> impl Iterator<Item = (CaseInfo, Option<&Arc<TestVariant>>)> {
        let texts = &self.texts;
        let target = &self.targets[at];
        let is_plain = self.choosing.label(number, target) != target.label;
        let place = &texts.targets[at][usize::from(is_plain)];
        let variants = self.variants(number, at).into_iter();
        variants.flat_map(move |variant| {
            let place = match variant {
                None => place.clone(),
                Some(variant) => place.with_variant(&variant.name),
            };
            (1..=times).map(move |repetition| {
                let info = CaseInfo::new(
                    Arc::clone(&texts.binaries[self.inventory.tests[number].binary]),
                    Arc::clone(&texts.tests[number]),
                    place.clone(),
                    (times > 1).then_some(repetition),
                    texts.metadata[number].clone(),
                );
                (info, variant)
            })
        })
    }

    /// True if the scenario of a target selects this case of a test; with `None`, any of them.
    fn is_selected(
        &self,
        number: usize,
        target: &PlaybookTarget,
        case: Option<(Option<&str>, Option<u32>)>,
    ) -> bool {
        let scenes = self.choosing.scenes;
        scenes.is_none_or(|scenes| scenes.selects(number, target, case))
    }

    /// Returns the reason a test runs on no target at all, if any.
    fn nowhere(&self, metadata: &Metadata) -> Option<ExclusionReason> {
        let mut environments = self.targets.iter().filter(|one| !one.roles.is_empty());
        if !metadata.roles.is_empty() && environments.next().is_none() {
            return Some(ExclusionReason::Roles);
        }
        let skip = skip_reason(metadata, None)?;
        Some(ExclusionReason::Declared(skip.to_owned()))
    }

    fn leave(&mut self, test: usize, target: Option<usize>, reason: ExclusionReason) {
        self.plan.excluded.push(Exclusion {
            test,
            target,
            reason,
        });
    }
}

#[cfg(test)]
mod tests;
