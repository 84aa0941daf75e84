//! Properties of [`schedule`] over random pools and claims.

use std::{collections::BTreeSet, rc::Rc};

use proptest::prelude::*;

use super::{
    world::{FREE, UNUSED, World, claim, decide_lazily, held, want},
    *,
};
use crate::provision::pool::{claim::Want, state::Record};

prop_compose! {
    fn worlds()(
        states in prop::collection::vec(0..3u8, 1..5),
        others in prop::collection::vec(0..3u8, 0..3),
        claims in prop::collection::vec((1..16u8, 0..3usize, any::<bool>()), 1..7),
    ) -> World {
        let state = |kind: &u8| match kind {
            0 => held(),
            1 => FREE,
            _ => UNUSED,
        };
        let states: Vec<LeaseState> = states.iter().map(state).collect();
        let others: Vec<LeaseState> = others.iter().map(state).collect();
        // Of the four possible instances, the number of cores decides which suit the claim.
        let claim_of = |(fits, count, also): (u8, usize, bool)| {
            let cores = (1..5).filter(|cores| fits & (1 << (cores - 1)) != 0);
            let cores: Vec<String> = cores.map(|cores| cores.to_string()).collect();
            let needs = match cores.len() {
                4 => Default::default(),
                _ => [("cores".to_owned(), cores.join(" | "))].into(),
            };
            let mut wants = vec![Want { needs, ..want("alpha", count.max(1)) }];
            if also {
                wants.push(want("beta", 1));
            }
            claim(wants)
        };
        World::of(&states).with("beta", &others).waits(claims.into_iter().map(claim_of))
    }
}

/// The ids of the records that suit each want of a claim.
fn fitting(world: &World, own: usize) -> Vec<BTreeSet<String>> {
    let view = world.view(own);
    let ids = |records: &Rc<[&Record]>| records.iter().map(|record| record.id.clone()).collect();
    options(&view, &view.own).iter().map(ids).collect()
}

/// Tries every assignment of one id from each set, without the taken ids.
fn can_assign(sets: &[BTreeSet<String>], taken: &BTreeSet<String>) -> bool {
    let Some((ids, rest)) = sets.split_first() else {
        return true;
    };
    let mut left = ids.difference(taken);
    left.any(|id| can_assign(rest, &(taken | &BTreeSet::from([id.clone()]))))
}

proptest! {
    #[test]
    fn nothing_is_granted_twice_nor_what_does_not_fit(world in worlds()) {
        let mut granted = BTreeSet::new();
        for (own, claim) in world.queue.iter().enumerate() {
            let Decision::Grant(records) = world.decide(own) else { continue };
            let wanted: usize = claim.wants.iter().map(|want| want.count).sum();
            prop_assert_eq!(records.len(), wanted, "all or none");
            let mut rest = &records[..];
            for (want, fitting) in claim.wants.iter().zip(fitting(&world, own)) {
                let (part, others) = rest.split_at(want.count);
                prop_assert!(part.iter().all(|id| fitting.contains(id)));
                rest = others;
            }
            for id in records {
                let (_, state) = world.records.iter().find(|(record, _)| record.id == id).unwrap();
                prop_assert!(!matches!(state, LeaseState::Held(_)), "{} is held", id);
                prop_assert!(granted.insert(id), "granted twice");
            }
        }
    }

    /// The first claim gets what it would get alone, whatever claims wait behind it.
    #[test]
    fn the_first_is_served_if_it_can_be(world in worlds()) {
        let alone = World { queue: world.queue[..1].to_vec(), ..world.clone() };
        let is_served = |world: &World| matches!(world.decide(0), Decision::Grant(_));
        prop_assert_eq!(is_served(&alone), is_served(&world));
    }

    /// Of claims for one instance each, a claim waits only if no assignment serves it together with all claims served
    /// before it.
    #[test]
    fn nobody_waits_for_a_choice_that_another_could_have_made(world in worlds()) {
        let mut world = world;
        for claim in &mut world.queue {
            claim.wants.truncate(1);
            claim.wants[0].count = 1;
        }
        let held = world.records.iter().filter(|(_, state)| matches!(state, LeaseState::Held(_)));
        let held: BTreeSet<String> = held.map(|(record, _)| record.id.clone()).collect();
        let mut served: Vec<BTreeSet<String>> = Vec::new();
        for own in 0..world.queue.len() {
            served.push(&fitting(&world, own)[0] - &held);
            let possible = can_assign(&served, &BTreeSet::new());
            let is_served = matches!(world.decide(own), Decision::Grant(_));
            prop_assert_eq!(possible, is_served, "{}", own);
            if !possible {
                served.pop();
            }
        }
    }

    /// Only earlier claims decide if a claim is served.
    #[test]
    fn who_comes_later_takes_nothing_away(world in worlds()) {
        for own in 0..world.queue.len() {
            let before = World { queue: world.queue[..=own].to_vec(), ..world.clone() };
            let is_served = |world: &World| matches!(world.decide(own), Decision::Grant(_));
            prop_assert_eq!(is_served(&before), is_served(&world));
        }
    }

    #[test]
    fn an_unrelated_claim_changes_nothing(world in worlds(), place in any::<prop::sample::Index>()) {
        let place = place.index(world.queue.len() + 1);
        let mut more = world.clone().with("gamma", &[FREE, held()]);
        more.queue.insert(place, claim([want("gamma", 1)]));
        let mut answers = more.answers();
        prop_assert_eq!(answers.remove(place), "gamma-0");
        prop_assert_eq!(answers, world.answers());
    }

    #[test]
    fn a_partial_view_leads_to_the_same_decision(world in worlds()) {
        for own in 0..world.queue.len() {
            let view = world.view(own);
            let whole = schedule(&view).unwrap();
            match (decide_lazily(&view).0, whole) {
                // Holders that do not matter for the decision need not be known for the message.
                (Decision::Wait(lazy), Decision::Wait(whole)) => {
                    prop_assert_eq!(lazy.total, whole.total);
                    prop_assert!(lazy.busy.len() <= whole.busy.len());
                }
                (lazy, whole) => prop_assert_eq!(lazy, whole),
            }
        }
    }
}
