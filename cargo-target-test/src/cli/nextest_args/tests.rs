//! Tests of the arguments for each of the three nextest calls.

use std::collections::HashSet;

use clap::{Args, Command, FromArgMatches};

use super::*;
use crate::{cli::nextest_options::OPTIONS, error::ErrorKind};

fn parse(line: &str) -> NextestArgs {
    let command = NextestArgs::augment_args(Command::new("x"));
    let words = shlex::split(line).expect("a line that a shell would take");
    NextestArgs::from_arg_matches(&command.try_get_matches_from(words).expect(line))
        .expect("always")
}

fn words(args: &NextestArgs, class: Class) -> Vec<String> {
    let words = args.words(class).into_iter();
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn every_option_goes_where_its_class_says_in_the_order_given() {
    let args = parse(
        "x -p a --retries 2 smoke -E=-x --profile ci --release -pb -Zq --timings --timings=html \
         --jobs=-1 --cargo-quiet --cargo-quiet --nextest-arg --new --debugger 'gdb --args' -- y --skip z --nocapture",
    );
    assert_eq!(
        words(&args, Class::Build),
        [
            "--package=a",
            "--profile=ci",
            "--release",
            "--package=b",
            "-Zq",
            "--timings",
            "--timings=html",
            "--cargo-quiet",
            "--cargo-quiet"
        ]
    );
    assert_eq!(
        words(&args, Class::Selection),
        [
            "--filterset=-x",
            "--profile=ci",
            "smoke",
            "--",
            "y",
            "--skip",
            "z"
        ]
    );
    assert_eq!(
        words(&args, Class::Run),
        [
            "--retries=2",
            "--profile=ci",
            "--test-threads=-1",
            "--no-capture",
            "--new"
        ]
    );
    assert_eq!(args.value("debugger"), Some(OsStr::new("gdb --args")));
    assert!(args.has("no-capture") && !args.has("no-run"));
    assert_eq!(args.filtersets().collect::<Vec<_>>(), ["-x"]);
}

#[test]
fn programs_are_built_with_the_options_of_the_tests() {
    let line = "x --cargo-profile ci --build-jobs 3 -p a -F b,c --lib --target t --target-dir d --locked --retries 2 \
                --config net.offline=true -P nextests --cargo-message-format short";
    assert_eq!(
        parse(line).of_cargo_build(),
        [
            "--profile=ci",
            "--jobs=3",
            "--package=a",
            "--features=b,c",
            "--locked",
            "--config=net.offline=true"
        ]
    );
}

#[test]
fn exact_names_are_those_of_exact() {
    assert_eq!(
        parse("x -- a --exact --skip b c --ignored").exact_names(),
        ["a", "c"]
    );
    assert!(parse("x b -- a --skip --exact").exact_names().is_empty());
    assert_eq!(
        parse("x -- --skip --nocapture").after_dashes,
        ["--skip", "--nocapture"]
    );
}

#[test]
fn what_we_give_nextest_ourselves_is_refused() {
    for line in [
        "x --cargo-metadata f",
        "x --unit-graph",
        "x --rerun latest",
        "x --archive-file a.tar.zst",
        "x --workspace-remap d",
        "x --cargo-message-format json",
    ] {
        let error = parse(line)
            .refuse_unsupported()
            .map_err(|error| error.kind());
        assert_eq!(error, Err(ErrorKind::Usage), "{line}");
    }
    assert!(
        parse("x --cargo-message-format short -p a")
            .refuse_unsupported()
            .is_ok()
    );
}

#[test]
fn no_name_stands_twice_in_the_table() {
    let mut seen = HashSet::new();
    for option in OPTIONS {
        assert!(seen.insert(option.long.to_owned()), "{}", option.long);
        assert!(
            option
                .aliases
                .iter()
                .all(|alias| seen.insert((*alias).to_owned())),
            "{}",
            option.long
        );
        assert!(
            option
                .short
                .is_none_or(|short| seen.insert(short.to_string())),
            "{}",
            option.long
        );
    }
}
