//! Which instances a claim gets, from a pool on disk.

use cargo_target_test::provision::pool::TryLease;

use super::fake::{World, ensure, lease, request};

#[test]
fn a_lease_of_a_certain_instance() {
    let world = World::new();
    let run = world.run("1", "/one");
    let wanted = world.wanted("alpha", 1, 22);
    ensure(&run, &world.wanted("alpha", 0, 22));
    ensure(&run, &wanted);
    let mut request = request(&wanted, 1, "shell");
    request.wants[0].instance = Some("alpha-1".to_owned());
    let TryLease::Leased(lease) = run.try_lease(&request, &mut None).unwrap() else {
        panic!("not leased")
    };
    assert_eq!(lease.instances[0].record.name(), "alpha-1");
    assert_eq!(lease.instances[0].idle, None);
    drop(lease);
    let TryLease::Leased(lease) = run.try_lease(&request, &mut None).unwrap() else {
        panic!("not leased")
    };
    assert!(lease.instances[0].idle.is_some());
}

/// Of instances that are not alike one is leased that is what the test needs, and who waits for it holds up nobody else.
#[test]
fn what_a_test_needs_decides_which_instance_it_gets() {
    let world = World::new();
    let run = world.run("1", "/one");
    let wanted = world.wanted("alpha", 0, 22);
    ensure(&run, &wanted);
    ensure(&run, &world.wanted("alpha", 1, 22));
    let needs = |cores: &str| {
        let mut request = request(&wanted, 1, "c");
        request.wants[0].needs = [("cores".to_owned(), cores.to_owned())].into();
        request
    };
    let mut ticket = None;
    let TryLease::Leased(large) = run.try_lease(&needs(">= 2"), &mut ticket).unwrap() else {
        panic!("not leased")
    };
    assert_eq!(large.instances[0].record.name(), "alpha-1");
    let waits = run.try_lease(&needs(">= 2"), &mut ticket).unwrap();
    assert!(matches!(waits, TryLease::Wait { .. }));
    let small = lease(&run, &wanted, 1, "any");
    assert_eq!(small.instances[0].record.name(), "alpha-0");
    drop(large);
    let TryLease::Leased(_) = run.try_lease(&needs(">= 2"), &mut ticket).unwrap() else {
        panic!("not leased")
    };
    let none = run.try_lease(&needs(">= 9"), &mut None).unwrap();
    assert!(matches!(none, TryLease::NoneReady));
}

/// Whoever waits first is asked first; here both orders come to the same.
#[test]
fn a_waiter_leaves_the_only_instance_that_another_can_use() {
    for small_first in [false, true] {
        let world = World::new();
        let run = world.run("1", "/one");
        let wanted = world.wanted("alpha", 0, 22);
        ensure(&run, &wanted);
        ensure(&run, &world.wanted("alpha", 1, 22));
        let any = request(&wanted, 1, "any");
        let mut small = request(&wanted, 1, "small");
        small.wants[0].needs = [("cores".to_owned(), "1".to_owned())].into();
        let mut waiting = [(any, "alpha-1", None), (small, "alpha-0", None)];
        if small_first {
            waiting.reverse();
        }
        let both = lease(&run, &wanted, 2, "both");
        for (request, _, ticket) in &mut waiting {
            let answer = run.try_lease(request, ticket).unwrap();
            assert!(matches!(answer, TryLease::Wait { .. }));
        }
        drop(both);
        let leases = waiting.map(|(request, name, mut ticket)| {
            match run.try_lease(&request, &mut ticket).unwrap() {
                TryLease::Leased(lease) => {
                    assert_eq!(lease.instances[0].record.name(), name);
                    lease
                }
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(leases.len(), 2);
    }
}

#[test]
fn instances_of_two_targets_are_leased_all_or_none() {
    let world = World::new();
    let run = world.run("1", "/one");
    let (alpha, beta) = (world.wanted("alpha", 0, 22), world.wanted("beta", 0, 22));
    let mut both = request(&alpha, 1, "both");
    both.wants.extend(request(&beta, 1, "both").wants);
    ensure(&run, &alpha);
    let none = run.try_lease(&both, &mut None).unwrap();
    assert!(matches!(none, TryLease::NoneReady), "one is not there");
    ensure(&run, &beta);
    let held = lease(&run, &beta, 1, "held");
    let mut ticket = None;
    let TryLease::Wait { reason, .. } = run.try_lease(&both, &mut ticket).unwrap() else {
        panic!("leased")
    };
    assert_eq!((reason.total, reason.busy.len()), (2, 1));
    assert_eq!(reason.busy[0].case, "held");
    let other = run.try_lease(&request(&alpha, 1, "other"), &mut None);
    assert!(
        matches!(other, Ok(TryLease::Wait { .. })),
        "alpha is kept for who waits for both"
    );
    drop(held);
    let TryLease::Leased(leased) = run.try_lease(&both, &mut ticket).unwrap() else {
        panic!("not leased")
    };
    let names = leased.instances.iter().map(|one| one.record.name());
    assert_eq!(names.collect::<Vec<_>>(), ["alpha-0", "beta-0"]);
    drop(leased);
    lease(&run, &alpha, 1, "alpha").release();
    lease(&run, &beta, 1, "beta").release();
}
