//! Notes on a plan for the user, and their wording.
//!
//! Must not change the plan.

use std::{collections::HashSet, fmt};

use super::{Exclusion, Plan};
use crate::{
    case::reason::ExclusionReason,
    inventory::Inventory,
    playbook::{PlaybookTarget, did_you_mean},
};

/// A note on a plan for the user.
#[derive(Clone, Debug, PartialEq)]
pub enum PlanNote {
    /// Tests without the attribute run once, on the host.
    OnHost {
        /// Number of tests.
        tests: usize,
    },
    /// Tests that run on no target.
    Nowhere {
        /// Number of tests.
        tests: usize,
        /// The name of the first test.
        first: String,
        /// The reason of the first test.
        reason: ExclusionReason,
    },
    /// No case remains, although tests could run.
    NoCase {
        /// The name of a test.
        test: String,
        /// The reason it has no case.
        reason: ExclusionReason,
    },
    /// A test has no case on a target because the case name is taken.
    NotEverywhere {
        /// The test.
        test: String,
        /// The reason.
        reason: ExclusionReason,
    },
}

impl PlanNote {
    /// Returns true if `list` shows more about the note.
    pub fn is_listed(&self) -> bool {
        matches!(self, Self::Nowhere { .. } | Self::NoCase { .. })
    }
}

impl fmt::Display for PlanNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnHost { tests: count } => write!(
                f,
                "{} once, on the host (`--all-tests` runs all on the targets)",
                tests(*count, "without `#[target_test]` ")
            ),
            Self::Nowhere {
                tests: count,
                first,
                reason,
            } => write!(
                f,
                "{} on no target, such as `{first}`: {reason}",
                tests(*count, "")
            ),
            Self::NoCase { test, reason } => write!(f, "no case is left: `{test}`: {reason}"),
            Self::NotEverywhere { test, reason } => {
                write!(f, "`{test}` is not run everywhere: {reason}")
            }
        }
    }
}

/// Returns the notes on a plan.
pub(super) fn notes(plan: &Plan, inventory: &Inventory) -> Vec<PlanNote> {
    let mut notes = Vec::new();
    let host = |test: &&usize| inventory.binaries[inventory.tests[**test].binary].host;
    let of_host_binaries = plan.plain.iter().filter(host).count();
    let plain = plan.plain.len() - of_host_binaries;
    if plain > 0 {
        notes.push(PlanNote::OnHost { tests: plain });
    }
    let name = |exclusion: &Exclusion| inventory.tests[exclusion.test].name.clone();
    let homeless = homeless(plan);
    if let [first, ..] = homeless.as_slice() {
        notes.push(PlanNote::Nowhere {
            tests: homeless.len(),
            first: name(first),
            reason: first.reason.clone(),
        });
    }
    if let (true, true, Some(first)) = (
        plan.cases.is_empty(),
        homeless.is_empty(),
        plan.excluded.first(),
    ) {
        notes.push(PlanNote::NoCase {
            test: name(first),
            reason: first.reason.clone(),
        });
    }
    let twice = plan
        .excluded
        .iter()
        .filter(|exclusion| matches!(exclusion.reason, ExclusionReason::NameTaken { .. }));
    notes.extend(twice.map(|exclusion| PlanNote::NotEverywhere {
        test: name(exclusion),
        reason: exclusion.reason.clone(),
    }));
    notes
}

/// Returns one sentence per test whose requirements nothing can meet.
pub(super) fn impossible(plan: &Plan, inventory: &Inventory) -> Vec<String> {
    let mut impossible: Vec<_> = (plan.excluded.iter())
        .filter(|exclusion| matches!(exclusion.reason, ExclusionReason::Impossible { .. }))
        .collect();
    impossible.dedup_by_key(|exclusion| exclusion.test);
    let sentence = |exclusion: &&Exclusion| {
        let name = &inventory.tests[exclusion.test].name;
        format!("`{name}` {}", exclusion.reason)
    };
    impossible.iter().map(sentence).collect()
}

/// Returns the first exclusion of every test that can run on no target. Filters, if any, restrict the tests.
pub fn skipped<'p>(
    plan: &'p Plan,
    inventory: &Inventory,
    targets: &[PlaybookTarget],
    filters: &[String],
) -> Vec<&'p Exclusion> {
    let mut skipped = homeless(plan);
    skipped.retain(|exclusion| {
        let test = &inventory.tests[exclusion.test].name;
        let labels = targets.iter().flat_map(labels);
        let cases = labels.map(|label| format!("{test}[{label}]"));
        let mut names = cases.chain([test.clone()]);
        filters.is_empty() || names.any(|name| filters.iter().any(|filter| name.contains(filter)))
    });
    skipped
}

/// Explains filters that match no case: their tests are excluded or run several times, or the filter names an unknown
/// target.
pub fn unmatched(
    plan: &Plan,
    inventory: &Inventory,
    targets: &[PlaybookTarget],
    filters: &[String],
) -> Vec<String> {
    filters
        .iter()
        .filter(|filter| !matches(plan, inventory, filter))
        .flat_map(|filter| {
            let left_out = left_out(plan, inventory, targets, filter);
            if left_out.is_empty() {
                let why = repeated(plan, filter).or_else(|| no_target(targets, filter));
                why.into_iter().collect()
            } else {
                left_out
            }
        })
        .collect()
}

fn matches(plan: &Plan, inventory: &Inventory, filter: &str) -> bool {
    let cases = plan.cases.iter().map(|case| &case.info.name);
    let plain = plan.plain.iter().map(|test| &inventory.tests[*test].name);
    cases.chain(plain).any(|name| name.contains(filter))
}

