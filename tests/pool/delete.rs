//! The end of instances: of a run, of what dead runs left, and on request.

use cargo_target_test::provision::{DeleteScope, delete_all, pool::RecordState};

use super::{
    child::start,
    fake::{World, ensure, lease},
};
use crate::support::eventually;

#[test]
fn the_last_run_decides() {
    let world = World::new();
    let (one, two) = (world.run("1", "/one"), world.run("2", "/two"));
    let wanted = world.wanted("alpha", 0, 22);
    ensure(&one, &wanted);
    ensure(&two, &wanted);
    let report = one.finish(false).unwrap();
    assert!(report.deleted.is_empty());
    assert!(report.held[0].note.ends_with("run 2"), "{report:?}");
    assert_eq!(two.finish(false).unwrap().deleted, ["alpha-0"]);
    world.assert_empty();
    assert_eq!(two.finish(false).unwrap(), Default::default());
}

#[test]
fn kept_ones_stay_unless_dirty_and_are_named_when_unused() {
    let world = World::new();
    let run = world.run("1", "/one");
    let dirty = ensure(&run, &world.wanted("alpha", 0, 22)).record;
    ensure(&run, &world.wanted("alpha", 1, 22));
    run.mark_dirty(&dirty.id, "broken").unwrap();
    let report = run.finish(true).unwrap();
    assert_eq!(
        (report.kept, report.deleted),
        (vec!["alpha-1".to_owned()], vec!["alpha-0".to_owned()])
    );
    drop(run);
    // The target was renamed: what is kept under its old name stays, and is named.
    let run = world.run("2", "/one");
    ensure(&run, &world.wanted("beta", 0, 22));
    assert_eq!(run.finish(false).unwrap().deleted, ["beta-0"]);
    assert_eq!(run.unused_kept().unwrap()[0].name(), "alpha-1");
    assert_eq!(run.reconcile().unwrap(), Default::default());
    ensure(&run, &world.wanted("alpha", 1, 22));
    assert!(run.unused_kept().unwrap().is_empty());
    assert_eq!(run.finish(false).unwrap().deleted, ["alpha-1"]);
    world.assert_empty();
}

#[test]
fn one_can_be_released_before_the_others() {
    let world = World::new();
    let run = world.run("1", "/one");
    let first = ensure(&run, &world.wanted("alpha", 0, 22)).record;
    ensure(&run, &world.wanted("alpha", 1, 22));
    assert_eq!(
        run.release(&first.id).unwrap().unwrap().deleted,
        ["alpha-0"]
    );
    assert_eq!(run.release(&first.id).unwrap(), Some(Default::default()));
    assert_eq!(run.finish(false).unwrap().deleted, ["alpha-1"]);
}

#[test]
fn what_a_dead_run_left_is_reconciled() {
    let world = World::new();
    let wanted = world.wanted("alpha", 0, 22);
    ensure(&world.run("dead", "/one"), &wanted);
    ensure(&world.run("dead", "/other"), &world.wanted("beta", 0, 22));
    let run = world.run("1", "/one");
    ensure(&run, &world.wanted("gamma", 0, 22));
    assert_eq!(run.reconcile().unwrap().deleted, ["alpha-0"]);
    assert_eq!(world.machines().len(), 2);
}

#[test]
fn a_failed_delete_is_kept_in_mind() {
    let world = World::new();
    let run = world.run("1", "/one");
    ensure(&run, &world.wanted("alpha", 0, 22));
    world.switch("deletes-fail", true);
    let report = run.finish(false).unwrap();
    assert_eq!(report.failed[0].note, "no answer");
    let state = world.pool().state().unwrap();
    let record = state.records.values().next().unwrap();
    let cause = Some("no answer".to_owned());
    assert_eq!(record.state, RecordState::Deleting { cause });
    world.switch("deletes-fail", false);
    assert_eq!(world.delete_all().deleted, ["alpha-0"]);
    world.assert_empty();
}

#[test]
fn deleting_on_request_spares_the_living_unless_forced() {
    let world = World::new();
    let run = world.run("1", "/one");
    let wanted = world.wanted("alpha", 0, 22);
    ensure(&run, &wanted);
    ensure(&world.run("2", "/two"), &world.wanted("beta", 0, 22));
    let all = |scope: &DeleteScope, force| {
        delete_all(&world.pool(), &world.platforms(), scope, force).unwrap()
    };
    let report = all(&DeleteScope::All, false);
    assert_eq!((report.deleted.len(), report.held.len()), (1, 1));
    assert_eq!(
        report.held[0].note,
        format!("pid {} run 1", std::process::id())
    );
    let leased = lease(&run, &wanted, 1, "smoke[alpha]");
    assert!(
        all(&DeleteScope::All, false).held[0]
            .note
            .contains("smoke[alpha]")
    );
    assert_eq!(
        all(&DeleteScope::Workspace("/two".into()), true),
        Default::default()
    );
    assert_eq!(
        all(&DeleteScope::Workspace("/one".into()), true).deleted,
        ["alpha-0"]
    );
    drop(leased);
    assert_eq!(all(&DeleteScope::All, false), Default::default());
    world.assert_empty();
}

#[test]
fn force_waits_for_a_deploy_to_notice() {
    let world = World::new();
    let mut child = start(&world, "deploy 300", None);
    eventually("deploys", || !world.machines().is_empty());
    let report = world.delete_all();
    assert_eq!(
        report.held[0].note,
        format!("pid {} run run-{}", child.id(), child.id())
    );
    let report = delete_all(&world.pool(), &world.platforms(), &DeleteScope::All, true).unwrap();
    assert_eq!(report.deleted, ["alpha-0"]);
    child.wait();
    world.assert_empty();
}

#[test]
fn an_unknown_platform_is_a_named_failure() {
    let world = World::new();
    ensure(&world.run("1", "/one"), &world.wanted("alpha", 0, 22));
    let before = world.pool().state().unwrap();
    let report = delete_all(
        &world.pool(),
        &world.other_platforms(),
        &DeleteScope::All,
        true,
    )
    .unwrap();
    let cause = &report.unknown[0].note;
    let tool = std::env::current_exe().unwrap();
    assert!(
        cause.contains("`made` is unknown") && cause.contains(tool.to_str().unwrap()),
        "{report:?}"
    );
    // Its own tool finds it as it was.
    assert_eq!(world.pool().state().unwrap(), before);
    assert_eq!(world.delete_all().deleted, ["alpha-0"]);
}
