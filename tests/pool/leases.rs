//! Leases across processes: exclusive, fair, and free when their holder dies.

use std::{fs, time::Instant};

use cargo_target_test::{
    commands::targets,
    provision::pool::{PoolLease, TryLease},
};
use rustix::process::Signal;

use super::{
    child::{ChildProcess, start},
    fake::{World, ensure, lease, request},
};
use crate::support::{PATIENCE, eventually};

#[test]
fn waiting_says_for_whom() {
    let world = World::new();
    let run = world.run("1", "/one");
    let wanted = world.wanted("alpha", 0, 22);
    ensure(&run, &wanted);
    ensure(&run, &world.wanted("alpha", 1, 22));
    assert!(matches!(
        run.try_lease(&request(&wanted, 3, "c"), &mut None).unwrap(),
        TryLease::NoneReady
    ));
    let both = lease(&run, &wanted, 2, "smoke[alpha]");
    let text = |ticket: &mut _| match run.try_lease(&request(&wanted, 2, "c"), ticket).unwrap() {
        TryLease::Wait { reason, .. } => reason.describe(),
        other => panic!("{other:?}"),
    };
    let pid = std::process::id();
    let (mut first, mut second) = (None, None);
    assert_eq!(
        text(&mut first),
        format!("2 of 2 leased (pid {pid} smoke[alpha], for 0 s)")
    );
    assert_eq!(
        text(&mut second),
        format!("2 of 2 leased (pid {pid} smoke[alpha], for 0 s), 1 before us")
    );
    drop(both);
    assert_eq!(text(&mut second), "0 of 2 leased, 1 before us");
    let answer = run
        .try_lease(&request(&wanted, 2, "c"), &mut first)
        .unwrap();
    assert!(matches!(answer, TryLease::Leased(_)) && first.is_none());
}

#[test]
fn targets_are_listed_with_their_holders() {
    let world = World::new();
    let run = world.run("1", "/one");
    let wanted = world.wanted("alpha", 0, 22);
    ensure(&run, &world.wanted("beta", 0, 22));
    let dirty = ensure(&run, &world.wanted("alpha", 1, 22)).record;
    run.mark_dirty(&dirty.id, "broken").unwrap();
    ensure(&run, &wanted);
    let _lease = lease(&run, &wanted, 1, "smoke[alpha]");
    let rows = targets::rows(&world.pool()).unwrap();
    let text: Vec<_> = rows
        .iter()
        .map(|row| format!("{} {}", row.name, row.state))
        .collect();
    assert_eq!(text, ["alpha-0 leased", "alpha-1 dirty", "beta-0 ready"]);
    let json = serde_json::to_value(&rows).unwrap();
    assert_eq!(json[0]["holder"]["case"], "smoke[alpha]");
    assert_eq!(json[0]["users"][0], "1");
    assert_eq!(json[1]["cause"], "broken");
    assert_eq!(json[2]["workspace"], "/one");
}

/// Neither who looks whether it is free has used an instance, nor who gives it back unused.
#[test]
fn what_nobody_has_used_stays_unused() {
    let world = World::new();
    let run = world.run("1", "/one");
    let wanted = world.wanted("alpha", 0, 22);
    ensure(&run, &wanted);
    ensure(&run, &world.wanted("alpha", 1, 22));
    let lease = |count| match run.try_lease(&request(&wanted, count, "c"), &mut None) {
        Ok(TryLease::Leased(lease)) => Some(lease),
        _ => None,
    };
    let first = lease(1).expect("a lease");
    assert!(lease(2).is_none(), "one is free");
    drop(first);
    let mut both = lease(2).expect("a lease");
    let used = |lease: &PoolLease| {
        lease
            .instances
            .iter()
            .map(|one| one.idle.is_some())
            .collect::<Vec<_>>()
    };
    assert_eq!(used(&both), [true, false]);
    both.set_unused(both.instances[1].record.id.clone());
    drop(both);
    assert_eq!(used(&lease(2).expect("a lease")), [true, false]);
    assert_eq!(used(&lease(2).expect("a lease")), [true, true]);
}

