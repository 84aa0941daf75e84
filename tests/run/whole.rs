//! All that a run prints, from its first line to its last, against a golden file.
//!
//! Owns what is not the same in every run: times, numbers of processes, temporary folders. `SNAPSHOTS=overwrite` writes
//! the file anew.

use std::path::Path;

use regex::Regex;

use super::world::World;

/// Two targets that serve, one that cannot be prepared.
const PLAYBOOK: &str = r#"
[platforms.local]
inherit-env = ["SCRATCH"]

[recipes.broken]
steps = [{ run = "echo 'no such package' >&2; exit 3" }]

[[targets]]
name = "east"
platform = "local"
count = 2
capabilities = { memory = "1 GiB" }

[[targets]]
name = "west"
platform = "local"
count = 1
capabilities = { memory = "16 GiB" }

[[targets]]
name = "broken"
platform = "local"
recipe = "broken"
count = 1
retries = 0
"#;

#[test]
fn a_whole_run_reads_well() {
    let tests = include_str!("../crates/run/whole.rs");
    let world = World::of("whole", "\n[workspace]\n", &[("tests/whole.rs", tests)]);
    world.file("target-test.toml", PLAYBOOK);
    let run = world.run(&["-j1"]).code(100);
    let shown = format!("{}--- standard error\n{}", run.stdout, run.stderr);
    snapbox::assert_data_eq!(normalised(&shown), snapbox::file!["whole.txt"]);
    world.is_clean();
}

/// The text without what differs from run to run, and from machine to machine.
fn normalised(text: &str) -> String {
    let tool = Path::new(env!("CARGO_BIN_EXE_cargo-target-test"));
    let built = tool.parent().expect("a folder").display().to_string();
    let rules = [
        (r"/tmp/tt-\w+", "[PRIVATE]"),
        (r"/run/target-test-\w+", "/run/[RUN]"),
        (r"target\.\S+\.runner", "target.[HOST].runner"),
        (r"/\S+/target-test/\S+/report\.html", "[RUN]/report.html"),
        // Another test may have Cargo's locks.
        (r"(?m)^ +Blocking .*\n", ""),
        (r"(?m)^ +Finished .*$", "    Finished [BUILD]"),
        (r"run ID \S+", "run ID [RUN]"),
        (r"\[ *[0-9.]+s\]|\b\d+\.\d+s\b", "[TIME]"),
        (r"(?m) +\d+\.\d$", " [TIME]"),
        (
            r"thread '(\w+)'( \(\d+\))? panicked",
            "thread '$1' panicked",
        ),
    ];
    let mut text = text.replace(&built, "[BUILT]");
    for (pattern, word) in rules {
        let pattern = Regex::new(pattern).expect("a pattern");
        text = pattern.replace_all(&text, word).into_owned();
    }
    // Deploys go on beside nextest: what is said of one in between comes first.
    let is_beside = |line: &&str| line.starts_with("target-test: broken-0: recipe");
    let (mut lines, rest): (Vec<_>, Vec<_>) = text.lines().partition(is_beside);
    lines.extend(rest);
    lines.join("\n") + "\n"
}
