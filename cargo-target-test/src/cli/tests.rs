//! Tests of parsing command lines, of help texts and of usage errors.

use super::*;

fn parse(line: &str) -> Result<Cli, String> {
    let words = shlex::split(line).expect("a line that a shell would take");
    Cli::parse(words.into_iter().map(OsString::from)).map_err(|error| error.to_string())
}

fn run(line: &str) -> RunArgs {
    match parse(line) {
        Ok(Cli {
            verb: Verb::Run(run),
            ..
        }) => *run,
        other => panic!("`{line}` is {other:?}"),
    }
}

#[test]
fn clap_finds_no_fault() {
    command().debug_assert();
}

#[test]
fn run_is_the_default_verb_and_a_first_word_that_is_no_verb_a_filter() {
    for line in [
        "x smoke",
        "x target-test smoke",
        "x run smoke",
        "cargo-target-test target-test run smoke",
        "x --playbook list smoke",
        "x -v --set list smoke -v",
    ] {
        assert_eq!(run(line).tests.nextest.filters, ["smoke"], "{line}");
    }
    assert_eq!(run("x smoke list").tests.nextest.filters, ["smoke", "list"]);
    assert_eq!(run("x run list").tests.nextest.filters, ["list"]);
    assert_eq!(
        run("x -r smoke run -j 2 list").tests.nextest.filters,
        ["smoke", "run", "list"]
    );
    assert_eq!(run("x -p list -rp list").tests.nextest.filters, [""; 0]);
    assert_eq!(
        run("x -- list --exact").tests.nextest.after_dashes,
        ["list", "--exact"]
    );
    assert!(run("x").tests.nextest.filters.is_empty());
}

#[test]
fn a_verb_is_found_behind_options() {
    for line in [
        "x list --json",
        "x --playbook p.toml -j 2 list --json",
        "x target-test -v list --json smoke",
    ] {
        assert!(
            matches!(parse(line).map(|cli| cli.verb), Ok(Verb::List(list)) if list.json),
            "{line}"
        );
    }
    assert!(
        matches!(parse("x --pool d targets --json"), Ok(Cli { verb: Verb::Targets(TargetsArgs { json: true, .. }), global }) if global.pool.is_some())
    );
    assert!(matches!(
        parse("x broker --ensure --pool d"),
        Ok(Cli {
            verb: Verb::Broker(BrokerArgs { ensure: true }),
            ..
        })
    ));
    assert!(
        matches!(parse("x check --set a=b --set c=d"), Ok(Cli { verb: Verb::Check(_), global }) if global.set == ["a=b", "c=d"])
    );
}

#[test]
fn deleting_takes_no_filters_and_all_is_ours_then() {
    assert!(run("x --delete-targets --all --force").delete_all());
    assert!(!run("x --all").delete_all());
    for line in [
        "x --delete-targets smoke",
        "x --delete-targets --keep-targets",
        "x --force",
        "x --force smoke",
        "x --force --keep-targets",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn an_unknown_option_names_the_nearest() {
    let error = parse("x --relaese").unwrap_err();
    assert!(error.contains("--release"), "{error}");
    let error = parse("x list --jsn").unwrap_err();
    assert!(error.contains("--json"), "{error}");
}

#[test]
fn a_slip_shows_what_there_is_to_type() {
    for line in ["x lease", "x lease --pool d", "x lease --hlod"] {
        let error = parse(line).unwrap_err();
        let usage = "Usage: cargo target-test lease [OPTIONS] <INSTANCE>\n";
        assert!(error.contains(usage), "{error}");
    }
}

#[test]
fn targets_are_kept_all_or_where_a_case_failed() {
    for (line, kept) in [
        ("x", None),
        ("x --keep-targets failed", Some(KeepTargets::All)),
        ("x --keep-targets=all", Some(KeepTargets::All)),
        ("x --keep-targets=failed", Some(KeepTargets::Failed)),
    ] {
        assert_eq!(run(line).keep_targets, kept, "{line}");
    }
}

#[test]
fn help_is_of_verbs_and_of_the_playbook() {
    let key = |line| match parse(line).map(|cli| cli.verb) {
        Ok(Verb::HelpPlaybook { key }) => key,
        other => panic!("`{line}` is {other:?}"),
    };
    assert_eq!(key("x help playbook"), None);
    assert_eq!(
        key("x target-test -v help playbook memory").as_deref(),
        Some("memory")
    );
    for (line, same) in [
        ("x help", "x --help"),
        ("x help pool forget", "x pool forget --help"),
        ("x help run", "x run --help"),
    ] {
        assert_eq!(parse(line).unwrap_err(), parse(same).unwrap_err(), "{line}");
    }
    let error = parse("x help shel").unwrap_err();
    assert!(error.contains("'shell'"), "{error}");
}

#[test]
fn help_is_complete() {
    let long = parse("x --help").unwrap_err();
    for part in [
        "--delete-targets",
        "--partition",
        "Exit codes",
        "Verbs",
        "--nextest-arg",
    ] {
        assert!(long.contains(part), "{part}\n{long}");
    }
    let short = parse("x -h").unwrap_err();
    assert!(
        short.contains("--keep-targets") && !short.contains("--partition"),
        "{short}"
    );
    assert!(!parse("x list --help").unwrap_err().contains("--retries"));
    assert!(!long.contains("broker"), "{long}");
}
