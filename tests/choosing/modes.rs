//! Options under one name, scenarios, and what is counted.

use super::{cases, passed, world};
use crate::support::Terminal;

#[test]
fn a_mode_is_options_that_could_be_typed() {
    let world = world();
    let explained = |mode: &str| {
        let run = world.run(&["--mode", mode, "--explain"]).code(0);
        run.stdout.trim().to_owned()
    };
    assert_eq!(explained("dev"), "--verbose --keep-targets");
    assert!(explained("debug").contains("--no-capture"));
    assert!(explained("ci").contains("--junit="));
    assert!(explained("demo").contains("--summary=table"));
    let targets = world.read("target-test.toml");
    let modes = "[modes.mine]\noptions = [\"--on\", \"west\", \"seed::smoke\", \"--retries=1\"]\n\
                 [modes.dev]\noptions = [\"--no-fail-fast\"]\n";
    world.file("target-test.toml", &format!("{targets}{modes}"));
    assert_eq!(explained("mine"), "--on west seed::smoke --retries=1");
    assert_eq!(
        explained("dev"),
        "--no-fail-fast",
        "the playbook's goes before ours"
    );
    let mine = ["--mode", "mine"];
    assert_eq!(
        cases(&world, &mine),
        [
            "seed::smoke[west]",
            "seed::smoke_reboot[west]",
            "seed::smoke_xdp[west]"
        ]
    );
    assert_eq!(cases(&world, &["--mode", "mine", "--on", "east"]).len(), 3);
    world
        .run(&["--mode", "zebra"])
        .code(2)
        .says("known: `dev`, `mine`, `debug`, `ci`, `demo`");
    let wrong = world.run(&["--mode", "mien"]).code(2);
    wrong
        .says("the playbook has no mode `mien`")
        .says("did you mean `mine`?");
    world.file(
        "target-test.toml",
        &format!("{targets}[modes.bad]\noptions = [\"--retires\"]\n"),
    );
    for args in [&["check"][..], &["--mode", "bad"]] {
        world
            .run(args)
            .code(78)
            .says("mode `bad`: unexpected argument '--retires'");
    }
}

#[test]
fn ci_is_quiet_and_writes_everything_down_and_demo_says_the_sum() {
    let world = world();
    let junit = world.path("r.xml");
    let junit = junit.to_str().expect("UTF-8");
    let run = world
        .run(&["--mode", "ci", "--junit", junit, "seed::"])
        .code(0);
    run.says("12 passed").never_says("PASS [");
    assert!(world.read("r.xml").contains("seed::smoke[west]"));
    let run = world.run(&["--mode", "demo", "seed::"]).code(0);
    run.says("8 passed")
        .never_says("PASS [")
        .never_says("Compiling");
    let run = world.run(&["--mode", "dev", "seed::smoke[east]"]).code(0);
    run.says("cargo-nextest").says("        Kept east-0");
    world.run(&["--delete-targets"]).code(0);
}

