//! Tables of pools and claims, with the decisions of [`schedule`].

mod properties;
mod world;

use std::sync::Arc;

use self::world::{FREE, UNUSED, World, claim, decide_lazily, held, holder, want};
use super::*;
use crate::provision::pool::{
    claim::{Claim, ResourceWant, Want},
    state::RecordState,
};

/// `count` instances of `alpha`.
fn alpha(count: usize) -> Claim {
    claim([want("alpha", count)])
}

/// One instance of `alpha`, of this name.
fn only(instance: &str) -> Claim {
    let instance = Some(instance.to_owned());
    claim([Want {
        instance,
        ..want("alpha", 1)
    }])
}

#[test]
fn disjoint_claims_do_not_know_of_each_other() {
    let world = World::of(&[FREE]).with("beta", &[FREE]);
    let (alpha, beta) = (alpha(1), claim([want("beta", 1)]));
    assert_eq!(
        world.clone().waits([alpha.clone(), beta.clone()]).answers(),
        ["alpha-0", "beta-0"]
    );
    assert_eq!(world.waits([beta, alpha]).answers(), ["beta-0", "alpha-0"]);
}

/// For either order of the claims, and whichever instance is the suitable one.
#[test]
fn a_claim_that_fits_both_leaves_the_only_one_that_fits_another() {
    for (fits, other) in [("alpha-0", "alpha-1"), ("alpha-1", "alpha-0")] {
        let world = World::of(&[FREE, FREE]);
        let both_first = world.clone().waits([alpha(1), only(fits)]);
        assert_eq!(both_first.answers(), [other, fits], "fits {fits}");
        let both_last = world.waits([only(fits), alpha(1)]);
        assert_eq!(both_last.answers(), [fits, other], "fits {fits}");
    }
}

#[test]
fn a_chain_of_moves_serves_everyone() {
    let needs = |cores: &str| {
        claim([Want {
            needs: [("cores".to_owned(), cores.to_owned())].into(),
            ..want("alpha", 1)
        }])
    };
    let world = World::of(&[FREE, FREE, FREE]);
    let world = world.waits([needs(">= 1"), needs("<= 2"), needs("<= 1")]);
    assert_eq!(world.answers(), ["alpha-2", "alpha-1", "alpha-0"]);
}

#[test]
fn equal_claims_are_served_in_queue_order() {
    let world = World::of(&[FREE, FREE]).waits([alpha(1), alpha(1)]);
    assert_eq!(world.answers(), ["alpha-0", "alpha-1"]);
}

#[test]
fn the_last_of_too_many_claims_wait() {
    let world = World::of(&[FREE, held(), FREE]).waits([alpha(1), alpha(1), alpha(1), alpha(1)]);
    assert_eq!(world.answers(), ["alpha-0", "alpha-2", "wait", "wait"]);
    let first = World::of(&[FREE]).waits([alpha(1), only("alpha-0")]);
    assert_eq!(first.answers(), ["alpha-0", "wait"], "nobody overtakes");
}

#[test]
fn several_targets_are_had_all_or_none() {
    let both = || claim([want("alpha", 1), want("beta", 2)]);
    let world = World::of(&[FREE]).with("beta", &[FREE, FREE]);
    assert_eq!(
        world.clone().waits([both()]).answers(),
        ["alpha-0+beta-0+beta-1"]
    );
    assert_eq!(
        world.clone().waits([both(), alpha(1)]).answers(),
        ["alpha-0+beta-0+beta-1", "wait"]
    );
    assert_eq!(
        world.waits([alpha(1), both()]).answers(),
        ["alpha-0", "wait"]
    );
    let busy = World::of(&[FREE]).with("beta", &[FREE, held()]);
    assert_eq!(
        busy.waits([both(), alpha(1)]).answers(),
        ["wait", "wait"],
        "kept for the first"
    );
}

#[test]
fn a_claim_for_many_is_not_starved() {
    let world = World::of(&[FREE, held(), held()]).waits([alpha(2), alpha(1), alpha(1)]);
    assert_eq!(world.answers(), ["wait", "wait", "wait"]);
    let world = World::of(&[FREE, held(), FREE]).waits([alpha(2), alpha(1)]);
    assert_eq!(world.answers(), ["alpha-0+alpha-2", "wait"]);
    let spare = World::of(&[FREE, FREE, FREE]).waits([alpha(2), alpha(1)]);
    assert_eq!(spare.answers(), ["alpha-0+alpha-1", "alpha-2"]);
}