/// Explains that the case of the filter runs several times.
fn repeated(plan: &Plan, filter: &str) -> Option<String> {
    let numbered = format!("{}#", filter.strip_suffix(']')?);
    let mut cases = plan.cases.iter();
    let first = &cases
        .find(|case| case.info.name.contains(&numbered))?
        .info
        .name;
    Some(format!(
        "`{filter}` matches no case: it is run several times, first as `{first}`; `{numbered}` matches all of them"
    ))
}

/// Lists a few excluded cases that the filter would match.
fn left_out(
    plan: &Plan,
    inventory: &Inventory,
    targets: &[PlaybookTarget],
    filter: &str,
) -> Vec<String> {
    const FEW: usize = 3;
    let would_be = |exclusion: &Exclusion| {
        let test = &inventory.tests[exclusion.test].name;
        let labels = exclusion.target.map(|target| labels(&targets[target]));
        let mut names: Vec<_> = (labels.into_iter().flatten())
            .map(|label| format!("{test}[{label}]"))
            .collect();
        if names.is_empty() {
            names.push(test.clone());
        }
        names
    };
    let meant = plan.excluded.iter().filter_map(|exclusion| {
        let mut names = would_be(exclusion).into_iter();
        let name = names.find(|name| name.contains(filter))?;
        Some(format!("`{name}` is left out: {}", exclusion.reason))
    });
    meant.take(FEW).collect()
}

/// Explains that the name in the filter's brackets is not a target.
fn no_target(targets: &[PlaybookTarget], filter: &str) -> Option<String> {
    let (_, name) = filter.strip_suffix(']')?.rsplit_once('[')?;
    let known: Vec<&str> = targets.iter().flat_map(labels).collect();
    if known.contains(&name) {
        return None;
    }
    let hint = did_you_mean(name, &known)
        .unwrap_or_else(|| format!("the targets are `{}`", known.join("`, `")));
    Some(format!(
        "`{filter}` matches no case: unknown target `{name}`; {hint}"
    ))
}

/// Returns the texts in the brackets of case names on a target: without the scenario and, if it may occur, with it.
fn labels(target: &PlaybookTarget) -> impl Iterator<Item = &str> {
    let plain = target.written_name();
    let with_scenario = Some(target.label.as_str()).filter(|label| *label != plain);
    std::iter::once(plain).chain(with_scenario)
}

/// Returns the first exclusion of every requested test that is unfit for all targets.
fn homeless(plan: &Plan) -> Vec<&Exclusion> {
    let with_cases: HashSet<_> = plan.cases.iter().map(|case| case.test).collect();
    let mut homeless: Vec<_> = plan
        .excluded
        .iter()
        .filter(|exclusion| exclusion.reason.is_unfit() && !with_cases.contains(&exclusion.test))
        .collect();
    homeless.dedup_by_key(|exclusion| exclusion.test);
    homeless
}

/// Formats a count: `1 test runs`, `2 tests without ... run`.
fn tests(count: usize, which: &str) -> String {
    match count {
        1 => format!("1 test {which}runs"),
        _ => format!("{count} tests {which}run"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::{
        Choosing, build,
        testing::{inventory, target},
    };

    #[test]
    fn what_no_filter_matches_is_explained() {
        let targets = [target("alpha"), target("beta")];
        let inventory = inventory(&[
            ("here", Some(json!({}))),
            ("pair", Some(json!({"count": 2}))),
            ("some", Some(json!({"targets": ["alpha"]}))),
        ]);
        let twice = toml::from_str("name = \"some\"\ntimes = 2").expect("a rule");
        let all = toml::from_str("times = 1").expect("a rule");
        let choosing = Choosing {
            criteria: &[twice, all],
            ..Choosing::default()
        };
        let plan = build(&inventory, &targets, &choosing).unwrap();
        for (filter, expected) in [
            (
                "pair[beta]",
                &["`pair[beta]` is left out: needs 2 instances, `beta` has 1"][..],
            ),
            (
                "here[betta]",
                &["`here[betta]` matches no case: unknown target `betta`; did you mean `beta`?"],
            ),
            (
                "[gamma]",
                &[
                    "`[gamma]` matches no case: unknown target `gamma`; the targets are `alpha`, `beta`",
                ],
            ),
            ("her[alpha]e", &[]),
            // A filter that matches a case is not explained.
            ("some", &[]),
            (
                "some[alpha]",
                &[
                    "`some[alpha]` matches no case: it is run several times, first as `some[alpha#1]`; \
                   `some[alpha#` matches all of them",
                ],
            ),
            ("nothing", &[]),
        ] {
            let said = unmatched(&plan, &inventory, &targets, &[filter.to_owned()]);
            assert_eq!(said, expected, "{filter}");
        }
    }

    #[test]
    fn of_what_can_run_nowhere_a_filter_leaves_what_it_means() {
        let targets = [target("alpha"), target("beta")];
        let inventory = inventory(&[
            ("net::huge", Some(json!({"requirements": {"gpu": "1"}}))),
            ("pair", Some(json!({"count": 2}))),
            ("here", Some(json!({}))),
        ]);
        let plan = build(&inventory, &targets, &Choosing::default()).unwrap();
        for (filters, expected) in [
            (&[][..], &[0, 1][..]),
            (&["net::", "here"], &[0]),
            (&["pair[beta]"], &[1]),
            (&["here"], &[]),
        ] {
            let filters: Vec<_> = filters.iter().map(|one: &&str| (*one).to_owned()).collect();
            let skipped = skipped(&plan, &inventory, &targets, &filters);
            let tests: Vec<_> = skipped.iter().map(|exclusion| exclusion.test).collect();
            assert_eq!(tests, expected, "{filters:?}");
        }
    }
}