#[test]
fn a_killed_holder_frees_and_its_machine_is_recycled() {
    let world = World::new();
    let mut child = start(&world, "hold alpha made", None);
    eventually("held", || world.folder.join("held").exists());
    let run = world.run("1", "/one");
    let wanted = world.wanted("alpha", 0, 22);
    ensure(&run, &wanted);
    let mut ticket = None;
    let mut ask = || {
        run.try_lease(&request(&wanted, 1, "c"), &mut ticket)
            .unwrap()
    };
    assert!(matches!(ask(), TryLease::Wait { .. }));
    child.signal(Signal::STOP);
    let stopped = format!("pid {} held[x] (stopped)", child.id());
    eventually(
        "stopped",
        || matches!(ask(), TryLease::Wait { reason, .. } if reason.describe().contains(&stopped)),
    );
    child.kill();
    assert!(matches!(ask(), TryLease::NoneReady));
    let recycled = ensure(&run, &wanted).recycled.unwrap();
    assert!(recycled.starts_with("its holder died (pid"), "{recycled}");
    assert!(matches!(ask(), TryLease::Leased(_)));
}

#[test]
fn two_aliases_of_a_host_exclude_each_other_and_the_dead_are_told() {
    let world = World::new();
    let mut child = start(&world, "hold alias found", None);
    eventually("held", || world.folder.join("held").exists());
    let run = world.run("1", "/one");
    let wanted = world.found("alpha", 0, "host:22");
    ensure(&run, &wanted);
    let ask = || run.try_lease(&request(&wanted, 1, "c"), &mut None).unwrap();
    let wait = format!("1 of 1 leased (pid {} held[x]", child.id());
    assert!(matches!(ask(), TryLease::Wait { reason, .. } if reason.describe().starts_with(&wait)));
    assert!(
        run.finish(true).unwrap().held.is_empty(),
        "the alias has it, not we"
    );
    ensure(&run, &wanted);
    child.kill();
    let TryLease::Leased(lease) = ask() else {
        panic!("not free")
    };
    let died = lease.instances[0].died.as_ref().unwrap();
    assert_eq!(
        (died.process.pid, &*died.lease),
        (child.id(), "lease-held[x]")
    );
    drop(lease);
    let TryLease::Leased(mut lease) = ask() else {
        panic!("not free")
    };
    let died = lease.instances[0].died.as_ref().unwrap();
    assert_eq!(
        died.lease, "lease-c",
        "who had it last said nothing of a sweep"
    );
    assert_eq!(died.unswept, ["lease-held[x]"]);
    lease.set_swept(true);
    drop(lease);
    let TryLease::Leased(lease) = ask() else {
        panic!("not free")
    };
    assert!(lease.instances[0].died.is_none(), "told once");
}

#[test]
fn dead_and_stopped_waiters_hold_nobody_up() {
    let world = World::new();
    let run = world.run("1", "/child");
    let wanted = world.wanted("alpha", 0, 22);
    ensure(&run, &wanted);
    let held = lease(&run, &wanted, 1, "first");
    let mut child = start(&world, "wait alpha", None);
    eventually("waits", || world.folder.join("waiting").exists());
    drop(held);
    let ask = || run.try_lease(&request(&wanted, 1, "c"), &mut None).unwrap();
    assert!(
        matches!(ask(), TryLease::Wait { reason, .. } if reason.describe() == "0 of 1 leased, 1 before us")
    );
    child.signal(Signal::STOP);
    eventually("passed by", || matches!(ask(), TryLease::Leased(_)));
    child.signal(Signal::CONT);
    eventually("respected", || matches!(ask(), TryLease::Wait { .. }));
    child.kill();
    assert!(matches!(ask(), TryLease::Leased(_)));
}

/// The number of granted leases, by their count of instances.
fn log(world: &World) -> [usize; 5] {
    let mut counts = [0; 5];
    for line in fs::read_to_string(world.folder.join("log"))
        .unwrap_or_default()
        .lines()
    {
        counts[line.parse::<usize>().unwrap()] += 1;
    }
    counts
}

