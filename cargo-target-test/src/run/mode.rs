//! Modes: named sets of command-line options, built in or from the playbook.
//!
//! Must not know what the options do.

use std::{borrow::Cow, ffi::OsString, path::Path};

use crate::{
    cli::{Cli, Global, RunArgs, TestArgs, Verb},
    error::{Error, Result},
    playbook::{self, BUILT_IN_MODES, Playbook},
};

/// Cargo's target directory, in the options of built-in modes.
const TARGET_DIRECTORY: &str = "[target-dir]";

/// Options of the built-in modes, in the order of [`BUILT_IN_MODES`].
const BUILT_IN: [&[&str]; 4] = [
    &["--verbose", "--keep-targets"],
    &["--verbose", "--no-capture", "--shell-on-failure"],
    &[
        "--status-level=fail",
        "--final-status-level=fail",
        "--show-progress=none",
        "--summary=failures",
        "--junit=[target-dir]/target-test/junit.xml",
    ],
    &["--cargo-quiet", "--summary=table"],
];

/// Checks the options of all modes of a playbook.
///
/// # Errors
/// [`ErrorKind::Playbook`](crate::ErrorKind::Playbook) for invalid options.
pub fn check(playbook: &Playbook) -> Result<()> {
    let modes = playbook.rules.modes.iter();
    modes
        .map(|(name, mode)| parse(name, &mode.options))
        .try_for_each(|parsed| parsed.map(drop))
}

/// Returns the mode of the command line, else the mode of the chosen scenarios.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the scenarios have different modes.
pub(super) fn name(tests: &TestArgs, playbook: &Playbook) -> Result<Option<String>> {
    let choosing = &tests.choosing;
    if choosing.mode.is_some() {
        return Ok(choosing.mode.clone());
    }
    let scenarios = playbook::chosen_scenarios(&playbook.rules.scenarios, &choosing.scenario)?;
    let mut modes = scenarios
        .iter()
        .filter_map(|scenario| scenario.mode.clone());
    let first = modes.next();
    match modes.find(|mode| Some(mode) != first.as_ref()) {
        None => Ok(first),
        Some(other) => {
            let first = first.unwrap_or_default();
            let message = format!("the scenarios have different modes: `{first}` and `{other}`");
            Err(Error::usage(message).with_hint("choose one with `--mode`"))
        }
    }
}

/// Returns the options of a mode, as typed, with paths in Cargo's target directory `target`. A mode of the playbook
/// hides the built-in mode of the same name.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) for an unknown mode.
pub(super) fn words(name: &str, playbook: &Playbook, target: &Path) -> Result<Vec<String>> {
    if let Some(mode) = playbook.rules.modes.get(name) {
        return Ok(mode.options.clone());
    }
    let own = BUILT_IN_MODES.iter().position(|known| *known == name);
    let target = target.display().to_string();
    let typed = |word: &&str| word.replace(TARGET_DIRECTORY, &target);
    own.map(|at| BUILT_IN[at].iter().map(typed).collect())
        .ok_or_else(|| {
            let names = playbook.rules.modes.keys().map(String::as_str);
            let known = playbook::known_modes(names.collect());
            playbook::unknown_name("mode", name, &known)
        })
}

/// Quotes a word for a shell if necessary.
pub(crate) fn typed(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,./:@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into(),
        false => shlex::try_quote(word).unwrap_or(Cow::Borrowed(word)),
    }
}

/// Parses a mode's options like a command line.
///
/// # Errors
/// [`ErrorKind::Playbook`](crate::ErrorKind::Playbook) for options that are not allowed in a mode.
pub(super) fn parse(name: &str, words: &[String]) -> Result<(Global, RunArgs)> {
    let wrong = |why: &str| Error::playbook(format!("mode `{name}`: {why}"));
    let line = ["cargo-target-test", "run"].into_iter().map(OsString::from);
    let line = line.chain(words.iter().map(OsString::from));
    let cli = Cli::parse(line).map_err(|error| {
        let text = error.render().to_string();
        let first = text.lines().next().unwrap_or_default();
        wrong(first.trim_start_matches("error: "))
    })?;
    let Verb::Run(run) = cli.verb else {
        return Err(wrong("a mode cannot contain a verb"));
    };
    let alone = run.delete_targets
        || run.tests.choosing.mode.is_some()
        || words
            .iter()
            .any(|word| word.starts_with("--playbook") || word.starts_with("--pool"));
    match alone {
        true => Err(wrong(
            "`--mode`, `--playbook`, `--pool` and `--delete-targets` are not allowed in a mode",
        )),
        false => Ok((cli.global, *run)),
    }
}

