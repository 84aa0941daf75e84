//! `gc --owner` on platforms that create the machines themselves.

use std::fs;

use super::Lab;
use crate::support::{Outcome, container::Engine, here, vm::Images};

/// A target of an owner that no other test has; other machines of this host stay.
struct Owned {
    lab: Lab,
    owner: String,
}

impl Owned {
    fn new(name: &str, target: &str) -> Self {
        let owner = format!("{name} of {}", std::process::id());
        let lab = Lab::new(&format!("[pool]\nowner = {owner:?}\n{target}"));
        Self { lab, owner }
    }

    /// Collects what has expired by a clock that is this many hours ahead.
    fn collect(&self, hours: u32) -> Outcome {
        let args = ["gc", "--owner", &self.owner, "--expired", "--yes"];
        self.lab.later(hours, &args).code(0)
    }
}

#[test]
fn a_container_of_a_lost_pool_is_collected_by_its_owner() {
    let Some(engine) = here(Engine::start()) else {
        return;
    };
    let owned = Owned::new("box", &engine.target("it"));
    owned.lab.run(&["quick", "--keep-targets"]).code(0);
    // Kept for days, as its record says.
    owned.collect(14).says("stays: it expires at 20");
    fs::remove_dir_all(owned.lab.path("pool")).unwrap();
    // Its labels are fixed.
    owned.collect(12).says("stays: it expires at 20");
    owned.collect(14).says("container `").says(": deleted");
    owned.collect(14).says("found nothing");
}

#[test]
fn a_kept_machine_is_collected_after_days_by_its_owner() {
    let Some(images) = here(Images::build()) else {
        return;
    };
    let owned = Owned::new("vm", &images.target("it"));
    let other = owned.lab.path("other").display().to_string();
    let kept = ["quick", "--keep-targets"];
    owned.lab.run(&kept).code(0);
    let beside = [&kept[..], &["--pool", &other]].concat();
    owned.lab.run(&beside).code(0);
    fs::remove_dir_all(&other).unwrap();
    owned.collect(12).never_says("deleted");
    let lost = owned.collect(14);
    assert_eq!(lost.lines_with(&["virtual machine `", ": deleted"]), 1);
    owned.collect(7 * 24).says("stays: it expires at 20");
    owned
        .lab
        .run(&["quick", "--keep-targets"])
        .code(0)
        .never_says("deployed");
    owned.collect(7 * 24 + 2).says(": deleted");
    owned.lab.run(&["targets"]).code(0).never_says("it-0 ");
}