#[test]
fn five_hundred_leases_of_two_processes() {
    let world = World::new();
    // One host under two names, from two runs, each with as many at once as a broker has cases.
    let modes = ["leases alpha 1 50 5", "leases alias 1 50 5"];
    let mut children = modes.map(|mode| start(&world, mode, None));
    for child in &mut children {
        assert!(child.wait().success());
    }
    assert_eq!(log(&world)[1], 500);
    world.clean("after 500 leases");
}

/// Starts processes, kills and replaces them now and then, until all have done what they should.
fn run_and_kill_at_random(world: &World, modes: &[&str]) {
    let starts = modes.iter().map(|mode| start(world, mode, None));
    let mut children: Vec<ChildProcess> = starts.collect();
    let mut random = u64::from(std::process::id());
    let mut deaths = 0;
    eventually("done", || {
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        // The first few deaths are certain, however soon the work is done.
        let range = if deaths < 4 { children.len() } else { 40 };
        let victim = (random >> 33) as usize % range;
        if victim < children.len() && deaths < 25 && children[victim].ended().is_none() {
            children[victim].kill();
            children[victim] = start(world, modes[victim], None);
            deaths += 1;
        }
        let ended = children.iter_mut().filter_map(ChildProcess::ended);
        let well = ended.inspect(|status| assert!(status.success(), "{status}"));
        well.count() == modes.len()
    });
    assert!(deaths > 3, "{deaths} deaths");
}

#[test]
fn machines_come_and_go_with_runs_that_die() {
    let world = World::new();
    let modes = ["churn 15"; 3];
    run_and_kill_at_random(&world, &modes);
    world.clean("after deaths");
}

#[test]
fn all_or_none_without_starving_anybody_while_processes_die() {
    let world = World::new();
    let modes = [
        "leases alpha 1 60 1",
        "leases alias 2,1 60 1",
        "leases alpha 3 60 1",
        "leases alias 4,1 60 1",
    ];
    run_and_kill_at_random(&world, &modes);
    let log = log(&world);
    assert!(
        log[1] >= 60 && log[2] >= 30 && log[3] >= 60 && log[4] >= 30,
        "{log:?}"
    );
    world.clean("after deaths");
}

/// Two targets, which are four hosts under two names each; from one to four of them at once.
#[test]
fn a_hundred_processes_of_which_some_die() {
    let world = World::new();
    let modes: Vec<_> = (0..100)
        .map(|number| {
            let target = ["alpha", "alias"][number % 2];
            format!("leases {target} {} 2 1", 1 + number % 4)
        })
        .collect();
    let mut children: Vec<_> = modes.iter().map(|mode| start(&world, mode, None)).collect();
    let mut random = u64::from(std::process::id());
    println!("seed {random}");
    let mut killed = Vec::new();
    let (started, mut next) = (Instant::now(), 5);
    loop {
        let done = children.iter_mut().filter_map(ChildProcess::ended).count();
        if done == children.len() {
            break;
        }
        // One after so many have ended, whatever it does at the moment.
        if done >= next && killed.len() < 15 {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let victim = (random >> 33) as usize % children.len();
            if children[victim].ended().is_none() {
                children[victim].kill();
                killed.push(victim);
                next = done + 3;
            }
        }
        assert!(started.elapsed() < PATIENCE, "{done} of 100 have ended");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    for (number, child) in children.iter_mut().enumerate() {
        let well = child.wait().success();
        assert!(
            well || killed.contains(&number),
            "`{}` failed",
            modes[number]
        );
    }
    assert!(killed.len() > 5, "{} were killed", killed.len());
    let log = log(&world);
    for count in 1..=4 {
        let dead = killed
            .iter()
            .filter(|number| **number % 4 + 1 == count)
            .count();
        assert!(
            log[count] >= 2 * (25 - dead),
            "{count}: {log:?}, {killed:?}"
        );
    }
    let run = world.run("after", "/one");
    let all: Vec<_> = (0..4)
        .map(|index| world.found("alpha", index, &format!("host-{index}")))
        .collect();
    all.iter().for_each(|wanted| drop(ensure(&run, wanted)));
    lease(&run, &all[0], 4, "everything is free").release();
}
