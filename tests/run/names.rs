//! Names as harnesses of the real world have them, in filters, on the console and in JUnit.

use std::fs;

use super::world::{World, summary};

#[test]
fn real_world_names_survive() {
    let world = World::new();
    let junit = world.path("junit.xml");
    let world = world.nextest(&format!("[profile.ci.junit]\npath = {junit:?}\n"));
    let run = world
        .run(&[
            "--test",
            "odd",
            "--profile",
            "ci",
            "--success-output",
            "never",
        ])
        .code(0);
    assert_eq!(summary(&run), "18 tests run: 18 passed, 0 skipped");
    let report = fs::read_to_string(junit).expect("JUnit");
    let long = format!("long::{}", "x".repeat(194));
    for name in [
        "dir/a.txt",
        "with some spaces",
        "a[1]",
        "größe::中文",
        "a::b::c",
        "re.g(e)x*",
        &long,
    ] {
        for target in ["east", "west"] {
            let case = format!("{name}[{target}]");
            assert_eq!(
                run.lines_with(&["PASS", "run-world::odd", &case]),
                1,
                "{case}: {run:?}"
            );
            let attribute = format!("testcase name=\"{case}\"");
            assert_eq!(report.matches(&attribute).count(), 1, "{report}");
        }
    }
}

#[test]
fn odd_names_can_be_chosen_one_by_one() {
    let world = World::new();
    for words in [
        &["--", "--exact", "dir/a.txt[west]"][..],
        &["--", "--exact", "with some spaces[east]"],
        &["--", "--exact", "a[1][east]"],
        &["größe::中文[east]"],
        &["-E", "test(=re.g(e\\)x*[west])"],
    ] {
        let run = world.run(&[&["--test", "odd"], words].concat()).code(0);
        assert_eq!(
            summary(&run),
            "2 tests run: 2 passed, 0 skipped",
            "{words:?}"
        );
    }
}
