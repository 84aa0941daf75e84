//! Tests of criteria, overrides and requirements: the cases that remain.

use super::{cases, listed, world};

const TARGET: &str =
    "[[targets]]\nname = \"east\"\nplatform = \"local\"\ninherit-env = [\"SCRATCH\"]\n";

#[test]
fn the_first_example_is_eight_cases_in_any_order_of_its_rules() {
    let rules = [
        "[[criteria]]\npriority = 0\n",
        "[[criteria]]\nname = \"smoke\"\ntimes = 2\n",
        "[[criteria]]\narea = \"xdp\"\nexclude = true\n",
    ];
    let world = world();
    let targets = world.read("target-test.toml");
    let expected: Vec<_> = ["smoke", "smoke_reboot"]
        .into_iter()
        .flat_map(|test| ["east", "west"].map(|target| (test, target)))
        .flat_map(|(test, target)| [1, 2].map(|time| format!("seed::{test}[{target}#{time}]")))
        .collect();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let rules = order.map(|number| rules[number]).concat();
        world.file("target-test.toml", &format!("{targets}{rules}"));
        assert_eq!(cases(&world, &["seed::"]), expected);
    }
    let junit = world.path("junit.xml");
    let run = world
        .tool(&["seed::", "--junit"])
        .args([&junit])
        .run()
        .code(0);
    for case in &expected {
        assert_eq!(run.lines_with(&["PASS", case]), 1, "{case}: {run:?}");
        let report = std::fs::read_to_string(&junit).expect("the report");
        assert!(
            report.contains(&format!("name=\"{case}\"")),
            "{case}: {report}"
        );
    }
}

#[test]
fn the_command_line_chooses_beside_the_playbook() {
    let world = world();
    let criteria = [
        "seed::",
        "--criteria",
        "area = xdp and not (priority > 1 or tag = slow)",
    ];
    assert_eq!(
        cases(&world, &criteria),
        ["seed::verify_xdp[east]", "seed::verify_xdp[west]"]
    );
    let place = [
        "--criteria",
        "binary = choosing-world::all and module = seed and name = xdp and area = xdp",
    ];
    let placed = cases(&world, &place);
    assert!(!placed.is_empty());
    assert!(
        placed.iter().all(|case| case.starts_with("seed::")),
        "{placed:?}"
    );
    let elsewhere = ["--criteria", "binary = other or module = see"];
    assert_eq!(cases(&world, &elsewhere), [""; 0]);
    let both = [&criteria[..], &["--on", "w*"]].concat();
    assert_eq!(cases(&world, &both), ["seed::verify_xdp[west]"]);
    let none = [&criteria[..], &["--criteria", "category = functional"]].concat();
    assert_eq!(cases(&world, &none), [""; 0]);
    world
        .run(&["--criteria", "category = none"])
        .code(4)
        .says("no case is left: `")
        .says("excluded by `--criteria`")
        .says("no tests to run");

    let wrong = world.run(&["--criteria", "aera = xdp"]).code(2);
    for line in [
        "error: unknown field `aera`",
        "--criteria:1:1",
        "did you mean `area`?",
    ] {
        assert!(wrong.stderr.contains(line), "{line}: {wrong:?}");
    }
    let wrong = world.run(&["--on", "esat"]).code(2);
    wrong
        .says("the playbook has no target `esat`")
        .says("did you mean `east`?");
    let wrong = world
        .run(&["--criteria", "not (area = xdp and target = esat)"])
        .code(2);
    wrong
        .says("the playbook has no target `esat`")
        .says("did you mean `east`?");
    let none = [
        "--criteria",
        "not target = none* and not target = west",
        "--on",
        "east",
        "seed::smoke",
    ];
    assert_eq!(cases(&world, &none).len(), 3);
}

#[test]
fn a_rule_that_matches_nothing_is_named_and_selects_nothing() {
    let world = world();
    let targets = world.read("target-test.toml");
    world.file(
        "target-test.toml",
        &format!("{targets}[[criteria]]\narea = \"xpd\"\n"),
    );
    let run = world.run(&["seed::"]).code(4);
    run.says("warning: criteria `area = \"xpd\"` match no test")
        .says("no tests to run");
}

