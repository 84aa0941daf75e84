//! Steps between the creation of a machine and its first test: room on the host, and preparation.

use std::{num::NonZeroUsize, thread};

use cargo_target_test::{playbook::OnDirty, provision::pool::RecordState};

use super::fake::{Asks, World, ensure, lease};
use crate::support::eventually;

#[test]
fn what_was_found_out_is_kept_with_the_record() {
    let world = World::new();
    let run = world.run("1", "/one");
    let record = ensure(&run, &world.wanted("alpha", 0, 22)).record;
    assert_eq!(record.facts["cores"], "1");
    assert_eq!(world.pool().state().unwrap().records[&record.id], record);
}

#[test]
fn a_machine_whose_preparation_failed_is_dirty_and_never_prepared_again() {
    let world = World::new();
    let run = world.run("1", "/one");
    let wanted = world.wanted("alpha", 0, 22);
    let asks = Asks {
        fails: Some("step 1 failed"),
        ..Asks::default()
    };
    let error = run.ensure(&wanted, &asks).unwrap_err();
    assert_eq!(error.chain(), "step 1 failed");
    let first = world.machines();
    let state = world.pool().state().unwrap();
    let states: Vec<_> = state.records.values().map(|record| &record.state).collect();
    let cause = "step 1 failed".to_owned();
    assert_eq!(states, [&RecordState::Dirty { cause }]);

    let again = ensure(&run, &wanted);
    assert_eq!(again.recycled.as_deref(), Some("step 1 failed"));
    assert_ne!(world.machines(), first);
    run.finish(false).unwrap();
    world.assert_empty();
}

#[test]
fn a_host_is_told_why_there_was_one_before() {
    let world = World::new();
    let run = world.run("1", "/one");
    let wanted = world.found("alpha", 0, "one:22");
    let record = ensure(&run, &wanted).record;
    run.mark_dirty(&record.id, "a test wants it fresh").unwrap();
    let asks = Asks::default();
    run.ensure(&wanted, &asks).unwrap();
    let causes = asks.prepared.into_inner().unwrap();
    assert_eq!(causes, [Some("a test wants it fresh".to_owned())]);
}

#[test]
fn a_host_on_hold_stays_until_somebody_frees_it() {
    let world = World::new();
    let mut wanted = world.found("alpha", 0, "one:22");
    wanted.lifecycle.on_dirty = Some(OnDirty::Hold);
    let run = world.run("1", "/one");
    let record = ensure(&run, &wanted).record;
    run.mark_dirty(&record.id, "it smokes").unwrap();
    let report = run.finish_and_reconcile(false).unwrap();
    assert_eq!(report.dirty[0].note, "it smokes");
    assert!(report.released.is_empty(), "{report:?}");
    drop(run);

    let error = world
        .run("2", "/one")
        .ensure(&wanted, &Asks::default())
        .unwrap_err();
    assert_eq!(
        error.chain(),
        "`alpha-0` is on hold because it is dirty: it smokes"
    );
    assert_eq!(world.delete_all().released, ["alpha-0"]);
    assert!(ensure(&world.run("3", "/one"), &wanted).fresh);
}

#[test]
fn the_host_of_a_dead_holder_is_dirty_where_something_can_be_done_about_it() {
    let world = World::new();
    let run = world.run("1", "/one");
    let mut wanted = world.found("alpha", 0, "one:22");
    wanted.lifecycle.on_dirty = Some(OnDirty::Reboot);
    ensure(&run, &wanted);
    // Dropped without a word, as by a death.
    let mut held = lease(&run, &wanted, 1, "case");
    held.set_swept(false);
    drop(held);
    let again = ensure(&run, &wanted);
    assert!(again.recycled.unwrap().starts_with("its holder died"));
}

#[test]
fn more_than_the_host_has_is_refused_and_what_is_left_is_waited_for() {
    let world = World::new();
    let run = world.run("1", "/one");
    let mut wanted = world.wanted("alpha", 0, 22);
    wanted.parameters = serde_json::json!({ "memory": u64::MAX });
    let error = run.ensure(&wanted, &Asks::default()).unwrap_err();
    assert!(
        error
            .chain()
            .starts_with("`alpha-0` needs 17592186044415 MiB"),
        "{error}"
    );
    world.assert_empty();

    // One deploy at a time, over all runs: the second says so, and comes after the first.
    let (one, two) = (world.run("2", "/one"), world.run("3", "/two"));
    let [first, second] = [("alpha", 23), ("beta", 24)].map(|(target, port)| {
        let mut wanted = world.wanted(target, 0, port);
        wanted.pool.max_parallel_deploys = NonZeroUsize::MIN;
        wanted.parameters = serde_json::json!({ "pause": 300 });
        wanted
    });
    let asks = Asks::default();
    thread::scope(|scope| {
        scope.spawn(|| ensure(&one, &first));
        eventually("deploys", || !world.machines().is_empty());
        two.ensure(&second, &asks).unwrap();
    });
    let said = asks.said.into_inner().unwrap();
    assert_eq!(said, ["waiting for 1 other deploys, at most 1 run at once"]);
}
