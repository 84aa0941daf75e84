//! The order in which cases start, as nextest priorities.
//!
//! Must not know nextest's configuration.

use std::{cmp::Reverse, collections::HashMap};

use target_fixtures::metadata::{Metadata, Reuse};

use super::{Case, Durations};
use crate::inventory::Inventory;

/// The order of cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By the author's priority, then grouped by requirements, then longest first.
    #[default]
    Planned,
    /// Random, from this seed.
    Random(u64),
}

/// The number of nextest priorities for cases: -100 to 99. Deploys have 100.
const PRIORITIES: usize = 200;
/// The highest priority of a case.
const HIGHEST: usize = 99;
/// The author's priority if none is declared.
const MIDDLE: u8 = 2;
/// Seconds. Shorter cases are ordered alike.
const SHORT: f64 = 0.02;

/// Sets the nextest priority of every case.
pub(super) fn rank(
    cases: &mut [Case],
    inventory: &Inventory,
    durations: Option<&Durations>,
    order: Order,
) {
    let ranks = match order {
        Order::Planned => planned(cases, inventory, durations),
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

/// The sort key of a case: priority, place by the use of its instance, longest of its group, group,
/// duration.
type Key<'a> = (u8, u8, Reverse<u32>, usize, Reverse<u32>);

/// Returns the rank of every case. Cases with equal keys have equal ranks.
fn planned(cases: &[Case], inventory: &Inventory, durations: Option<&Durations>) -> Vec<usize> {
    let metadata = |case: &Case| inventory.tests[case.test].declared();
    let level = |case: &Case| {
        let label = case.info.runs_on.label().unwrap_or_default();
        let seconds = durations?.of(&case.info.binary_id, &case.info.test, label);
        seconds.map(level)
    };
    let levels: Vec<_> = cases.iter().map(level).collect();
    // Cases without a recorded duration may take long.
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
            // A new instance is fresh; an instance that is used up last need not be replaced.
            match (declared.reuse, declared.fresh) {
                (Some(Reuse::No), _) => 2,
                (_, Some(true)) => 0,
                _ => 1,
            },
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

/// Groups cases with equal requirements and features. Returns the group of every case, and the longest level of
/// every group.
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

/// Returns the level of a duration. Durations that differ by less than a half are ordered alike, because clocks and
/// machines are not exact.
fn level(seconds: f64) -> u32 {
    if seconds < SHORT {
        return 0;
    }
    (1.0 + (seconds / SHORT).log2() * 2.0).round() as u32
}

/// Returns nextest's priority of every rank, in descending order. The most frequent rank gets nextest's default of 0
/// if there is room.
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
