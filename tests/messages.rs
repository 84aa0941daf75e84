//! Messages for users who mistype or forget something.
//!
//! Checks the wording where a wrong sentence would mislead. Playbooks have golden files.

use rustix::fs::{CWD, FileType, Mode, mknodat};

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
        .run(&["--zigzag"])
        .code(2)
        .says("to pass it to nextest, use `--nextest-arg=--zigzag`");
    project
        .run(&["targets", "--zigzag"])
        .code(2)
        .never_says("nextest-arg");
}

/// A mistake is found before anything is built or deployed, and its message says what to write.
#[test]
fn what_is_wrong_is_said_early() {
    let project = project("said-early").playbook(
        "[[targets]]\nname = \"here\"\nplatform = \"local\"\n[modes.bad]\noptions = [\"--retires=2\"]\n",
    );
    for (words, code, said) in [
        // Values that nextest refuses.
        (
            &["--retries", "-1"][..],
            2,
            "invalid value '-1' for '--retries",
        ),
        (&["-j0"], 2, "for '--test-threads"),
        (&["--max-fail", "x"], 2, "for '--max-fail"),
        (&["--status-level", "al"], 2, "for '--status-level"),
        (
            &["--partitions", "2", "--retries", "x"],
            2,
            "for '--retries",
        ),
        // Modes.
        (
            &["--mode", "bad", "--explain"],
            78,
            "mode `bad`: unexpected argument '--retires'",
        ),
        // Options of a command.
        (&["exec", "lab-0", "uname", "-n"], 2, "write `--` before it"),
        (&["exec", "lab-0", "-x"], 2, "write `--` before it"),
        (&["exec", "lab-0", "uname"], 2, "write `--` before it"),
    ] {
        let refused = project.run(words).code(code).says(said);
        refused
            .never_says("Compiling")
            .never_says("deploy[")
            .never_says("Nextest run");
    }
    assert!(!project.private("pool").exists());
}

/// Messages about playbooks that look right to who wrote them.
#[test]
fn a_wrong_playbook_is_told_what_is_meant() {
    let mut project = project("told-what-is-meant");
    let target = |more: &str| format!("[[targets]]\nname = \"a\"\nplatform = \"command\"\n{more}");
    for (playbook, said) in [
        ("targets:\n  - name: a\n    platform: local\n".to_owned(), "a playbook is TOML; this looks like YAML"),
        ("---\n# targets\n".to_owned(), "this looks like YAML"),
        ("{ \"targets\": [] }".to_owned(), "this looks like JSON"),
        ("[[targets]]\nname = \"a\"\nplatform = \"docker\"\n".to_owned(), "did you mean `container`?"),
        ("[[targets]]\nname = \"a\"\nplatform = \"kvm\"\n".to_owned(), "did you mean `qemu`?"),
        ("[[targets]]\nname = \"debian-12\"\nplatform = \"local\"\n".to_owned(), "for example `debian12`"),
        ("[recipes.a]\nsteps = [\"true\"]\n".to_owned(), "expected a table"),
        ("criteria = [1]\n".to_owned(), "expected a table"),
        ("scenarios = [\"a\"]\n".to_owned(), "expected a table"),
        ("pool = { store = 1 }\n".to_owned(), "--> target-test.toml:1"),
        (target("wait = [1]\ndeploy = \"./a\"\ndelete = \"./a\"\n"), "expected a table"),
        (target("deploy = \"./a\"\ndelete = \"./a\"\ncapabilities = { cores = \"many\" }\n"), "a count is a whole number"),
        (target("deploy = \"./a\"\ndelete = \"./a\"\ncapabilities = { cores = \"2.5\" }\n"), "a count is a whole number"),
        (target("deploy = \"./a\"\ndelete = \"./a\"\nrecipe = \"r\"\n"), "unknown recipe `r`"),
        // What is missing on disk has its place, too.
        (target("deploy = \"./none\"\ndelete = \"true\"\n"), "--> target-test.toml:4:10"),
        (target("deploy = \"true\"\ndelete = \"true\"\nidentity = \"none\"\n"), "--> target-test.toml:6:12"),
        (
            "[[targets]]\nname = \"a\"\nplatform = \"local\"\nrecipe = \"r\"\n[recipes.r]\nsteps = [\n  { put = \"none\", to = \"/x\" },\n]\n".to_owned(),
            "--> target-test.toml:7:3",
        ),
    ] {
        project = project.playbook(&playbook);
        let refused = project.tool(["check"]).args(["--playbook", "target-test.toml"]).run();
        let refused = refused.code(78).says(said).never_says("struct ");
        assert!(!refused.stderr.contains("known: \n"), "{refused:?}");
    }
}

