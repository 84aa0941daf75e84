//! Tests that declare all that can be chosen by; what they leave is in `SCRATCH`.

use std::{
    env, fs,
    io::Write,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use target_fixtures::prelude::*;

fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env::var_os("SCRATCH").expect("SCRATCH")).join(name)
}

fn note(file: &str, line: &str) {
    let file = fs::File::options()
        .append(true)
        .create(true)
        .open(scratch(file));
    // In one write: others write too.
    file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
        .expect("a note");
}

fn read(file: &str) -> String {
    fs::read_to_string(scratch(file)).unwrap_or_default()
}

fn wait_for(what: impl Fn() -> bool) {
    let started = Instant::now();
    while !what() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "waited in vain"
        );
        thread::sleep(Duration::from_millis(2));
    }
}

/// The text that the script wrote when it created the machine; different for each machine.
fn machine(target: &Target) -> String {
    let machine = read(&format!("machines/{}", target.instance()));
    assert!(!machine.is_empty());
    machine.trim().to_owned()
}

/// The first example of the design this grew from.
mod seed {
    use super::*;

    #[target_test(priority = 0)]
    fn smoke() {}

    #[target_test(priority = 1, tags = ["slow"])]
    fn smoke_reboot() {}

    #[target_test(priority = 0, area = "xdp")]
    fn verify_xdp() {}

    #[target_test(priority = 2, area = "xdp", category = "Performance")]
    fn smoke_xdp() {}
}

mod needs {
    use super::*;

    #[target_test(memory = ">= 1 PiB")]
    fn huge() {
        panic!("no machine has that");
    }

    #[target_test(memory = ">= 2 PiB")]
    fn vast() {
        panic!("no machine has that");
    }

    #[target_test(cores = "> 8, < 2")]
    fn impossible() {
        panic!("no machine can be that");
    }

    #[target_test(requires("fpga.cells" = ">= 1000"))]
    fn fpga() {
        panic!("no target says so");
    }

    #[target_test(
        cores = ">= 1",
        memory = ">= 1 MiB",
        os = "~ .*",
        nics = ">= 0",
        disk = ">= 1 MiB"
    )]
    fn modest() {}
}

mod fresh {
    use super::*;

    #[target_test(reuse = false)]
    fn spends_1(target: &Target) {
        note("spent", &machine(target));
    }

    #[target_test(reuse = false)]
    fn spends_2(target: &Target) {
        note("spent", &machine(target));
    }

    #[target_test(reuse = false)]
    fn spends_3(target: &Target) {
        note("spent", &machine(target));
        // While a spare comes up.
        wait_for(|| read("ledger").matches("deploy").count() >= 2);
    }

    #[target_test(reuse = "snapshot")]
    fn restored_1(target: &Target) {
        note("spent", &machine(target));
    }

    #[target_test(reuse = "snapshot")]
    fn restored_2(target: &Target) {
        note("spent", &machine(target));
    }

    #[target_test(fresh = true)]
    fn starts_fresh_1(target: &Target) {
        note("started", &machine(target));
    }

    #[target_test(fresh = true)]
    fn starts_fresh_2(target: &Target) {
        note("started", &machine(target));
    }

    #[target_test]
    fn starts_anywhere(target: &Target) {
        note("started", &machine(target));
    }

    #[target_test(retries = 2, retry_on = "fresh")]
    fn third_machine_passes(target: &Target) {
        note("tried", &machine(target));
        assert!(read("tried").lines().count() >= 3);
    }

    fn pair(targets: &[Target]) {
        for target in targets {
            note("tried", &machine(target));
        }
        assert_eq!(env::var("NEXTEST_ATTEMPT").as_deref(), Ok("3"));
    }

    #[target_test(count = 2, reuse = false, retries = 2, retry_on = "fresh")]
    fn pair_spends(targets: &[Target]) {
        pair(targets);
    }