/// Without a terminal, without colours, and with them.
#[test]
fn targets_are_told_before_a_run_and_counted_after_it() {
    let world = world();
    let smoke = ["--exact", "seed::smoke[east]", "seed::smoke[west]"];
    let args = |options: &[&str]| -> Vec<String> {
        let all = [options, &["--"], &smoke].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    let run = |options: &[&str]| {
        let args = args(options);
        world.run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let first = run(&["--keep-targets"]).code(0);
    first
        .says("      Target east  1 instance, new  local\n      Target west  1 instance, new  local\n")
        .says("      TARGET  PASSED  INSTANCES  SECONDS\n        east       1          1  ")
        .says("        Kept east-0  cd /")
        .says("       Shell cargo target-test shell east-0\n")
        .never_says("\x1b");
    run(&["--mode=ci", "--keep-targets"])
        .code(0)
        .says("        Kept west-0  cd /")
        .never_says("      Target ");
    let colours = run(&["--color=always"]).code(0);
    colours
        .says("\x1b[1;32m      Target\x1b[0m \x1b[1meast\x1b[0m  1 instance, kept  local\n")
        .says("        \x1b[1mwest\x1b[0m       \x1b[1;32m1\x1b[0m ");
    let demo = run(&["--mode=demo"]).code(0);
    let lines: Vec<_> = demo.stderr.lines().collect();
    assert_eq!(lines.len(), 4, "{demo:?}");
    assert!(lines[0].starts_with("      TARGET  PASSED"), "{demo:?}");
    assert!(
        lines[3].starts_with("target-test: 2 cases: 2 passed"),
        "{demo:?}"
    );
    // What nextest says of its own failure is shown.
    let wrong = world.run(&["--mode=demo", "--nextest-arg=--no-such-option", "seed::"]);
    wrong.says("--no-such-option");
    world.is_clean();
}

/// Who sits at the console opens the report; a CI keeps its folder.
#[test]
fn the_path_of_the_report_is_the_last_line_in_dev_and_debug() {
    let world = world();
    let runs = ["dev", "debug", "ci", "demo"].map(|mode| {
        let run = world.run(&["--mode", mode, "seed::smoke[east]"]).code(0);
        let last = run.stderr.lines().next_back().expect("a line").to_owned();
        (mode, run.lines_with(&["report.html"]), last)
    });
    for (mode, count, last) in runs {
        let is_told = ["dev", "debug"].contains(&mode);
        assert_eq!(count, usize::from(is_told), "{mode}");
        let path = last.strip_prefix("      Report ").map(std::path::Path::new);
        assert_eq!(
            path.is_some_and(std::path::Path::is_file),
            is_told,
            "{mode}: {last}"
        );
    }
    world.run(&["--delete-targets"]).code(0);
}

#[test]
fn a_terminal_has_colours_unless_they_are_unwanted() {
    if !Terminal::is_here() {
        return;
    }
    let world = world();
    let line = ["--", "--exact", "seed::smoke[east]", "seed::smoke[west]"];
    for (unwanted, is_coloured) in [("", true), ("1", false)] {
        let terminal = Terminal::open(world.tool(&line).env("NO_COLOR", unwanted));
        assert_eq!(terminal.code(), 0);
        let screen = terminal.coloured_screen();
        let green = "\x1b[1m\x1b[32m      Target";
        assert_eq!(screen.contains(green), is_coloured, "{screen}");
        let plain = terminal.screen();
        assert!(
            plain.contains("      Target east  1 instance, new  local\n"),
            "{plain}"
        );
        assert!(plain.contains("PASSED  INSTANCES  SECONDS\n"), "{plain}");
    }
}

/// The table leaves columns out, and the sum breaks after a comma.
#[test]
fn a_narrow_terminal_breaks_no_word() {
    if !Terminal::is_here() {
        return;
    }
    let line = ["--", "--exact", "seed::smoke[east]", "seed::smoke[west]"];
    let world = world();
    let terminal = Terminal::narrow(world.tool(&line));
    assert_eq!(terminal.code(), 0);
    let screen = terminal.screen();
    let sum = "target-test: 2 cases: 2 passed, 0 skipped, 0 failed as expected, 0 failed,\n             0 infra\n";
    assert!(screen.contains(sum), "{screen}");
}

/// As in a playbook: what is written in a file does not depend on where somebody stands.
#[test]
fn paths_of_a_mode_start_at_the_workspaces_root() {
    let world = world();
    let targets = world.read("target-test.toml");
    let mode = "[modes.mine]\noptions = [\"--junit=target/of-mode.xml\"]\n";
    world.file("target-test.toml", &format!("{targets}{mode}"));
    let in_folder = |args: &[&str]| {
        let program = world.program("in-folder", "cd tests && exec \"$@\"\n");
        let tool = env!("CARGO_BIN_EXE_cargo-target-test");
        let args = [&[tool, "seed::smoke[east]"], args].concat();
        world.through(&program, &args).run().code(0);
    };
    let root = |path: &str| {
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("projects/choosing-world")
            .join(path)
    };
    in_folder(&["--mode", "mine"]);
    assert!(root("target/of-mode.xml").exists());
    assert!(!root("tests/target").exists());
    std::fs::remove_file(root("target/of-mode.xml")).expect("the report");
    in_folder(&["--mode", "mine", "--junit", "typed.xml"]);
    assert!(!root("target/of-mode.xml").exists());
    std::fs::remove_file(root("tests/typed.xml")).expect("the report");
}

/// References of a scenario are checked before it is run.
#[test]
fn check_finds_what_is_wrong_with_a_scenario() {
    let world = world();
    let targets = world.read("target-test.toml");
    let check = |rest: &str| {
        world.file("target-test.toml", &format!("{targets}{rest}"));
        world.run(&["check"])
    };
    let recipe = "[recipes.only]\nsteps = [{ put = \"nowhere\", to = \"/tmp/x\" }]\n";
    check(recipe).code(0);
    let scenario = "[[scenarios]]\nname = \"quick\"\n";
    check(&format!("{recipe}{scenario}recipe = \"only\"\n"))
        .code(78)
        .says("scenario `quick`: recipe `only`: file or folder not found: `");
    let filterset = |set: &str| check(&format!("{scenario}filterset = {set:?}\n"));
    filterset("test(smoke) & package(choosing-world) | binary_id(choosing-world::all)").code(0);
    filterset("tset(smoke)")
        .code(78)
        .says("unparsed input")
        .says("scenario `quick`: invalid filterset `tset(smoke)`");
    filterset("package(nobody)")
        .code(78)
        .says("no packages matched this");
}

#[test]
fn scenarios_are_targets_a_recipe_and_tests_under_one_name() {
    let world = world();
    let targets = world.read("target-test.toml");
    let rest = "[recipes.marked]\nsteps = [{ run = \"echo marked >mark\" }]\n\
                [[scenarios]]\nname = \"quick\"\ntargets = \"east\"\nfilterset = \"test(smoke)\"\n\
                [[scenarios]]\nname = \"full\"\nrecipe = \"marked\"\nfilterset = \"test(xdp)\"\nmode = \"mine\"\n\
                [modes.mine]\noptions = [\"seed::\"]\n";
    world.file("target-test.toml", &format!("{targets}{rest}"));
    assert_eq!(
        cases(&world, &["--scenario", "quick", "seed::"]),
        [
            "seed::smoke[east]",
            "seed::smoke_reboot[east]",
            "seed::smoke_xdp[east]"
        ]
    );
    let full = [
        "seed::smoke_xdp[east]",
        "seed::smoke_xdp[west]",
        "seed::verify_xdp[east]",
        "seed::verify_xdp[west]",
    ];
    assert_eq!(cases(&world, &["--scenario", "full"]), full);
    let both = ["--scenario", "quick,full"];
    let names = [
        "seed::smoke[east]",
        "seed::smoke_reboot[east]",
        "seed::smoke_xdp[full/east]",
        "seed::smoke_xdp[quick/east]",
        "seed::smoke_xdp[west]",
        "seed::verify_xdp[east]",
        "seed::verify_xdp[west]",
    ];
    let mut listed = cases(&world, &both);
    listed.sort();
    assert_eq!(listed, names);
    let junit = world.path("both.xml").display().to_string();
    let run = world
        .run(&[&both[..], &["--junit", &junit]].concat())
        .code(0);
    let report = world.read("both.xml");
    for name in names {
        assert!(
            report.contains(&format!("name=\"{name}\"")),
            "{name}: {report}"
        );
    }
    assert_eq!(report.matches("[east]").count(), 3, "{report}");
    let mut ran = passed(&run);
    ran.sort();
    assert_eq!(ran, names, "{run:?}");
    run.says("deploy[quick.east-0]")
        .says("deploy[full.east-0]")
        .says("deploy[west-0]");
    let one = cases(
        &world,
        &[
            "--scenario",
            "quick,full",
            "-E",
            "test(reboot) | test(verify)",
        ],
    );
    assert_eq!(one.len(), 3, "{one:?}");
    // Names do not depend on what else is selected, so that a case can be run again by its name.
    for (args, expected) in [
        (
            &["--on", "full/east"][..],
            &["seed::smoke_xdp[full/east]", "seed::verify_xdp[east]"][..],
        ),
        (
            &["--on", "west"],
            &["seed::smoke_xdp[west]", "seed::verify_xdp[west]"],
        ),
        (
            &["--criteria", "target = quick/east and name = xdp"],
            &["seed::smoke_xdp[quick/east]"],
        ),
        (
            &["-E", "test(=seed::smoke_xdp[quick/east])"],
            &["seed::smoke_xdp[quick/east]"],
        ),
    ] {
        assert_eq!(
            cases(&world, &[&both[..], args].concat()),
            expected,
            "{args:?}"
        );
    }
    world
        .run(&["--scenario", "qick"])
        .code(2)
        .says("the playbook has no scenario `qick`")
        .says("did you mean `quick`?");
    world.is_clean();
}

/// A test without requirements that one scenario excludes may run in another scenario.
#[test]
fn a_test_that_does_not_care_runs_in_each_scenario() {
    let world = world();
    let targets = world.read("target-test.toml");
    let scenario = |name: &str, targets: &str, filterset: &str| {
        format!(
            "[[scenarios]]\nname = \"{name}\"\ntargets = {targets}\nfilterset = \"{filterset}\"\n"
        )
    };
    let scenarios = scenario("quick", "\"east\"", "test(smoke)")
        + &scenario("full", "[\"west\", \"east\"]", "test(anywhere)")
        + &scenario("exact", "\"east\"", "test(=seed::smoke) | test(verify)")
        + &scenario("wrong", "\"east\"", "tset(smoke)");
    world.file("target-test.toml", &format!("{targets}{scenarios}"));
    let list = cases(&world, &["--scenario", "quick,full", "any::"]);
    assert_eq!(list, ["any::anywhere[east]"]);
    // Both scenarios exclude a name that only one of them has: each sees its cases as they are alone.
    let list = world
        .run(&["list", "--scenario", "quick,exact", "seed::"])
        .code(0);
    list.says("seed::smoke_reboot[east]")
        .says("warning: `seed::smoke` is a test, and matches none of its cases: write `seed::smoke[east]`");
    let wrong = world.run(&["list", "--scenario", "quick,wrong"]);
    wrong.says("hint: the filterset is `tset(smoke)` of scenario `wrong`");
    let list = world.run(&["list", "--scenario", "exact"]).code(0);
    list.says("seed::verify_xdp[east]")
        .says("warning: `seed::smoke` is a test, and matches none of its cases: write `seed::smoke[east]`");
    let wrong = world.run(&["--scenario", "wrong"]);
    wrong.says("hint: a part of the filterset is `tset(smoke)` of scenario `wrong`");
}

/// `a` with `b.c`, and `a.b` with `c`.
#[test]
fn scenarios_do_not_share_the_name_of_an_instance() {
    let world = world();
    let target = |name: &str| format!("[[targets]]\nname = \"{name}\"\nplatform = \"local\"\n");
    let scenario = |name: &str, targets: &str| {
        format!("[[scenarios]]\nname = \"{name}\"\ntargets = {targets}\n")
    };
    let text = target("east")
        + &target("quick.east")
        + &scenario("quick", "\"east\"")
        + &scenario("full", "[\"east\", \"quick.east\"]");
    world.file("target-test.toml", &text);
    world
        .run(&["list", "--scenario", "full,quick"])
        .code(2)
        .says("instances of `quick/east` and of `quick.east` would both be named `quick.east-0`");
    world.run(&["list", "--scenario", "full"]).code(0);
}

/// A failed deploy says how to rerun its cases: with the scenario.
#[test]
fn a_failed_deploy_of_a_scenario_names_its_label() {
    let world = world();
    let targets = world.read("target-test.toml");
    let scenarios = "[recipes.broken]\nsteps = [{ run = \"exit 3\" }]\n\
                     [[scenarios]]\nname = \"quick\"\ntargets = \"east\"\n\
                     [[scenarios]]\nname = \"full\"\ntargets = \"east\"\nrecipe = \"broken\"\n";
    world.file("target-test.toml", &format!("{targets}{scenarios}"));
    let both = ["--scenario", "quick,full"];
    world
        .run(&[&both[..], &["seed::smoke"]].concat())
        .code(69)
        .says("rerun only this target: `cargo target-test --scenario full --on east`");
    world.file("lab.toml", &format!("{targets}{scenarios}"));
    let file = world.path("lab.toml").display().to_string();
    world
        .run(&[&both[..], &["seed::smoke", "--playbook", &file]].concat())
        .code(69)
        .says(&format!(
            "`cargo target-test --playbook {file} --scenario full --on east`"
        ));
    let rerun = cases(&world, &[&both[..], &["[full/east]"]].concat());
    assert!(
        !rerun.is_empty() && rerun.iter().all(|case| case.ends_with("[full/east]")),
        "{rerun:?}"
    );
    world.is_clean();
}

#[test]
fn tests_are_counted_by_any_key() {
    let world = world();
    let run = world.run(&["list", "--stats=area", "seed::"]).code(0);
    let lines: Vec<_> = run
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        lines,
        ["area", "(none) 2 tests 4 cases", "xdp 2 tests 4 cases"]
    );
    let run = world.run(&["list", "--stats", "--json", "seed::"]).code(0);
    let json: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(
        json["priority"][0],
        serde_json::json!({"value": "0", "tests": 2, "cases": 4})
    );
    assert_eq!(json["category"][1]["value"], "performance");
    assert_eq!(json["target"].as_array().map(Vec::len), Some(2));
    world
        .run(&["list", "--stats=aera"])
        .code(2)
        .says("unknown statistics key `aera`")
        .says("did you mean `area`?");
}
/// `debug`: everything is shown, and the failed case's instance is there as the test left it.
#[test]
fn debug_opens_a_shell_where_the_test_failed() {
    let world = world();
    // Types once the shell is there: what is typed before is nextest's, which reads keys.
    world.program(
        "in-terminal",
        "cd \"$SCRATCH\"; mkfifo keys; cd - >/dev/null\n\
         script -qefc \"$*\" \"$SCRATCH/screen\" <\"$SCRATCH/keys\" >/dev/null & terminal=$!\n\
         exec 3>\"$SCRATCH/keys\"\n\
         until grep -q 'a shell on east-0' \"$SCRATCH/screen\" || ! kill -0 $terminal; do sleep 0.02; done 2>/dev/null\n\
         echo 'cat left >$SCRATCH/seen; echo $TARGET_TEST_INSTANCE >>$SCRATCH/seen; exit' >&3\n\
         wait $terminal; code=$?; cat \"$SCRATCH/screen\"; exit $code\n",
    );
    let tool = env!("CARGO_BIN_EXE_cargo-target-test");
    let args = [
        tool,
        "--mode",
        "debug",
        "fails_and_leaves",
        "--on",
        "east",
        "--run-ignored",
        "all",
    ];
    let terminal = world.path("in-terminal");
    let run = world.through(&terminal, &args).run().code(100);
    assert_eq!(world.read("seen"), "by the test\neast-0\n", "{run:?}");
    assert!(
        run.stdout
            .contains("mess::fails_and_leaves[east] failed: opening a shell on east-0"),
        "{run:?}"
    );
    world.is_clean();

    let run = world
        .run(&[
            "--shell-on-failure",
            "fails_and_leaves[east]",
            "--run-ignored",
            "all",
        ])
        .code(100);
    run.says(
        "no shell on east-0 for mess::fails_and_leaves[east]: standard input is not a terminal",
    );
    world.is_clean();
    world
        .run(&["--shell-on-failure", "--no-fail-fast"])
        .code(2)
        .says("cannot be combined with");
}
