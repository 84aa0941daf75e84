//! The table of nextest's options, held against the nextest that is installed.

use std::{collections::BTreeMap, process::Command};

use cargo_target_test::cli::nextest_options::{OPTIONS, OptionValue};

use crate::support::{Project, Tool};

/// The options that `cargo nextest run --help` shows: name, and whether it takes a value.
fn shown(help: &str) -> BTreeMap<String, &'static str> {
    let options = help
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with('-'));
    options.filter_map(shape).collect()
}

/// `-j, --test-threads <N>` is (`test-threads`, one).
fn shape(line: &str) -> Option<(String, &'static str)> {
    let name_end = |text: &str| text.find([' ', '[', '.']).unwrap_or(text.len());
    let (name, rest) = match line.split_once("--") {
        Some((before, long)) if before.is_empty() || before.ends_with(", ") => {
            long.split_at(name_end(long))
        }
        _ => line.strip_prefix('-')?.split_at(1),
    };
    let value = match rest.trim_start() {
        "" => "none",
        "..." => "repeated",
        rest if rest.starts_with("[=<") => "optional",
        rest if rest.starts_with('<') => "one",
        _ => return None,
    };
    Some((name.to_owned(), value))
}

fn table() -> BTreeMap<String, &'static str> {
    let row = |long: &str, value: OptionValue| {
        let value = match value {
            OptionValue::Flag => "none",
            OptionValue::Repeated => "repeated",
            OptionValue::One(_) => "one",
            OptionValue::Optional(_) => "optional",
        };
        (long.to_owned(), value)
    };
    let ours = [
        row("help", OptionValue::Flag),
        row("verbose", OptionValue::Flag),
    ];
    OPTIONS
        .iter()
        .map(|option| row(option.long, option.value))
        .chain(ours)
        .collect()
}

#[test]
fn the_table_is_what_nextest_offers() {
    let output = Command::new("cargo")
        .args(["nextest", "run", "--help"])
        .output();
    let help = match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        _ => {
            eprintln!("skipped: cargo-nextest is not installed");
            return;
        }
    };
    assert_eq!(table(), shown(&help));
    for option in OPTIONS {
        for alias in option.aliases {
            assert!(
                accepted(alias, option.value),
                "nextest does not know `--{alias}`"
            );
        }
        if let Some(short) = option.short {
            assert!(
                help.contains(&format!("-{short}, --{}", option.long)),
                "-{short}"
            );
        }
    }
}

/// True if nextest accepts `--name`. `--help` after the option prevents a run.
fn accepted(name: &str, value: OptionValue) -> bool {
    let mut command = Command::new("cargo");
    command.args(["nextest", "run"]).arg(format!("--{name}"));
    if matches!(value, OptionValue::One(_)) {
        command.arg("1");
    }
    command
        .arg("--help")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Results that cannot be printed are an error of every verb that prints some; a closed pipe is not.
#[test]
fn a_full_disk_below_standard_output_is_an_error() {
    let project =
        Project::new("full").test_file("cases", "#[target_test]\nfn works(_: &Target) {}\n");
    let into = |output: &str, words: &str| {
        let line = format!("\"$TARGET_TEST_TOOL\" {words} {output}");
        project.through("sh").args(["-c", &line]).run()
    };
    project.run(&["--keep-targets"]).code(0);
    for words in [
        "--help",
        "-h",
        "help",
        "--version",
        "list --help",
        "schema",
        "check",
        "check --json",
        "list",
        "list --json",
        "list --stats",
        "targets",
        "targets --json",
        "--mode ci --explain",
        "targets -v",
        "exec local -- echo a",
        "help playbook",
        "help playbook pool",
        "completions bash",
        "up local",
        "pool enable local-0",
    ] {
        let full = into(">/dev/full", words).code(70);
        full.says("error: failed to write to standard output: No space left on device");
        into("| :", words).code(0).never_says("error");
    }
    project.run(&["--delete-targets"]).code(0);
}

/// Text of a test cannot drive the terminal.
#[test]
fn control_characters_of_a_test_are_escaped() {
    let body = r#"
        #[target_test(expect_fail = "because\x1b[2J")]
        fn fails(_: &Target) { panic!("a") }
        #[target_test]
        fn skips(_: &Target) { skip!("no\x1b]0;title\x07\u{9b}31m") }
        #[target_test(skip = "never\x1b[2J")]
        fn is_skipped(_: &Target) {}
    "#;
    let project = Project::new("control").test_file("cases", body);
    for words in [
        &["--success-output", "immediate"][..],
        &["list"],
        &["list", "--stats"],
    ] {
        let seen = project.run(words).code(0);
        let text = seen.stdout + &seen.stderr;
        // A skip is printed by the test itself, too.
        let ours = text
            .lines()
            .filter(|line| !line.contains("skipped: ") || line.contains("target-test"));
        for line in ours {
            assert!(
                !line.contains(|one: char| one.is_control() && one != '\t'),
                "{line:?}"
            );
        }
        assert!(
            words == ["list", "--stats"] || text.contains(r"\u{1b}[2J"),
            "{text}"
        );
    }
}

#[test]
fn the_terminal_shows_the_playbooks_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = |words: &[&str]| {
        let tool = Tool::new(folder.path(), folder.path());
        tool.args(["help", "playbook"]).args(words).run()
    };
    help(&[]).code(0).says("[pool]\n").says("  keep-for: ");
    let key = help(&["recipes.steps"]).code(0);
    assert_eq!(
        key.stdout,
        "[recipes.NAME]\n  steps: array of tables (required)\n      The steps, run in this order.\n"
    );
    help(&["memroy"])
        .code(2)
        .says("error: a playbook has no key `memroy`")
        .says("hint: did you mean `memory`?");
}

#[test]
fn every_shell_has_completions() {
    let folder = tempfile::tempdir().expect("a folder");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let tool = Tool::new(folder.path(), folder.path());
        let script = tool.args(["completions", shell]).run().code(0);
        script
            .says("keep-targets")
            .says("playbook")
            .says("fail-fast")
            .never_says("panicked");
    }
    // Bash reads it, and completes.
    let script = format!(
        "source <({} target-test completions bash) || exit 3
         COMP_WORDS=(cargo-target-test run --keep-t) COMP_CWORD=2
         complete -p cargo-target-test >&2 && _cargo_target_test cargo-target-test --keep-t run && echo \"${{COMPREPLY[@]}}\"",
        env!("CARGO_BIN_EXE_cargo-target-test")
    );
    let bash = Command::new("bash")
        .args(["-c", &script])
        .output()
        .expect("bash");
    assert_eq!(
        String::from_utf8_lossy(&bash.stdout).trim(),
        "--keep-targets"
    );
}
