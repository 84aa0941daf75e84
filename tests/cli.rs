//! The table of nextest's options, held against the nextest that is installed.

use std::{collections::BTreeMap, process::Command};

use cargo_target_test::cli::nextest_options::{OPTIONS, OptionValue};

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
