//! Messages for users who mistype or forget something.
//!
//! Checks the wording where a wrong sentence would mislead. Playbooks have golden files.

use crate::support::Project;

fn project(name: &str) -> Project {
    Project::new(name).test_file("plain", "#[test]\nfn smoke() {}\n")
}

#[test]
fn a_misspelt_verb_is_not_only_a_filter_that_matches_nothing() {
    let project = project("misspelt-verb").test_file("lists", "#[test]\nfn lits() {}\n");
    let meant = [
        ("lst", "list"),
        ("targtes", "targets"),
        ("shel", "shell"),
        ("realese", "release"),
    ];
    for (word, verb) in meant {
        project
            .run(&[word])
            .code(4)
            .says(&format!(
                "unknown verb `{word}`, and no test name contains it"
            ))
            .says(&format!("did you mean `{verb}`?"))
            .never_says("Nextest run");
    }
    // Where other words are filters, nothing is run that was not meant.
    let other = project.run(&["shel", "smoke"]).code(4);
    other.says("did you mean `shell`?").never_says("smoke");
    project.run(&["smoke", "shel"]).code(0).says("smoke[local]");
    // A filter is a filter, and who says what comes of none is obeyed.
    project.run(&["lits"]).code(0).says("lits[local]");
    project.run(&["locla"]).code(4).never_says("did you mean");
    project
        .run(&["lst", "--no-tests=pass"])
        .code(0)
        .never_says("unknown verb");
}

#[test]
fn an_unknown_option_has_the_nearest_name_or_the_way_to_nextest() {
    let project = project("unknown-option");
    project
        .run(&["--playbok", "x.toml"])
        .code(2)
        .says("a similar argument exists: '--playbook'")
        .never_says("-- --playbok");
    project
        .run(&["--of-tomorrow"])
        .code(2)
        .says("to pass it to nextest, use `--nextest-arg=--of-tomorrow`");
    project
        .run(&["targets", "--of-tomorrow"])
        .code(2)
        .never_says("nextest-arg");
}

#[test]
fn a_failed_build_is_cargos_to_explain() {
    project("failed-build")
        .test_file("broken", "#[test]\nfn broken() { let _: u8 = \"\"; }\n")
        .run(&[])
        .code(101)
        .says("mismatched types")
        .says("failed to build and list the tests: cargo-nextest exited with code 101");
}
