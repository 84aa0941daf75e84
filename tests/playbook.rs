//! Playbooks, good and bad, as users see them: every `playbooks/NAME.toml` is checked, and what is
//! printed is in `NAME.stdout` or `NAME.stderr` beside it. `TARGET_TEST_BLESS=1` rewrites those.

use std::path::{Path, PathBuf};

use crate::support::Project;

/// The output and the exit code of a check.
struct Checked {
    stdout: String,
    stderr: String,
    code: i32,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/playbooks")
}

#[test]
fn golden_files() {
    let mut wrong = Vec::new();
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() > 20);
    for name in names {
        let checked = check(&format!("{name}.toml"));
        let good = name.starts_with("good");
        assert_eq!(
            checked.code,
            if good { 0 } else { 78 },
            "{name}: {}",
            checked.stderr
        );
        wrong.extend(compare(&format!("{name}.stdout"), &checked.stdout));
        wrong.extend(compare(&format!("{name}.stderr"), &checked.stderr));
    }
    assert!(
        wrong.is_empty(),
        "TARGET_TEST_BLESS=1 accepts these:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn a_missing_file_is_named() {
    let checked = check("missing.toml");
    assert_eq!(checked.code, 78);
    assert!(checked.stdout.is_empty());
    assert!(checked.stderr.starts_with("error: ") && checked.stderr.contains("`missing.toml`"));
}

/// The difference to the golden file; an absent file stands for no output.
fn compare(file: &str, actual: &str) -> Option<String> {
    let path = folder().join(file);
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if expected == actual {
        return None;
    }
    if std::env::var_os("TARGET_TEST_BLESS").is_some() {
        std::fs::write(&path, actual).unwrap();
        return None;
    }
    Some(format!(
        "--- {file}, expected\n{expected}--- {file}, actual\n{actual}"
    ))
}

fn check(file: &str) -> Checked {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_cargo-target-test"))
        .args(["target-test", "check", "--playbook", file])
        .current_dir(folder())
        .env_remove("TARGET_TEST_PLAYBOOK")
        .output()
        .unwrap();
    let root = folder().canonicalize().unwrap();
    let shown = |bytes: Vec<u8>, as_what: &str| {
        let text = String::from_utf8(bytes).unwrap();
        let text = text.replace(&format!("{}/", root.display()), as_what);
        text.replace(&format!("{}/", folder().display()), as_what)
    };
    Checked {
        stdout: shown(output.stdout, "[FOLDER]/"),
        stderr: shown(output.stderr, ""),
        code: output.status.code().unwrap_or(-1),
    }
}

/// A playbook of one target.
fn of_one(name: &str) -> String {
    format!("[[targets]]\nname = \"{name}\"\nplatform = \"local\"\ncount = 1\n")
}

