//! Which cases start first.
//!
//! Owns the order, and how it becomes nextest's priorities. Must not know nextest's configuration.

use std::{cmp::Reverse, collections::HashMap};

use target_fixtures::metadata::{Metadata, Reuse};

use super::{Case, Durations};
use crate::{inventory::Inventory, playbook::Target};

/// How cases are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By the author's priority, then together what needs the same, then the longest first.
    #[default]
    Planned,
    /// By chance, from this seed.
    Random(u64),
}

/// How many of nextest's priorities there are for cases: -100 to 99. Deploys have 100.
const PRIORITIES: usize = 200;
/// The greatest of them.
const HIGHEST: usize = 99;
/// The author's priority where none is declared.
const MIDDLE: u8 = 2;
/// What takes less is all the same.
const SHORT: f64 = 0.02;

/// Gives every case its nextest priority.
pub(super) fn rank(
    cases: &mut [Case],
    inventory: &Inventory,
    targets: &[Target],
    durations: &Durations,
    order: Order,
) {
    let ranks = match order {
        Order::Planned => planned(cases, inventory, targets, durations),
        Order::Random(seed) => {
            let mut ranks: Vec<_> = (0..cases.len()).collect();
            fastrand::Rng::with_seed(seed).shuffle(&mut ranks);
            ranks
        }
    };
    let priorities = priorities(&ranks);
    for (case, rank) in cases.iter_mut().zip(ranks) {
        case.rank = priorities[rank];
    }
}

/// What a case is ordered by, most important first.
type Key<'a> = (u8, bool, Reverse<u32>, usize, Reverse<u32>);

/// The rank of every case; those that are ordered alike have the same.
fn planned(
    cases: &[Case],
    inventory: &Inventory,
    targets: &[Target],
    durations: &Durations,
) -> Vec<usize> {
    let nothing = Metadata::default();
    let metadata = |case: &Case| {
        inventory.tests[case.test]
            .metadata
            .as_ref()
            .unwrap_or(&nothing)
    };
    let level = |case: &Case| {
        let test = &inventory.tests[case.test];
        let binary = &inventory.binaries[test.binary].id;
        durations
            .of(binary, &test.name, &targets[case.target].label)
            .map(level)
    };
    let levels: Vec<_> = cases.iter().map(level).collect();
    // What was never run may take long.
    let longest = levels.iter().flatten().max().copied().unwrap_or(0);
    let levels: Vec<_> = levels
        .into_iter()
        .map(|level| level.unwrap_or(longest))
        .collect();
    let (group_of, group_longest) = groups(cases.iter().map(metadata).zip(&levels));
    let key = |number: usize| -> Key<'_> {
        let declared = metadata(&cases[number]);
        let group = group_of[number];
        (
            declared.priority.unwrap_or(MIDDLE),
            // An instance that is spent last need not be made anew.
            declared.reuse.unwrap_or_default() == Reuse::No,
            Reverse(group_longest[group]),
            group,
            Reverse(levels[number]),
        )
    };
    let keys: Vec<_> = (0..cases.len()).map(key).collect();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    sorted.dedup();
    let rank = |key| sorted.binary_search(key).unwrap_or_else(|next| next);
    keys.iter().map(rank).collect()
}

/// What needs the same is one group: the number of each, and how long the longest of each group takes.
fn groups<'a>(cases: impl Iterator<Item = (&'a Metadata, &'a u32)>) -> (Vec<usize>, Vec<u32>) {
    let mut groups = HashMap::new();
    let (mut group_of, mut longest) = (Vec::new(), Vec::new());
    for (declared, level) in cases {
        let (needs, new) = ((&declared.requirements, &declared.features), groups.len());
        let group = *groups.entry(needs).or_insert(new);
        if group == new {
            longest.push(0);
        }
        longest[group] = longest[group].max(*level);
        group_of.push(group);
    }
    (group_of, longest)
}

/// Durations that differ by less than a half are ordered alike: clocks and machines are not exact.
fn level(seconds: f64) -> u32 {
    if seconds < SHORT {
        return 0;
    }
    (1.0 + (seconds / SHORT).log2() * 2.0).round() as u32
}

/// nextest's priority for every rank, falling. The most frequent rank gets 0 where there is room, which is what
/// nextest gives anyway.
fn priorities(ranks: &[usize]) -> Vec<i8> {
    let count = ranks.iter().max().map_or(0, |last| last + 1);
    let bucket = |rank: usize| match count {
        ..=PRIORITIES => rank,
        _ => rank * PRIORITIES / count,
    };
    let last = bucket(count.saturating_sub(1));
    let mut sizes = vec![0_usize; last + 1];
    ranks.iter().for_each(|rank| sizes[bucket(*rank)] += 1);
    let most = (0..sizes.len()).max_by_key(|bucket| (sizes[*bucket], Reverse(*bucket)));
    let zero = most
        .unwrap_or(0)
        .clamp(last.saturating_sub(PRIORITIES - 1 - HIGHEST), HIGHEST);
    let priority = |rank| zero as i64 - bucket(rank) as i64;
    (0..count.max(1))
        .map(|rank| i8::try_from(priority(rank)).unwrap_or(0))
        .collect()
}

#[cfg(test)]
mod tests;