/// Adds a mode's options with lower precedence than typed options.
pub(super) fn add_mode(global: &mut Global, typed: &mut RunArgs, mode: Global, run: RunArgs) {
    global.verbose = global.verbose.max(mode.verbose);
    global.set.splice(0..0, mode.set);
    typed.keep_targets = typed.keep_targets.or(run.keep_targets);
    typed.shell_on_failure |= run.shell_on_failure;
    if !typed.tests.nextest.has("partition") {
        typed.partitions = typed.partitions.or(run.partitions);
    }
    typed.infra_exit_code = typed.infra_exit_code.or(run.infra_exit_code);
    typed.timeout = typed.timeout.or(run.timeout);
    typed.durations = typed.durations.or(run.durations);
    typed.durations_min = typed.durations_min.or(run.durations_min);
    typed.summary = typed.summary.or(run.summary);
    typed.junit = typed.junit.take().or(run.junit);
    typed.tests.all_tests |= run.tests.all_tests;
    typed.tests.choosing.go_before(run.tests.choosing);
    typed.tests.nextest.go_before(run.tests.nextest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::KeepTargets, error::ErrorKind};

    fn run(line: &[&str]) -> RunArgs {
        let line = [&["x", "run"], line].concat();
        match Cli::parse(line.into_iter().map(OsString::from))
            .expect("a line")
            .verb
        {
            Verb::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    fn merged(typed: &[&str], mode: &[&str]) -> RunArgs {
        let (mut global, mut typed) = (Global::default(), run(typed));
        add_mode(&mut global, &mut typed, Global::default(), run(mode));
        typed
    }

    #[test]
    fn what_is_typed_goes_before() {
        let both = merged(
            &["--retries", "1", "--fail-fast", "--order", "random", "a"],
            &[
                "--keep-targets",
                "--retries=2",
                "--no-fail-fast",
                "-j2",
                "--on=x",
                "--order=planned",
                "b",
            ],
        );
        assert_eq!(both.keep_targets, Some(KeepTargets::All));
        let nextest = &both.tests.nextest;
        assert_eq!(
            nextest.value("retries").and_then(|value| value.to_str()),
            Some("1")
        );
        assert!(nextest.has("fail-fast") && !nextest.has("no-fail-fast"));
        assert_eq!(
            nextest
                .value("test-threads")
                .and_then(|value| value.to_str()),
            Some("2")
        );
        assert_eq!(nextest.filters, ["b", "a"]);
        assert_eq!(both.tests.choosing.on, ["x"]);
        assert_eq!(
            both.tests.choosing.order,
            Some(crate::cli::OrderArg::Random)
        );
    }

    #[test]
    fn every_built_in_mode_can_be_typed() {
        for (name, words) in BUILT_IN_MODES.into_iter().zip(BUILT_IN) {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            parse(name, &words).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    #[test]
    fn a_wrong_mode_is_the_playbooks_mistake() {
        for (words, why) in [
            (&["--retires=2"][..], "unexpected argument '--retires'"),
            (&["--mode=ci"], "are not allowed in a mode"),
            (&["--delete-targets"], "are not allowed in a mode"),
            (&["--playbook=x"], "are not allowed in a mode"),
        ] {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            let error = parse("mine", &words).expect_err("wrong");
            assert_eq!(error.kind(), ErrorKind::Playbook);
            let text = error.to_string();
            assert!(
                text.starts_with("mode `mine`: ") && text.contains(why),
                "{text}"
            );
        }
    }
}
