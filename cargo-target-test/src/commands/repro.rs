//! `repro`: prints the command that runs a case of an earlier run again, and what differs now.
//!
//! The description is in lines that start with `#`, so that a shell can read the whole output.

use std::path::Path;

use super::history::Recorded;
use crate::{
    aggregate::history::{CaseKey, History, PastRun},
    cli::{Global, ReproArgs},
    error::{Error, Result},
    inventory,
    playbook::{self, Playbook},
    provision::platform::Platforms,
    run::{checkout, mode, workspace::Workspace},
    run_event::RunOrigin,
    ui,
};

/// The start of the option that overrides a value of the playbook.
const SET: &str = "--set=";

/// Runs the verb.
///
/// # Errors
/// If the history cannot be read, or does not have the run and the case.
pub fn verb(platforms: &Platforms, global: &Global, args: &ReproArgs) -> Result<u8> {
    let recorded = Recorded::find(platforms, global)?;
    let now = checkout::find_origin(&recorded.workspace.root);
    let history = recorded.open()?;
    let run = history.run(&recorded.repository, &args.run)?;
    let case = find(&history, &run, &args.case)?;
    describe(&history, &run, &case)?;
    ui::out(command(global, &run, &case));
    let now = now.wait().unwrap_or_default();
    warn_of_changes(&run, &now);
    warn_of_playbook(platforms, &recorded.workspace.playbook, &run);
    if let Some((path, Some(digest))) = history.binary(&run, &case.binary)?
        && inventory::binary_digest(&path).is_some_and(|now| now != digest)
    {
        let path = path.display();
        ui::warn(format!(
            "`{path}` is not the test binary of the run any more"
        ));
    }
    warn_of_images(&recorded.workspace, &history, &run, &case)?;
    Ok(0)
}

/// Compares the files and images that instances are made from.
fn warn_of_images(
    workspace: &Workspace,
    history: &History,
    run: &PastRun,
    case: &CaseKey,
) -> Result<()> {
    let (label, instances) = history.place(run, case)?;
    let target = label.map(|label| history.target(run, &label)).transpose()?;
    let (Some(Some((target, _))), Some(instance)) = (target, instances.first()) else {
        return Ok(());
    };
    let facts = history.facts(run, instance)?;
    let specs = workspace.specs()?.into_iter();
    for (platform, spec) in specs.filter(|(_, spec)| spec.target == target).take(1) {
        for (key, now) in platform.digests(&spec) {
            let then = facts.get(&format!("digest.{key}"));
            if then.is_some_and(|then| *then != now) {
                ui::warn(format!(
                    "`{key}` of target `{target}` is another one now: {now}"
                ));
            }
        }
    }
    Ok(())
}

/// Finds a case of a run by its name or a part of it.
fn find(history: &History, run: &PastRun, name: &str) -> Result<CaseKey> {
    let cases: Vec<_> = history.cases(run)?.into_keys().collect();
    let exact: Vec<_> = cases.iter().filter(|case| case.name == name).collect();
    let found = match exact.is_empty() {
        false => exact,
        true => {
            let has = |case: &&CaseKey| case.name.contains(name) || shown(case) == name;
            cases.iter().filter(has).collect()
        }
    };
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(Error::usage(format!(
            "run `{}` has no case `{name}`",
            run.run
        ))),
        several => {
            let names: Vec<_> = several.iter().map(|case| shown(case)).collect();
            let message = format!("`{name}` is a part of several names");
            Err(Error::usage(message).with_hint(names.join(", ")))
        }
    }
}

/// The binary and the name, by which a case is unique.
fn shown(case: &CaseKey) -> String {
    format!("{} {}", case.binary, case.name)
}

