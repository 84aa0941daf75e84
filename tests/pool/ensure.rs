//! Getting instances: shared, waited for, recycled, and what a damaged pool still knows.

use std::{fs, sync::Barrier, thread};

use cargo_target_test::provision::pool::Pool;

use super::{
    child::start,
    fake::{Asks, World, ensure, lease},
};
use crate::support::eventually;

#[test]
fn two_clones_share_what_is_defined_equally() {
    let world = World::new();
    let (one, two) = (world.run("1", "/one"), world.run("2", "/two"));
    let wanted = world.wanted("alpha", 0, 22);
    let first = ensure(&one, &wanted);
    let second = ensure(&two, &wanted);
    assert!(first.fresh && !second.fresh);
    assert_eq!(first.record.id, second.record.id);
    assert!(first.record.spec.scratch.join("key").exists());
    assert_eq!(world.machines(), [first.record.id]);
}

#[test]
fn a_changed_definition_recycles_and_names_the_key() {
    let world = World::new();
    let run = world.run("1", "/one");
    let old = ensure(&run, &world.wanted("alpha", 0, 22));
    run.finish(true).unwrap();
    let new = ensure(&run, &world.wanted("alpha", 0, 23));
    assert_eq!(new.recycled.as_deref(), Some("key `port` changed"));
    assert_ne!(new.record.id, old.record.id);
    assert_eq!(world.machines(), [new.record.id]);
}

#[test]
fn what_others_had_made_differently_stays_beside() {
    let world = World::new();
    let (one, two) = (world.run("1", "/one"), world.run("2", "/two"));
    ensure(&one, &world.wanted("alpha", 0, 22));
    assert_eq!(ensure(&two, &world.wanted("alpha", 0, 23)).recycled, None);
    // The same workspace, but a living run uses what is there.
    let three = world.run("3", "/one");
    assert_eq!(ensure(&three, &world.wanted("alpha", 0, 24)).recycled, None);
    assert_eq!(world.machines().len(), 3);
}

#[test]
fn many_who_want_one_get_the_same() {
    let world = World::new();
    let barrier = Barrier::new(8);
    let run = world.run("shared", "/one");
    let fresh = thread::scope(|scope| {
        let threads = (0..8).map(|number| {
            let (world, barrier, run) = (&world, &barrier, &run);
            scope.spawn(move || {
                let own = (number % 2 == 0).then(|| world.run(&number.to_string(), "/two"));
                barrier.wait();
                let mut wanted = world.wanted("alpha", 0, 22);
                wanted.parameters = serde_json::json!({ "pause": 20 });
                let fresh = ensure(own.as_ref().unwrap_or(run), &wanted).fresh;
                barrier.wait();
                fresh
            })
        });
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .filter(|fresh| *fresh)
            .count()
    });
    assert_eq!((fresh, world.machines().len()), (1, 1));
}

#[test]
fn a_failed_deploy_leaves_nothing() {
    let world = World::new();
    let run = world.run("1", "/one");
    world.switch("deploys-fail", true);
    let error = run
        .ensure(&world.wanted("alpha", 0, 22), &Asks::default())
        .unwrap_err();
    assert_eq!(error.chain(), "no machines left");
    world.assert_empty();
}

#[test]
fn an_older_one_that_cannot_be_deleted_is_in_the_way() {
    let world = World::new();
    let run = world.run("1", "/one");
    let wanted = world.wanted("alpha", 0, 22);
    let record = ensure(&run, &wanted).record;
    run.mark_dirty(&record.id, "broken").unwrap();
    world.switch("deletes-fail", true);
    let ask = || run.ensure(&wanted, &Asks::default());
    let error = ask().unwrap_err();
    assert_eq!(
        error.chain(),
        "cannot delete the older `alpha-0`: no answer"
    );
    world.switch("deletes-fail", false);
    assert!(ask().unwrap().fresh);
}

#[test]
fn a_dead_deployer_is_waited_for_only_while_it_lives() {
    let world = World::new();
    let mut child = start(&world, "deploy 60000", None);
    eventually("deploys", || !world.machines().is_empty());
    let run = world.run("1", "/child");
    let mut wanted = world.wanted("alpha", 0, 22);
    wanted.parameters = serde_json::json!({ "pause": 0 });
    let asks = Asks::default();
    let ensured = thread::scope(|scope| {
        let ensured = scope.spawn(|| run.ensure(&wanted, &asks));
        eventually("waits", || !asks.said.lock().unwrap().is_empty());
        child.kill();
        ensured.join().unwrap().unwrap()
    });
    assert_eq!(
        asks.said.into_inner().unwrap(),
        [format!("pid {} is deploying `alpha-0`", child.id())]
    );
    assert_eq!(
        ensured.recycled.as_deref(),
        Some("its deploy was interrupted")
    );
    assert_eq!(world.machines(), [ensured.record.id]);
}

#[test]
fn a_wait_can_be_cancelled() {
    let world = World::new();
    let run = world.run("1", "/one");
    let wanted = world.wanted("alpha", 0, 22);
    let record = ensure(&run, &wanted).record;
    let _lease = lease(&run, &wanted, 1, "case");
    run.mark_dirty(&record.id, "broken").unwrap();
    let asks = Asks {
        impatient: true,
        ..Asks::default()
    };
    let error = run.ensure(&wanted, &asks).unwrap_err();
    assert_eq!(error.chain(), "cancelled");
    let pid = std::process::id();
    assert_eq!(
        asks.said.into_inner().unwrap(),
        [format!(
            "`alpha-0` is dirty (broken) and leased (pid {pid} case, for 0 s)"
        )]
    );
}

#[test]
fn an_alias_that_means_another_host_is_deployed_again() {
    let world = World::new();
    let run = world.run("1", "/one");
    ensure(&run, &world.found("alpha", 0, "one:22"));
    let moved = ensure(&run, &world.found("alpha", 0, "two:22"));
    assert_eq!(
        moved.recycled.as_deref(),
        Some("its name now refers to another host")
    );
}

#[test]
fn a_damaged_pool_still_deletes_its_machines() {
    let world = World::new();
    ensure(&world.run("1", "/one"), &world.wanted("alpha", 0, 22));
    let file = world.folder.join("pool/pool.json");
    fs::write(&file, "{\"version\":").unwrap();
    let error = Pool::open(&world.folder.join("pool")).err().unwrap();
    assert_eq!(error.kind().exit_code(), 73);
    assert_eq!(world.machines().len(), 1, "never a silent fresh start");
    fs::remove_file(&file).unwrap();
    assert_eq!(world.delete_all().deleted, ["alpha-0"]);
    world.assert_empty();
}

#[test]
fn a_folder_that_cannot_be_written_is_said() {
    let world = World::new();
    for folder in ["/proc/pool", "/dev/null/pool"] {
        let error = Pool::open(folder.as_ref()).err().unwrap();
        assert_eq!(error.kind().exit_code(), 73);
        assert!(error.chain().contains(folder), "{}", error.chain());
    }
    fs::write(world.folder.join("pool"), "").unwrap();
    assert!(Pool::open(&world.folder.join("pool")).is_err());
}