    #[target_test(count = 2, retries = 2, retry_on = "fresh")]
    fn pair_passes_on(targets: &[Target]) {
        pair(targets);
    }

    #[target_test(retries = 1)]
    fn second_attempt_passes(target: &Target) {
        note("tried", &machine(target));
        assert!(read("tried").lines().count() >= 2);
    }
}

mod any {
    use super::*;

    #[target_test(any = true)]
    fn anywhere(target: &Target) {
        note("any", target.name());
        if target.name() == "east" && scratch("uneven").exists() {
            thread::sleep(Duration::from_millis(300));
        }
    }
}

mod mess {
    use super::*;

    #[target_test]
    #[ignore = "it fails"]
    fn fails_and_leaves(target: &Target) -> Result<()> {
        target.run("echo by the test >left")?;
        panic!("on purpose");
    }
}

mod fast {
    use super::*;

    #[target_test]
    #[ignore = "it fails"]
    fn fails(_target: &Target) {
        wait_for(|| read("waits").contains("here"));
        panic!("on purpose");
    }

    #[target_test]
    #[ignore = "it runs until it is ended"]
    fn waits(_target: &Target) {
        note("waits", "here");
        wait_for(|| false);
    }
}

mod early {
    use super::*;

    #[target_test(targets = ["quick"])]
    fn ends_at_once() {}

    #[target_test(targets = ["patient"])]
    fn sees_the_other_go() {
        wait_for(|| read("ledger").contains("delete quick-0"));
    }
}

/// Not ours, and not to be run with the rest.
mod plain {
    use super::*;

    #[test]
    #[ignore = "it fails"]
    fn fails() {
        panic!("on purpose");
    }

    #[test]
    #[ignore = "it fails"]
    fn fails_again() {
        panic!("on purpose");
    }

    #[test]
    #[ignore = "it fails"]
    fn fails_first() {
        note("plain", "once");
        assert!(read("plain").lines().count() >= 2);
    }

    #[test]
    #[ignore = "it takes long"]
    fn hangs() {
        thread::sleep(Duration::from_secs(60));
    }
}

mod timed {
    use super::*;

    fn takes(name: &str, millis: u64) {
        note("started", name);
        thread::sleep(Duration::from_millis(millis));
    }

    #[target_test]
    fn a_short() {
        takes("a_short", 0);
    }

    #[target_test]
    fn b_middle() {
        takes("b_middle", 80);
    }

    #[target_test]
    fn c_long() {
        takes("c_long", 400);
    }
}

mod shards {
    use super::*;

    fn runs(target: &Target, me: &str) {
        note("ran", &format!("{me} {}", target.name()));
    }

    /// Both halves are under way at once; not all of one half waits, lest it has all instances.
    fn meets(target: &Target, me: &str) {
        runs(target, me);
        wait_for(|| ["one", "two"].iter().all(|half| read("ran").contains(half)));
    }

    #[target_test]
    fn a_one(target: &Target) {
        meets(target, "a_one");
    }

    #[target_test]
    fn b_two(target: &Target) {
        meets(target, "b_two");
    }

    /// The half that needs its instance no more lets it go to the other, which has come for it by then, or is gone.
    fn lets_go(target: &Target, me: &str, others: [&str; 2]) {
        runs(target, me);
        wait_for(|| {
            let runs = fs::read_dir(scratch("pool/runs"))
                .expect("the runs")
                .flatten();
            let claims = runs.map(|run| fs::read_to_string(run.path()).unwrap_or_default());
            let both = claims
                .filter(|claims| claims.matches("\"tt-").count() == 2)
                .count()
                == 2;
            both || others.iter().all(|case| read("ran").contains(case))
        });
    }

    #[target_test]
    fn c_one(target: &Target) {
        lets_go(target, "c_one", ["b_two", "d_two"]);
    }

    #[target_test]
    fn d_two(target: &Target) {
        lets_go(target, "d_two", ["a_one", "c_one"]);
    }
}
