//! Modes: options under one name, as if they had been typed.
//!
//! Owns the names that need no playbook, and how what is typed goes before a mode's. Must not know what options do.

use std::{borrow::Cow, ffi::OsString, path::Path};

use crate::{
    cli::{Cli, Global, RunArgs, TestArgs, Verb},
    commands::setting::Setting,
    error::{Error, ErrorKind, Result},
    playbook::{self, BUILT_IN_MODES, Playbook},
    provision::platform::Platforms,
    ui,
};

/// What the modes stand for that need no playbook, in the order of their names there.
const BUILT_IN: [&[&str]; 4] = [
    &["--verbose", "--keep-targets"],
    &["--verbose", "--no-capture", "--shell-on-failure"],
    &[
        "--status-level=fail",
        "--final-status-level=fail",
        "--show-progress=none",
        "--junit=target/target-test/junit.xml",
    ],
    &[
        "--status-level=none",
        "--final-status-level=none",
        "--show-progress=none",
        "--failure-output=never",
        "--cargo-quiet",
    ],
];

/// Puts the options of the mode that is asked for, or of the chosen scenarios' mode, below those that were typed.
/// `None`: the mode was only to be explained.
///
/// # Errors
/// [`ErrorKind::Usage`] for a mode that there is not, [`ErrorKind::Playbook`] for one whose options are wrong.
pub fn apply(platforms: &Platforms, cli: Cli) -> Result<Option<Cli>> {
    let Some(tests) = cli.verb.tests() else {
        return Ok(Some(cli));
    };
    let choosing = &tests.choosing;
    if choosing.mode.is_none() && choosing.scenario.is_empty() {
        return Ok(Some(cli));
    }
    let Setting {
        workspace,
        playbook,
        ..
    } = Setting::find(platforms, &cli.global, &tests.nextest)?;
    let Some(name) = name(tests, &playbook)? else {
        return Ok(Some(cli));
    };
    let words = words(&name, &playbook)?;
    if choosing.explain {
        let shown: Vec<_> = words.iter().map(|word| typed(word)).collect();
        ui::out(shown.join(" "));
        return Ok(None);
    }
    let (global, mut run) = parse(&name, &words)?;
    start_paths_at(&mut run, &workspace);
    Ok(Some(below(cli, (global, run))))
}

/// Reads the options of every mode that a playbook has.
///
/// # Errors
/// [`ErrorKind::Playbook`] for one that cannot be typed.
pub fn check(playbook: &Playbook) -> Result<()> {
    let modes = playbook.rules.modes.iter();
    modes
        .map(|(name, mode)| parse(name, &mode.options))
        .try_for_each(|parsed| parsed.map(drop))
}

/// The mode that is typed, else that of the scenarios.
fn name(tests: &TestArgs, playbook: &Playbook) -> Result<Option<String>> {
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
            let message =
                format!("the scenarios have the modes `{first}` and `{other}`, and a run has one");
            Err(Error::new(ErrorKind::Usage, message).with_hint("`--mode` says which"))
        }
    }
}

/// A playbook's mode goes before one of the same name that needs none.
fn words(name: &str, playbook: &Playbook) -> Result<Vec<String>> {
    if let Some(mode) = playbook.rules.modes.get(name) {
        return Ok(mode.options.clone());
    }
    let own = BUILT_IN_MODES.iter().position(|known| *known == name);
    own.map(|at| BUILT_IN[at].iter().map(|word| (*word).to_owned()).collect())
        .ok_or_else(|| {
            let names = playbook.rules.modes.keys().map(String::as_str);
            let known = playbook::known_modes(names.collect());
            playbook::unknown_name("mode", name, &known)
        })
}

/// A word as it is typed in a shell.
fn typed(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,./:@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into(),
        false => shlex::try_quote(word).unwrap_or(Cow::Borrowed(word)),
    }
}

/// What a mode's options are as a command line.
fn parse(name: &str, words: &[String]) -> Result<(Global, RunArgs)> {
    let wrong = |why: &str| Error::new(ErrorKind::Playbook, format!("mode `{name}`: {why}"));
    let line = ["cargo-target-test", "run"].into_iter().map(OsString::from);
    let line = line.chain(words.iter().map(OsString::from));
    let cli = Cli::parse(line).map_err(|error| {
        let text = error.render().to_string();
        let first = text.lines().next().unwrap_or_default();
        wrong(first.trim_start_matches("error: "))
    })?;
    let Verb::Run(run) = cli.verb else {
        return Err(wrong("a mode has options, no verb"));
    };
    let alone = run.delete_targets
        || run.tests.choosing.mode.is_some()
        || words
            .iter()
            .any(|word| word.starts_with("--playbook") || word.starts_with("--pool"));
    match alone {
        true => Err(wrong(
            "`--mode`, `--playbook`, `--pool` and `--delete-targets` are typed, not named",
        )),
        false => Ok((cli.global, *run)),
    }
}

/// A mode is not typed: its relative paths start at the workspace's root, wherever somebody stands.
fn start_paths_at(run: &mut RunArgs, folder: &Path) {
    run.junit = run.junit.take().map(|path| folder.join(path));
    run.tests.nextest.start_paths_at(folder);
}

/// A mode's options below those that were typed.
fn below(mut cli: Cli, (global, run): (Global, RunArgs)) -> Cli {
    cli.global.verbose = cli.global.verbose.max(global.verbose);
    cli.global.set.splice(0..0, global.set);
    if let Verb::Run(typed) = &mut cli.verb {
        typed.keep_targets |= run.keep_targets;
        typed.shell_on_failure |= run.shell_on_failure;
        if !typed.tests.nextest.has("partition") {
            typed.partitions = typed.partitions.or(run.partitions);
        }
        typed.junit = typed.junit.take().or(run.junit);
    }
    if let Some(typed) = cli.verb.tests_mut() {
        typed.all_tests |= run.tests.all_tests;
        typed.choosing.go_before(run.tests.choosing);
        typed.nextest.go_before(run.tests.nextest);
    }
    cli
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let line = [&["x", "run"], typed].concat();
        let cli = Cli::parse(line.into_iter().map(OsString::from)).expect("a line");
        match below(cli, (Global::default(), run(mode))).verb {
            Verb::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_built_in_mode_can_be_typed() {
        for (name, words) in BUILT_IN_MODES.into_iter().zip(BUILT_IN) {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            parse(name, &words).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
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
        assert!(both.keep_targets);
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
    fn paths_start_at_the_workspace() {
        let mut mode = run(&[
            "--junit=a.xml",
            "--config-file=b.toml",
            "--tool-config-file=c:d.toml",
            "--user-config-file=none",
            "--target-dir=/e",
            "--retries=2",
        ]);
        start_paths_at(&mut mode, Path::new("/w"));
        assert_eq!(mode.junit.as_deref(), Some(Path::new("/w/a.xml")));
        for (option, expected) in [
            ("config-file", "/w/b.toml"),
            ("tool-config-file", "c:/w/d.toml"),
            ("user-config-file", "none"),
            ("target-dir", "/e"),
            ("retries", "2"),
        ] {
            let value = mode.tests.nextest.value(option);
            assert_eq!(value.and_then(|value| value.to_str()), Some(expected));
        }
    }

    #[test]
    fn a_wrong_mode_is_the_playbooks_mistake() {
        for (words, why) in [
            (&["--retires=2"][..], "unexpected argument '--retires'"),
            (&["--mode=ci"], "are typed, not named"),
            (&["--delete-targets"], "are typed, not named"),
            (&["--playbook=x"], "are typed, not named"),
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
