//! One nextest run: deploy entries first, then cases, as many at once as there are instances; and what may
//! put a case before its deploy.

use super::world::{World, summary};

#[test]
fn instances_are_deployed_used_in_parallel_and_deleted() {
    let world = World::new();
    let run = world.run(&["good::", "-v"]).code(0);
    for entry in ["east-0", "east-1", "west-0", "west-1"] {
        let entry = format!("deploy[{entry}]");
        assert_eq!(
            run.lines_with(&["PASS", "@target-test", &entry]),
            1,
            "{run:?}"
        );
    }
    for test in ["late", "early", "meets_one", "meets_two", "pair"] {
        for target in ["east", "west"] {
            let case = format!("good::{test}[{target}]");
            assert_eq!(
                run.lines_with(&["PASS", "run-world::cases", &case]),
                1,
                "{run:?}"
            );
        }
    }
    assert_eq!(summary(&run), "14 tests run: 14 passed, 0 skipped");
    for call in [
        "nextest list --message-format json",
        "nextest list --message-format oneline",
        "nextest run",
    ] {
        assert_eq!(
            run.lines_with(&["target-test: running", call]),
            1,
            "{run:?}"
        );
    }
    world.is_clean();
}

/// One thread: deploys, then by priority. More than one instance is not even asked for at once.
#[test]
fn one_thread_goes_by_priority() {
    let world = World::new();
    let run = world.run(&["-j1", "early[east]", "late[east]", "pair[east]"]);
    assert_eq!(summary(&run.code(0)), "5 tests run: 5 passed, 0 skipped");
    assert_eq!(world.read("order"), "early\nlate\n");
}

/// A user's own group and priority put every case before the deploys.
#[test]
fn cases_before_their_deploys_do_not_deadlock() {
    let world = World::new().nextest(
        "[test-groups.mine]\nmax-threads = 1\n\n\
         [[profile.default.overrides]]\nfilter = 'test(/./)'\ntest-group = 'mine'\n\n\
         [[profile.default.overrides]]\nfilter = 'test(early)'\npriority = 100\n\n\
         [[profile.default.overrides]]\nfilter = 'test(/^deploy/)'\npriority = -100\n",
    );
    let run = world.run(&["early", "late", "pair[west]"]).code(0);
    let places = ["good::early[east]", "deploy[east-0]"]
        .map(|name| run.stderr.find(name).unwrap_or(usize::MAX));
    assert!(places[0] < places[1], "{run:?}");
    world.is_clean();
}

/// Every iteration shows its deploys again, which answer at once.
#[test]
fn stress_runs_repeat_all_of_it() {
    let world = World::new();
    let run = world.run(&["--stress-count", "2", "passes[east]"]).code(0);
    assert_eq!(run.lines_with(&["PASS", "passes[east]"]), 2, "{run:?}");
    assert_eq!(run.lines_with(&["PASS", "deploy[east-0]"]), 2, "{run:?}");
}

#[test]
fn no_run_builds_and_stops() {
    let world = World::new();
    world.run(&["--no-run"]).code(0).never_says("Starting");
    assert!(!world.path("pool").exists());
}

/// Our own lines are never on standard output, which programs read.
#[test]
fn machine_readable_results_are_only_that() {
    let world = World::new();
    let run = world
        .tool(&["-v", "--message-format", "libtest-json", "passes", "skips"])
        .env("NEXTEST_EXPERIMENTAL_LIBTEST_JSON", "1")
        .run()
        .code(0);
    let lines: Vec<serde_json::Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let ok = |line: &&serde_json::Value| line["type"] == "test" && line["event"] == "ok";
    let deploy = |line: &&serde_json::Value| {
        line["name"]
            .as_str()
            .is_some_and(|name| name.contains("$deploy["))
    };
    let (deploys, cases): (Vec<_>, Vec<_>) = lines.iter().filter(ok).partition(deploy);
    assert_eq!((deploys.len(), cases.len()), (4, 4), "{run:?}");
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let world = World::new();
    for (words, named) in [
        (&["--rerun", "latest"][..], "`--rerun` is not supported"),
        (&["--archive-file", "a.tar.zst"], "`--archive-file`"),
        (&["--workspace-remap", "."], "`--workspace-remap`"),
        (&["--binaries-metadata", "f"], "`--binaries-metadata`"),
        (&["--stres-count", "2"], "--stress-count"),
    ] {
        let run = world.run(words).code(2).says(named);
        assert!(run.stdout.is_empty(), "{run:?}");
    }
}

/// Errors that a platform finds without a machine are shown before the build.
#[test]
fn a_missing_program_is_told_before_the_build() {
    let world = World::on_machines("[[targets]]\nname = \"east\"\nplatform = \"command\"\n");
    std::fs::remove_file(world.path("up")).expect("a file");
    for verb in ["run", "list"] {
        let run = world.run(&[verb]).code(78).never_says("Finished");
        run.line_with(&["`deploy` of target `east`", "file not found"]);
    }
}

/// The reader of our output may leave early.
#[test]
fn a_closed_pipe_breaks_nothing() {
    let world = World::new();
    let tool = world.path("tool");
    let binary = env!("CARGO_BIN_EXE_cargo-target-test");
    world.program(
        "tool",
        &format!("{{ {binary} \"$@\"; echo $? >\"$SCRATCH/code\"; }} | head -n 1\n"),
    );
    let run = world.through(
        &tool,
        &["passes", "prints", "--message-format", "libtest-json"],
    );
    run.env("NEXTEST_EXPERIMENTAL_LIBTEST_JSON", "1")
        .run()
        .code(0);
    assert!(!world.read("code").is_empty());
    world.is_clean();
}
