//! `init`: a package gets a playbook and a test, and the test runs.

use std::{fs, path::Path};

use crate::support::{Project, Tool, repository};

/// A package that knows nothing of targets yet.
fn package(name: &str) -> Project {
    let project = Project::new(name);
    for file in ["target-test.toml", "tests/target.rs"] {
        let _ = fs::remove_file(project.path(file));
    }
    let _ = fs::remove_dir_all(project.path("target-test"));
    project.file(
        "Cargo.toml",
        &format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
             [profile.dev]\ndebug = false\n\n[workspace]\n"
        ),
    )
}

fn tool(project: &Project, args: &[&str]) -> Tool {
    let tool = project.through(env!("CARGO_BIN_EXE_cargo-target-test"));
    tool.args(["target-test"]).args(args)
}

#[test]
fn what_is_written_runs() {
    // The tool under test was built from a clone.
    let fixtures = repository().join("target-fixtures");
    let added = format!("added target-fixtures = {{ path = {fixtures:?} }}");
    for platform in ["local", "command"] {
        let project = package(&format!("init-{platform}"));
        let init = || {
            tool(&project, &["init", "--platform", platform])
                .run()
                .code(0)
        };
        init()
            .says("created target-test.toml")
            .says("created tests/target.rs")
            .says(&added)
            .says("next: run `cargo target-test`");
        let run = tool(&project, &[]).run().code(0);
        let target = if platform == "local" {
            "local"
        } else {
            "machine"
        };
        run.line_with(&["PASS", &format!("answers[{target}]")])
            .says("playbook: target-test.toml");

        // Nothing is overwritten.
        fs::write(project.path("tests/target.rs"), "// mine\n").expect("a test");
        let manifest = fs::read_to_string(project.path("Cargo.toml")).expect("a manifest");
        init()
            .says("kept target-test.toml")
            .says("kept tests/target.rs");
        let after = |file: &str| fs::read_to_string(project.path(file)).expect("a file");
        assert_eq!(after("tests/target.rs"), "// mine\n");
        assert_eq!(after("Cargo.toml"), manifest);
    }
}

#[test]
fn a_package_is_needed_and_a_platform_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = |args: &[&str]| Tool::new(folder.path(), folder.path()).args(args).run();
    here(&["init"]).code(2).says("hint: create a package first");
    fs::write(folder.path().join("Cargo.toml"), "[workspace]\n").expect("a manifest");
    here(&["init"]).code(2).says("has no package");
    here(&["init", "--platform", "moon"])
        .code(2)
        .says("local, container, qemu, ssh, command");
    assert!(!Path::new(folder.path()).join("target-test.toml").exists());
}

#[test]
fn what_must_be_edited_is_said() {
    let project = package("init-ssh");
    tool(&project, &["init", "--platform", "ssh"])
        .run()
        .code(0)
        .says("next: set `hosts` in target-test.toml, then run `cargo target-test`");
    tool(&project, &["check"])
        .run()
        .code(0)
        .says("name = \"lab\"");
}