#[test]
fn overrides_change_what_tests_declare() {
    let world = world();
    let overrides = "[[overrides]]\nname = \"/::smoke/\"\npriority = 4\ntags = [\"nightly\"]\n\
                     [[overrides]]\nname = \"smoke_xdp\"\nskip = \"bug 7\"\n\
                     [[overrides]]\nname = \"nobody\"\npriority = 1\n";
    world.file("target-test.toml", &format!("{TARGET}{overrides}"));
    let list = listed(&world, &["seed::"]);
    let priorities: Vec<_> = list["cases"]
        .as_array()
        .expect("cases")
        .iter()
        .map(|case| {
            (
                case["test"].as_str().expect("a name"),
                case["priority"].as_u64(),
                case["tags"].clone(),
            )
        })
        .collect();
    let nightly = serde_json::json!(["nightly"]);
    assert_eq!(
        priorities,
        [
            ("seed::smoke", Some(4), nightly.clone()),
            ("seed::smoke_reboot", Some(4), nightly),
            ("seed::verify_xdp", Some(0), serde_json::Value::Null),
        ]
    );
    let said = world.run(&["list"]).code(0);
    said.says("seed::smoke_xdp: skip: bug 7")
        .says("warning: the override for `nobody` matches no test");
}

#[test]
fn what_a_playbook_demands_is_missed_before_anything_runs() {
    let world = world();
    world.file(
        "target-test.toml",
        &format!("{TARGET}[metadata]\nrequired = [\"area\"]\ncategories = [\"performance\"]\n"),
    );
    let run = world.run(&["seed::verify_xdp"]).code(78);
    run.says("the playbook requires `area`, which is missing in `")
        .never_says("deploy[");
    world.file(
        "target-test.toml",
        &format!("{TARGET}[metadata]\ncategories = [\"functional\"]\n"),
    );
    world
        .run(&["list"])
        .code(78)
        .says("`seed::smoke_xdp` has the unknown category `Performance`; there are `functional`");
}

/// Declared capabilities of a target decide when the run is planned.
#[test]
fn a_target_that_offers_too_little_is_left_out_with_the_reason() {
    let world = world();
    let offers = "capabilities = { memory = \"2 GiB\" }\n";
    world.file(
        "target-test.toml",
        &format!("{TARGET}{offers}[[criteria]]\nname = \"needs::\"\n"),
    );
    let junit = format!("--junit={}", world.path("junit.xml").display());
    let run = world.run(&[&junit]).code(0);
    run.says("PASS")
        .says("target-test: skip: needs::huge: needs memory >= 1 PiB, `east` offers 2 GiB")
        .says("target-test: skip: needs::fpga: needs fpga.cells >= 1000, `east` declares no `fpga.cells`")
        .says("warning: `needs::impossible` needs cores > 8, < 2: nothing can be `> 8, < 2`")
        .says("2 tests run: 2 passed")
        .says("5 cases: 1 passed, 4 skipped, 0 failed as expected, 0 failed, 0 infra")
        .never_says("needs::huge[east]");
    let report = world.read("junit.xml");
    assert_eq!(report.matches("<skipped").count(), 4, "{report}");
    // A filterset may select a test that runs nowhere.
    for (filterset, code) in [("test(huge) | test(modest)", 0), ("test(huge)", 4)] {
        world
            .run(&["-E", filterset])
            .code(code)
            .says("target-test: skip: needs::huge: needs memory >= 1 PiB, `east` offers 2 GiB")
            .never_says("skip: needs::fpga");
    }
}

/// Undeclared capabilities are probed on the leased instances: the case is skipped, and never passes silently.
#[test]
fn an_instance_that_is_too_little_skips_the_case() {
    let world = world();
    let run = world.run(&["needs::huge", "needs::modest"]).code(0);
    for target in ["east", "west"] {
        let said = format!(
            "target-test: skip: needs::huge[{target}]: needs memory >= 1 PiB, `{target}-0` has "
        );
        assert!(run.stderr.contains(&said), "{said}: {run:?}");
        assert_eq!(
            run.lines_with(&["PASS", &format!("needs::modest[{target}]")]),
            1,
            "{run:?}"
        );
    }
}

/// That an instance went which the rest does not need is no reason to wait for a better one.
#[test]
fn what_no_instance_is_skips_the_case_also_when_some_have_gone() {
    let world = world();
    world
        .run(&["needs::huge", "needs::vast", "--on", "east", "-j1"])
        .code(0)
        .says("target-test: skip: needs::huge[east]: needs memory >= 1 PiB, `east-")
        .says("target-test: skip: needs::vast[east]: needs memory >= 2 PiB, `east-");
}

