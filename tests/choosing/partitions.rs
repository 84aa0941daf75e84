//! `--partitions N`: several nextest runs side by side in one run of the tool.

use std::{collections::BTreeSet, path::Path};

use rustix::fs::inotify;

use super::{cases, on_machines, world};
use crate::{run::world::World, support::Outcome};

const EAST: &str = "[[targets]]\nname = \"east\"\nplatform = \"command\"\ncount = 2\n";

/// Several runs by one command: every case once, one report, the worst exit code.
#[test]
fn partitions_side_by_side_are_one_run() {
    let targets = "[[targets]]\nname = \"east\"\nplatform = \"command\"\ncount = 2\n";
    let world = on_machines(targets);
    let junit = world.path("all.xml");
    let junit = junit.to_str().expect("UTF-8");
    let run = world
        .run(&["timed::", "seed::", "--partitions", "2", "--junit", junit])
        .code(0);
    let whole = cases(&world, &["timed::", "seed::"]);
    let report = world.read("all.xml");
    for case in &whole {
        assert_eq!(
            run.lines_with(&["/2] ", "PASS", case]),
            1,
            "{case}: {run:?}"
        );
        assert_eq!(
            report.matches(&format!("name=\"{case}\"")).count(),
            1,
            "{case}: {report}"
        );
    }
    world.is_clean();

    let run = world
        .run(&["timed::", "--partitions", "2", "--order", "random"])
        .code(0);
    assert_eq!(run.lines_with(&["random order"]), 1, "{run:?}");
    world.is_clean();

    let some = [
        "mess::",
        "seed::smoke",
        "--run-ignored",
        "all",
        "--partitions",
        "3",
    ];
    world.run(&some).code(100);
    world
        .run(&["no_such_case", "--partitions", "2"])
        .code(4)
        .says("no tests to run");
    world
        .run(&["--partitions", "2", "--partition", "slice:1/2"])
        .code(2);
    world.run(&["--partitions", "0"]).code(2);
    world.is_clean();
}

/// The cases that passed in a part.
fn passed_in(run: &Outcome, part: &str) -> BTreeSet<String> {
    let lines = run.stderr.lines();
    let lines = lines.filter(|line| line.starts_with(part) && line.contains("PASS ["));
    let names = lines.filter_map(|line| line.split_whitespace().last());
    names.map(str::to_owned).collect()
}

#[test]
fn each_part_is_nextests_own_slice() {
    let world = on_machines(EAST);
    let run = world
        .run(&["timed::", "seed::", "--partitions", "2"])
        .code(0);
    for part in ["1/2", "2/2"] {
        let slice = ["timed::", "seed::", "--partition", &format!("slice:{part}")];
        let mut passed = passed_in(&run, &format!("[{part}] "));
        let deploys = passed.clone().into_iter();
        let deploys: Vec<_> = deploys.filter(|name| name.starts_with("deploy[")).collect();
        passed.retain(|name| !deploys.contains(name));
        assert_eq!(
            passed,
            cases(&world, &slice).into_iter().collect(),
            "{part}"
        );
        // Deploys are shown once.
        assert_eq!(deploys.len(), if part == "1/2" { 2 } else { 0 }, "{run:?}");
    }
    world.is_clean();
}

/// A program in `bin` that notes its arguments in `calls` and becomes the real program.
fn counted_program(world: &World, name: &str, real: &Path) {
    let calls = world.path("calls");
    let (calls, real) = (calls.display(), real.display());
    let script = format!("echo \"{name} $*\" >>'{calls}'\nexec '{real}' \"$@\"\n");
    world.program(&format!("bin/{name}"), &script);
}

/// Everything before nextest's runs is done once: one playbook, one plan, one selection.
#[test]
fn parts_share_one_plan() {
    let world = on_machines(EAST);
    let path = std::env::var("PATH").expect("PATH");
    let found = std::env::split_paths(&path).map(|folder| folder.join("cargo-nextest"));
    let nextest = found.into_iter().find(|path| path.is_file());
    let nextest =
        nextest.unwrap_or_else(|| crate::run::around::cargo_home().join("bin/cargo-nextest"));
    std::fs::create_dir(world.path("bin")).expect("a folder");
    counted_program(&world, "cargo", Path::new(env!("CARGO")));
    counted_program(&world, "cargo-nextest", &nextest);
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).expect("inotify");
    let playbook = world.path("target-test.toml");
    inotify::add_watch(&watch, &playbook, inotify::WatchFlags::OPEN).expect("a watch");
    let args = ["seed::", "--mode", "ci", "--partitions", "2"];
    let tool = world.tool(&args).env("CARGO", world.path("bin/cargo"));
    let bin = world.path("bin");
    tool.env("PATH", format!("{}:{path}", bin.display()))
        .run()
        .code(0);
    let mut events = [std::mem::MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut events);
    let opened = std::iter::from_fn(|| events.next().ok().map(drop)).count();
    assert_eq!(opened, 1, "the playbook is read once");
    let calls = world.read("calls");
    let count = |what: &str| calls.lines().filter(|line| line.contains(what)).count();
    // One more only checks its options.
    let checks = count("--cargo-metadata /dev/null");
    assert_eq!(count("cargo-nextest nextest run"), 2 + checks, "{calls}");
    assert!(checks <= 1, "{calls}");
    assert!(
        (1..=2).contains(&count("cargo-nextest nextest list")),
        "{calls}"
    );
    assert!((1..=2).contains(&count("cargo metadata")), "{calls}");
    world.is_clean();
}

/// Fail-fast, from the command line or from nextest's configuration, stops all parts.
#[test]
fn the_first_part_that_fails_fast_stops_the_others() {
    for (config, option) in [
        ("", "--fail-fast"),
        ("", "--max-fail=1"),
        ("[profile.default]\nfail-fast = true\n", "--color=never"),
    ] {
        let world = world().nextest(config);
        let args = ["fast::", "--on", "east", "--partitions", "2"];
        // The case of the other part runs until it is ended.
        let run = world.run(&[&args[..], &["--run-ignored", "all", option]].concat());
        assert_eq!(run.code(100).lines_with(&["PASS", "fast::"]), 0);
        world.is_clean();
    }
}

/// A report that nextest's configuration asks for has the cases of all parts.
#[test]
fn the_users_own_report_has_all_parts() {
    let world = world();
    let report = world.path("users.xml");
    let path = report.display();
    let world = world.nextest(&format!("[profile.default.junit]\npath = '{path}'\n"));
    let args = ["seed::", "--on", "east"];
    world
        .run(&[&args[..], &["--partitions", "2"]].concat())
        .code(0);
    let report = world.read("users.xml");
    for case in cases(&world, &args) {
        assert_eq!(
            report.matches(&format!("name=\"{case}\"")).count(),
            1,
            "{report}"
        );
    }
    world.is_clean();
}