#[test]
fn claims_that_cannot_be_served_block_nobody() {
    let other = Claim {
        wants: vec![Want {
            hash: Some("other".to_owned()),
            ..want("alpha", 1)
        }],
        ..Claim::default()
    };
    let partly = claim([want("alpha", 1), want("beta", 1)]);
    let world = World::of(&[FREE, FREE]);
    let world = world.waits([alpha(3), only("alpha-7"), other, partly, alpha(2)]);
    let none = "none ready";
    assert_eq!(world.answers(), [none, none, none, none, "alpha-0+alpha-1"]);
}

#[test]
fn records_of_one_host_are_one_lease() {
    let mut world = World::of(&[FREE, FREE]);
    for (record, _) in &mut world.records {
        record.lease = "host-00".to_owned();
    }
    assert_eq!(world.clone().waits([alpha(2)]).answers(), ["none ready"]);
    assert_eq!(
        world.waits([alpha(1), alpha(1)]).answers(),
        ["alpha-0", "wait"]
    );
}

#[test]
fn only_ready_records_of_the_own_run_are_had() {
    let mut world = World::of(&[FREE, FREE]).waits([alpha(1)]);
    world.records[0].0.state = RecordState::Planned;
    assert_eq!(world.answers(), ["alpha-1"]);
    let mut view = world.view(0);
    view.own.uses = Arc::new(BTreeSet::from(["alpha-0".to_owned()]));
    assert_eq!(schedule(&view), Ok(Decision::NoneReady));
}

#[test]
fn records_of_dead_holders_are_marked_first() {
    let died = || LeaseState::HolderDied(holder("dead[x]"));
    let world = World::of(&[died(), FREE]).waits([alpha(1)]);
    let dirty = BTreeMap::from([("alpha-0".to_owned(), holder("dead[x]"))]);
    assert_eq!(world.decide(0), Decision::MarkDirty(dirty));
    let mut found = World::of(&[died()]).waits([alpha(1)]);
    found.records[0].0.ownership = crate::provision::platform::Ownership::Existing;
    assert_eq!(
        found.answers(),
        ["alpha-0"],
        "a host that we did not make is only swept"
    );
    let unmet = World::of(&[FREE, died()]).waits([alpha(1)]);
    assert_eq!(unmet.answers(), ["alpha-0"], "nobody needs to know");
    let held = World::of(&[held(), died()]).waits([alpha(2)]);
    assert_eq!(held.answers(), ["dirty alpha-1"]);
}

#[test]
fn fresh_claims_prefer_unused_instances() {
    let fresh = |count| {
        claim([Want {
            fresh: true,
            ..want("alpha", count)
        }])
    };
    let world = World::of(&[FREE, UNUSED]);
    assert_eq!(world.clone().waits([fresh(1)]).answers(), ["alpha-1"]);
    assert_eq!(
        world.clone().waits([fresh(2)]).answers(),
        ["alpha-0+alpha-1"]
    );
    assert_eq!(world.waits([alpha(1)]).answers(), ["alpha-0"]);
}

#[test]
fn shared_claims_use_one_instance_together() {
    let shared = || {
        claim([Want {
            shared: true,
            ..want("alpha", 1)
        }])
    };
    let together = || LeaseState::Shared(vec![holder("one[x]"), holder("two[x]")]);
    let table: &[(&[LeaseState], &[Claim], &[&str])] = &[
        (&[FREE], &[shared(), shared()], &["alpha-0", "alpha-0"]),
        (
            &[FREE, FREE],
            &[shared(), shared(), alpha(1)],
            &["alpha-0", "alpha-0", "alpha-1"],
        ),
        (&[FREE, together()], &[shared()], &["alpha-1"]),
        (&[together()], &[alpha(1)], &["wait"]),
        (&[held()], &[shared()], &["wait"]),
        // Otherwise shared leases could keep the exclusive claims out for ever.
        (&[together()], &[alpha(1), shared()], &["wait", "wait"]),
        (&[FREE], &[alpha(1), shared()], &["alpha-0", "wait"]),
        (
            &[together(), held()],
            &[only("alpha-1"), shared()],
            &["wait", "alpha-0"],
        ),
        (
            &[FREE, FREE],
            &[shared(), only("alpha-0")],
            &["alpha-1", "alpha-0"],
        ),
    ];
    for (states, claims, answers) in table {
        let world = World::of(states).waits(claims.to_vec());
        assert_eq!(&world.answers(), answers, "{states:?} {claims:?}");
    }
    let two = claim([Want {
        shared: true,
        ..want("alpha", 2)
    }]);
    assert_eq!(
        World::of(&[together()]).waits([two]).answers(),
        ["none ready"]
    );
    let Decision::Wait(reason) = World::of(&[together()]).waits([alpha(1)]).decide(0) else {
        panic!("granted")
    };
    assert_eq!((reason.total, reason.busy.len()), (1, 2));
}