/// Also of a test that runs on no target.
#[test]
fn overrides_of_plain_tests_count() {
    let world = world();
    let change =
        |name: &str, what: &str| format!("[[overrides]]\nname = \"/^plain::{name}$/\"\n{what}\n");
    let overrides = change("fails_again", "skip = \"bug 9\"")
        + &change("fails_first", "retries = 1")
        + &change("fails", "expect-fail = \"bug 8\"")
        + &change("hangs", "timeout = \"100ms\"");
    world.file("target-test.toml", &format!("{TARGET}{overrides}"));
    let run = world.run(&["plain::", "--run-ignored", "all"]).code(100);
    assert_eq!(
        run.lines_with(&["TRY 2 PASS", "plain::fails_first"]),
        1,
        "{run:?}"
    );
    assert_eq!(run.lines_with(&["PASS", "plain::fails"]), 2, "{run:?}");
    run.says("timed out after 100ms")
        .says("target-test: skip: plain::fails_again: bug 9");
}

/// Keys about targets have no effect on tests without a target.
#[test]
fn overrides_of_plain_tests_that_say_what_targets_they_need_are_told() {
    let world = world();
    let overrides = "[[overrides]]\nname = \"/^plain::/\"\ncount = 2\nreuse = false\npriority = 1\n\
                     [[overrides]]\nname = \"plain::fails_first\"\nretries = 1\n\
                     [[overrides]]\nname = \"s\"\ncount = 1\n";
    world.file("target-test.toml", &format!("{TARGET}{overrides}"));
    let list = world.run(&["list"]).code(0);
    let said = "`count`, `reuse` of the override for `/^plain::/` change nothing";
    assert_eq!(list.lines_with(&["warning: ", said]), 1, "{list:?}");
    assert_eq!(list.lines_with(&["change nothing"]), 1, "{list:?}");
    world
        .run(&["list", "--all-tests"])
        .code(0)
        .never_says("change nothing");
}

/// A filter that means only what can run nowhere, and one that means more, are no passes in silence.
#[test]
fn what_a_filter_means_and_no_target_can_run_is_told() {
    let world = world();
    let skip =
        "target-test: skip: needs::impossible: needs cores > 8, < 2: nothing can be `> 8, < 2`";
    world.run(&["needs::"]).code(0).says(skip);
    world
        .run(&["needs::impossible", "needs::modest"])
        .code(0)
        .says("`needs::impossible[east]` is left out: needs cores")
        .says(skip)
        .never_says("needs::fpga");
    let shard = |part: &str| world.run(&["needs::", "--partition", part]).code(0);
    shard("slice:1/2").says(skip);
    shard("slice:2/2").never_says(skip);
    let list = world.run(&["list", "any::anywhere[west]"]).code(0);
    list.says("`any::anywhere[west]` is left out: runs on any one target; `east` was chosen");
    world.file(
        "target-test.toml",
        &format!("{TARGET}[[criteria]]\nname = \"seed::\"\ntimes = 2\n"),
    );
    world
        .run(&["list", "seed::smoke[east]"])
        .code(0)
        .says("`seed::smoke[east]` matches no case: it is run several times, first as `seed::smoke[east#1]`");
    world
        .run(&["list", "--", "--exact", "seed::smoke[east]"])
        .code(0)
        .says("warning: `seed::smoke[east]` is run several times: write `seed::smoke[east#1]`");
}

#[test]
fn rules_for_plain_tests_that_change_nothing_are_named() {
    let world = world();
    let rules = "[[criteria]]\nname = \"plain::\"\ntarget = \"east\"\n\
                 [[criteria]]\nname = \"plain::\"\ntimes = 3\n\
                 [[criteria]]\nname = \"plain::hangs\"\n";
    world.file("target-test.toml", &format!("{TARGET}{rules}"));
    world
        .run(&["list"])
        .code(0)
        .says("warning: criteria `name = \"plain::\", target = \"east\"` match no test")
        .says("warning: criteria `name = \"plain::\", times = 3` match only tests that run once")
        .never_says("`name = \"plain::hangs\"` match");
}