/// The places, in their order: each one wins over those after it.
#[test]
fn a_playbook_is_found_in_order() {
    let project = Project::new("playbook-places");
    let places = [
        "given.toml",
        "variable.toml",
        "by-manifest.toml",
        ".config/target-test.toml",
        "target-test.toml",
    ];
    let project = places.into_iter().fold(project, |project, place| {
        project.file(
            place,
            &of_one(&place.replace(['/', '.'], "-").replace("-config", "config")),
        )
    });
    let manifest = fs_of(&project, "Cargo.toml");
    let with_metadata =
        format!("{manifest}\n[workspace.metadata.target-test]\nplaybook = \"by-manifest.toml\"\n");
    let mut project = project.file("Cargo.toml", &with_metadata);
    let check = |project: &Project, arguments: &[&str], variable: bool| {
        let tool = project.tool(["check"]).args(arguments);
        let tool = if variable {
            tool.env("TARGET_TEST_PLAYBOOK", "variable.toml")
        } else {
            tool
        };
        tool.run().code(0)
    };
    check(&project, &["--playbook", "given.toml"], true).says("name = \"given-toml\"");
    check(&project, &[], true).says("name = \"variable-toml\"");
    check(&project, &[], false).says("name = \"by-manifest-toml\"");
    project = project.file("Cargo.toml", &manifest);
    check(&project, &[], false).says("name = \"config-target-test-toml\"");
    std::fs::remove_file(project.path(".config/target-test.toml")).unwrap();
    check(&project, &[], false).says("name = \"target-test-toml\"");
    std::fs::remove_file(project.path("target-test.toml")).unwrap();
    check(&project, &[], false)
        .says("# playbook: built in, because no file was found")
        .says("name = \"local\"");

    // In the folder one stands in, or above it: before all others of the workspace.
    project = project
        .file("target-test.toml", &of_one("root"))
        .file("sub/target-test.toml", &of_one("nearest"))
        .file("sub/deep/file", "");
    let within = |folder: &str, args: &[&str]| {
        let tool = project.through("env");
        let tool = tool.args(["-C", folder, env!("CARGO_BIN_EXE_cargo-target-test")]);
        tool.args(["target-test"]).args(args).run().code(0)
    };
    within("sub/deep", &["check"]).says("name = \"nearest\"");
    within("sub/deep", &["--no-run"]).says("playbook: ");
    within("sub", &["--no-run"]).says("playbook: target-test.toml");
    let named = |args: &[&str]| {
        let tool = project.tool(["--no-run"]).args(args);
        let run = tool.env("TARGET_TEST_PLAYBOOK", "variable.toml").run();
        run.code(0)
    };
    named(&[]).says("playbook: variable.toml");
    named(&["--playbook", "given.toml"]).never_says("playbook: ");
    within(".", &["check"]).says("name = \"root\"");
    for file in ["sub/target-test.toml", "target-test.toml"] {
        std::fs::remove_file(project.path(file)).unwrap();
    }
    within(".", &["--no-run"]).says("no playbook, so that the only target is `local`");

    // Named and not there: refused, and nothing is built.
    for (arguments, by) in [
        (vec!["--playbook", "none.toml"], "--playbook"),
        (vec![], "TARGET_TEST_PLAYBOOK"),
    ] {
        let tool = project
            .tool(arguments)
            .env("TARGET_TEST_PLAYBOOK", "none.toml");
        tool.run()
            .code(78)
            .says("`none.toml`")
            .says(by)
            .never_says("Compiling");
    }
    project
        .file(
            "Cargo.toml",
            &with_metadata.replace("by-manifest", "missing"),
        )
        .run(&[])
        .code(78)
        .says("missing.toml")
        .says("Cargo.toml");
}

fn fs_of(project: &Project, file: &str) -> String {
    std::fs::read_to_string(project.path(file)).unwrap()
}

/// The command line wins over the file, and is checked like it.
#[test]
fn values_are_set_on_the_command_line() {
    let project = Project::new("playbook-set").playbook(&of_one("a"));
    let check = |sets: &[&str]| {
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        project.tool(["check", "--json"]).args(sets).run()
    };
    let printed = check(&["targets.a.count=3", "targets.a.env.X=y"])
        .code(0)
        .stdout;
    let playbook: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let target = &playbook["targets"][0];
    assert_eq!(
        (&target["count"], &target["parameters"]["env"]["X"]),
        (&3.into(), &"y".into()),
        "{printed}"
    );
    assert_eq!(
        (&target["origins"]["count"], &target["origins"]["platform"]),
        (&"set".into(), &"target".into()),
        "{printed}"
    );
    assert!(
        playbook["path"]
            .as_str()
            .unwrap()
            .ends_with("target-test.toml")
    );
    for (set, code, says) in [
        // What cannot be understood is a mistake of the command line,
        ("targets.b.count=3", 2, "targets: `a`"),
        ("targets.a.count", 2, "has no `=`"),
        // what can, one of the playbook that comes out.
        ("targets.a.cuont=3", 78, "did you mean `count`?"),
        ("targets.a.count=many", 78, "many"),
    ] {
        check(&[set])
            .code(code)
            .says(says)
            .says(set.split('=').next().unwrap_or_default());
    }
    // Everything that reads the playbook obeys; nothing is built for a wrong one.
    project
        .run(&["--set", "targets.a.cuont=3"])
        .code(78)
        .never_says("Compiling");
}

/// The schema describes what is accepted: every platform, with its parameters.
#[test]
fn the_schema_knows_every_platform() {
    let project = Project::new("playbook-set").playbook(&of_one("a"));
    let printed = project.run(&["schema"]).code(0).stdout;
    let schema: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert!(
        schema["$schema"]
            .as_str()
            .unwrap()
            .contains("json-schema.org")
    );
    // A playbook may have any of its tables, and none of them has to be there.
    assert!(schema["required"].is_null() && schema["properties"]["targets"]["minItems"].is_null());
    for word in [
        "local",
        "ssh",
        "command",
        "hosts",
        "known-hosts",
        "deploy",
        "delete-timeout",
        "capabilities",
        "select",
    ] {
        assert!(printed.contains(&format!("\"{word}\"")), "{word}");
    }
}