#[test]
fn counted_resources_are_had_with_the_instances_or_not_at_all() {
    let licensed = |licences| Claim {
        resources: vec![ResourceWant {
            name: "licence".to_owned(),
            count: licences,
        }],
        ..alpha(1)
    };
    let table: &[(u32, &[Claim], &[&str])] = &[
        (2, &[licensed(2)], &["alpha-0"]),
        (2, &[licensed(1), licensed(1)], &["alpha-0", "alpha-1"]),
        (1, &[licensed(1), licensed(1)], &["alpha-0", "wait"]),
        // The first claim keeps the remaining licence, and its instance; the last claim needs neither.
        (
            1,
            &[licensed(2), licensed(1), alpha(1)],
            &["wait", "wait", "wait"],
        ),
        (2, &[licensed(4), alpha(1)], &["none ready", "alpha-0"]),
    ];
    for (free, claims, answers) in table {
        let mut world = World::of(&[FREE, FREE]).waits(claims.to_vec());
        world.resources.push(("licence", 3, *free));
        assert_eq!(&world.answers(), answers, "{free} {claims:?}");
    }
    let unknown = World::of(&[FREE]).waits([licensed(1)]);
    assert_eq!(unknown.answers(), ["none ready"]);
}

#[test]
fn a_wait_has_its_reasons() {
    let mut old = holder("old[x]");
    old.since = 1;
    let mut young = holder("young[x]");
    young.since = 2;
    let states = [LeaseState::Held(young), FREE, LeaseState::Held(old)];
    let world = World::of(&states).waits([alpha(1), claim([want("beta", 1)]), alpha(3)]);
    let Decision::Wait(reason) = world.decide(2) else {
        panic!("granted")
    };
    assert_eq!((reason.total, reason.busy.len(), reason.ahead), (3, 2, 2));
    let text = reason.describe();
    assert!(
        text.starts_with("2 of 3 leased (a process that is releasing it"),
        "{text}"
    );
    assert!(text.ends_with(", 2 before us"), "{text}");
    let mut view = world.view(2);
    view.queue[0] = QueueEntry::Vacant;
    let Ok(Decision::Wait(reason)) = schedule(&view) else {
        panic!("granted")
    };
    assert_eq!(reason.ahead, 1);
}

#[test]
fn no_more_is_read_than_a_decision_takes() {
    let read = |states: &[LeaseState], claims: Vec<Claim>, own| {
        let (_, leases, places) = decide_lazily(&World::of(states).waits(claims).view(own));
        (leases, places)
    };
    let free = vec![FREE; 16];
    let busy = vec![held(); 16];
    let one_free = [vec![held(); 15], vec![FREE]].concat();
    let hundred = || vec![alpha(1); 100];
    assert_eq!(
        read(&free, vec![alpha(1)], 0),
        (1, 0),
        "the first one will do"
    );
    assert_eq!(read(&free, vec![alpha(3)], 0), (3, 0));
    assert_eq!(
        read(&busy, hundred(), 99),
        (16, 0),
        "nobody's ticket matters"
    );
    assert_eq!(
        read(&one_free, hundred(), 99),
        (16, 1),
        "the first takes what is free"
    );
    assert_eq!(
        read(&one_free, hundred(), 0),
        (16, 0),
        "there is nothing to choose"
    );
    assert_eq!(read(&[FREE], hundred(), 50), (1, 1));
    let (leases, places) = read(&free, hundred(), 50);
    assert!(leases == 16 && places <= 32, "{places} tickets were read");
}