fn describe(history: &History, run: &PastRun, case: &CaseKey) -> Result<()> {
    let say = |key: &str, value: &str| ui::out(format!("# {key}: {value}"));
    let started = humantime::format_rfc3339_seconds(run.started);
    say("case", &shown(case));
    say("run", &format!("{}, {started}", run.run));
    if let Some(revision) = &run.revision {
        let changes = match run.dirty {
            Some(true) => ", with changes that are not committed",
            _ => "",
        };
        say("commit", &format!("{revision}{changes}"));
    }
    let playbook = run.playbook.as_deref().unwrap_or("built in");
    let hash = run.playbook_hash.as_deref().unwrap_or("unknown");
    say("playbook", &format!("{playbook}, hash {hash}"));
    let known = [
        ("rustc", &run.rustc),
        ("host", &run.host),
        ("seed", &run.seed),
    ];
    for (key, value) in known {
        if let Some(value) = value {
            say(key, value);
        }
    }
    if let Some((_, Some(digest))) = history.binary(run, &case.binary)? {
        say("test binary", &digest);
    }
    let (label, instances) = history.place(run, case)?;
    if let Some(label) = &label
        && let Some((_, definition)) = history.target(run, label)?
    {
        say("target", &format!("{label}, definition {definition}"));
    }
    for instance in instances {
        let facts = history.facts(run, &instance)?;
        let facts: Vec<_> = facts
            .iter()
            .map(|(key, fact)| format!("{key}={fact}"))
            .collect();
        say(&instance, &facts.join(", "));
    }
    Ok(())
}

/// The one command.
fn command(global: &Global, run: &PastRun, case: &CaseKey) -> String {
    let mut words = vec!["cargo".to_owned(), crate::cli::subcommand().to_owned()];
    let recorded = run
        .playbook
        .as_ref()
        .filter(|path| Path::new(path).exists());
    let typed = global
        .typed_playbook()
        .map(|path| path.display().to_string());
    if let Some(path) = typed.or_else(|| recorded.cloned()) {
        words.extend(["--playbook".to_owned(), path]);
    }
    words.extend(run.options.iter().cloned());
    if let Some(seed) = &run.seed {
        words.push(format!("--seed={seed}"));
    }
    let binary = format!("binary_id(={})", case.binary);
    words.extend(["-E", &binary, "--", "--exact", &case.name].map(str::to_owned));
    let typed: Vec<_> = words.iter().map(|word| mode::typed(word)).collect();
    typed.join(" ")
}

fn warn_of_changes(run: &PastRun, now: &RunOrigin) {
    if let (Some(then), Some(commit)) = (&run.revision, &now.revision)
        && then != commit
    {
        ui::warn(format!(
            "the commit differs: it is `{commit}` now (`git checkout {then}`)"
        ));
    }
    if run.dirty == Some(true) {
        ui::warn("the run had changes that are not in its commit");
    }
    if now.dirty == Some(true) {
        ui::warn("the working copy has changes that are not committed");
    }
    for (what, then, now) in [
        ("compiler", &run.rustc, &now.rustc),
        ("host", &run.host, &now.host),
    ] {
        if let (Some(then), Some(now)) = (then, now)
            && then != now
        {
            ui::warn(format!("the {what} differs: it is `{now}` now"));
        }
    }
}

/// Compares the playbook with that of the run, with the same values of `--set`.
fn warn_of_playbook(platforms: &Platforms, playbook: &Playbook, run: &PastRun) {
    let sets = run.options.iter().filter_map(|word| word.strip_prefix(SET));
    let sets: Vec<_> = sets.map(str::to_owned).collect();
    let recorded = run.playbook.as_ref().map(Path::new);
    let path = recorded
        .filter(|path| path.exists())
        .or(playbook.path.as_deref());
    let now = playbook::load(path, &sets, &platforms.syntax());
    match (now, &run.playbook_hash) {
        (Ok(now), Some(then)) if now.hash() != *then => {
            ui::warn(format!(
                "the playbook differs: its hash is {} now",
                now.hash()
            ));
        }
        (Err(_), _) => ui::warn("the playbook of the run cannot be read any more"),
        _ => {}
    }
}