/// A FIFO or a device in a playbook is an error, and reading it stops neither `check` nor `up`.
#[test]
fn special_files_in_a_playbook_are_errors() {
    let mut project = project("special-files");
    let fifo = project.path("fifo");
    let _ = std::fs::remove_file(&fifo);
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).expect("a FIFO");
    let target = |platform: &str, more: &str| {
        format!("[[targets]]\nname = \"a\"\nplatform = \"{platform}\"\n{more}\n")
    };
    let recipe = |step: &str| {
        let recipe = format!("recipe = \"r\"\n[recipes.r]\nsteps = [{step}]");
        (target("local", &recipe), "is not a file or folder")
    };
    let command = "deploy = \"true\"\ndelete = \"true\"\nidentity = \"/dev/zero\"";
    for (playbook, said) in [
        recipe("{ put = \"fifo\", to = \"/x\" }"),
        recipe("{ put = \"/dev/zero\", to = \"/x\" }"),
        recipe("{ script = \"fifo\" }"),
        (
            target("qemu", "image = \"fifo\""),
            "fifo` is not a disk image",
        ),
        (
            target("qemu", "image = \"/dev/zero\""),
            "/dev/zero` is not a disk image",
        ),
        (
            target("command", "deploy = \"./fifo\"\ndelete = \"true\""),
            "fifo` is not a file",
        ),
        (target("command", command), "`/dev/zero` is not a file"),
    ] {
        project = project.playbook(&playbook);
        for words in [&["check"][..], &["up", "a"]] {
            let refused = project
                .tool(words)
                .args(["--playbook", "target-test.toml"])
                .run();
            refused.code(78).says(said);
        }
    }
}

/// Every file that a playbook names, where it names it.
#[test]
fn a_missing_file_is_shown_at_its_place() {
    let mut project = project("missing-files");
    let on = |platform: &str, more: &str| {
        format!("[[targets]]\nname = \"a\"\nplatform = \"{platform}\"\n{more}\n")
    };
    let command = "deploy = \"true\"\ndelete = \"true\"";
    let ssh = "hosts = [\"x\"]";
    let recipe = "recipe = \"r\"\n[recipes.r]\nsteps = [\n{ run = \"true\" },";
    for (platform, more, at) in [
        ("qemu", "", "image = \"none/x\""),
        ("qemu", "", "kernel = \"none/x\""),
        ("qemu", "kernel = \"Cargo.toml\"", "initrd = \"none/x\""),
        ("qemu", "kernel = \"Cargo.toml\"", "disks = [\"none/x\"]"),
        ("qemu", "kernel = \"Cargo.toml\"", "qemu = \"none/x\""),
        ("qemu", "kernel = \"Cargo.toml\"", "identity = \"none/x\""),
        ("container", "", "rootfs = \"none/x\""),
        ("container", "image = \"x\"", "engine = \"none/x\""),
        ("container", "image = \"x\"", "mounts = [\"none/x:/x\"]"),
        ("ssh", ssh, "known-hosts = \"none/x\""),
        ("ssh", ssh, "identity = \"none/x\""),
        ("command", command, "restart = \"none/x\""),
        ("command", command, "list = [\"none/x\", \"-v\"]"),
        ("command", command, "identity = \"none/x\""),
        ("local", recipe, "{ script = \"none/x\" },\n]"),
        ("local", recipe, "{ put = \"none/x\", to = \"/x\" },\n]"),
    ] {
        project = project.playbook(&on(platform, &format!("{more}\n{at}")));
        let check = ["check", "--playbook", "target-test.toml"];
        let refused = project.tool(check).run().code(78).says("not found");
        let first = at.lines().next().expect("a line");
        let mut lines = refused.stderr.lines();
        lines.find(|line| line.contains(first));
        let caret = lines.next().unwrap_or_default();
        assert!(caret.contains("^^^"), "{at}: {refused:?}");
    }
}

/// A playbook about tests only means target `local`.
#[test]
fn a_playbook_of_rules_only_means_local() {
    let project = project("rules-only").playbook("[[criteria]]\nname = \"smoke\"\ntimes = 2\n");
    project.run(&["list"]).code(0).says("smoke[local#2]");
    project.run(&["check"]).code(0).says("name = \"local\"");
}

/// A variable that is set to nothing counts as unset.
#[test]
fn an_empty_variable_counts_as_unset() {
    let project = project("empty-variable");
    for name in ["TARGET_TEST_POOL", "TARGET_TEST_PLAYBOOK"] {
        for words in [&["targets"][..], &["list"], &["check"]] {
            project.tool(words).env(name, "").run().code(0);
        }
    }
    assert!(project.private("state/cargo-target-test").exists());
}

/// A playbook can be checked outside a workspace.
#[test]
fn a_playbook_is_checked_outside_a_workspace() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |arguments: &[&str]| {
        crate::support::Tool::new(folder.path(), folder.path())
            .args(["check"])
            .args(arguments)
            .run()
    };
    check(&[]).code(0).says("name = \"local\"");
    let playbook = "[[targets]]\nname = \"b\"\nplatform = \"local\"\n";
    std::fs::write(folder.path().join("target-test.toml"), playbook).expect("a playbook");
    check(&[]).code(0).says("name = \"b\"");
    check(&["--playbook", "target-test.toml"])
        .code(0)
        .says("name = \"b\"");
    check(&["--playbook", "none.toml"]).code(78);
}

/// The built-in mode for CI writes below Cargo's target directory, wherever that is.
#[test]
fn the_report_of_mode_ci_is_in_the_target_directory() {
    let project = project("mode-ci");
    let folder = project.private("elsewhere").display().to_string();
    let explain = ["--mode", "ci", "--explain"];
    let report = format!("--junit={folder}/target-test/junit.xml");
    project
        .tool(explain)
        .env("CARGO_TARGET_DIR", &folder)
        .run()
        .code(0)
        .says(&report);
    project
        .tool(explain)
        .args(["--target-dir", &folder])
        .run()
        .code(0)
        .says(&report);
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
