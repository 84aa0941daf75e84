//! Death between any two durable steps: nothing that exists is unaccounted for, and everything can be cleaned.

use std::os::unix::process::ExitStatusExt;

use cargo_target_test::failpoint;

use super::{child::start, fake::World};

/// Lets a process live until it dies at the n-th meeting of each point, for every n that there is.
fn at_every_death(keep: &str, mut after: impl FnMut(&World, &str)) {
    let mut met = 0;
    let ours = |point: &&&str| {
        ["pool-", "record-", "platform-", "lease-"]
            .iter()
            .any(|room| point.starts_with(room))
    };
    for point in failpoint::POINTS.iter().filter(ours) {
        for time in 1.. {
            let world = World::new();
            let fault = format!("{point}#{time}");
            let status = start(&world, &format!("life {keep}"), Some(&fault)).wait();
            if status.signal() != Some(9) {
                assert!(status.success(), "{fault}: {status}");
                assert!(time > 1, "`{point}` is never met");
                break;
            }
            met += 1;
            after(&world, &fault);
        }
    }
    assert!(met > 40, "{met} deaths");
}

#[test]
fn deleting_cleans_up_after_every_death() {
    at_every_death("keep", |world, fault| {
        world.clean(fault);
    });
}

#[test]
fn the_next_run_cleans_up_after_every_death() {
    at_every_death("delete", |world, fault| {
        let known = world.pool().state().unwrap();
        for machine in world.machines() {
            assert!(
                known.records.contains_key(&machine),
                "{fault}: {machine} is unaccounted for"
            );
        }
        assert!(
            start(world, "life delete", None).wait().success(),
            "{fault}"
        );
        world.assert_empty();
    });
}
