//! `check`: checks the playbook, and prints it resolved, as a playbook with comments that can be read back.
//!
//! Must not resolve anything.

mod environments;
mod rules;

use std::fmt::Write as _;

use serde::Deserialize as _;
use serde_json::Value;

use crate::{
    cli::{CheckArgs, Global, NextestArgs, RunArgs},
    error::{Error, Result},
    execute::nextest::{CargoNextest, Words},
    playbook::{
        EnvironmentParameters, OnDirty, Origin, Playbook, PlaybookTarget, Recipe, Select, flatten,
        is_inside, toml_key,
    },
    provision::{platform::Platforms, pool::Pool},
    run::{
        mode,
        options::RunOptions,
        selection::Selection,
        workspace::{self, Workspace},
    },
    ui,
};

/// Runs the verb: reads the playbook, lets every platform check it without a machine, and prints it.
///
/// # Errors
/// Errors in the playbook.
pub fn verb(platforms: &Platforms, global: &Global, args: &CheckArgs) -> Result<u8> {
    let workspace = Workspace::find(platforms, global)?;
    workspace.check_on_disk()?;
    workspace.check_scenarios()?;
    check_filtersets(platforms, global, &workspace)?;
    mode::check(&workspace.playbook)?;
    if args.tests
        && let Some(options) = RunOptions::resolve(platforms, global, RunArgs::default())?
    {
        Selection::make(options)?;
    }
    warn_of_missing_secrets(&workspace)?;
    warn_of_undeletable(platforms, global, &workspace)?;
    warn_of_unused_networks(&workspace.playbook);
    run(&workspace.playbook, args.json)?;
    Ok(0)
}

/// Lets nextest check the filtersets of scenarios.
fn check_filtersets(platforms: &Platforms, global: &Global, workspace: &Workspace) -> Result<()> {
    let scenarios = workspace.playbook.rules.scenarios.iter();
    let sets =
        scenarios.filter_map(|scenario| Some((&scenario.name, scenario.filterset.as_ref()?)));
    let sets: Vec<_> = sets.collect();
    if sets.is_empty() {
        return Ok(());
    }
    let nextest = CargoNextest::find(Words::default(), false)?;
    let metadata =
        Workspace::with_dependencies(platforms, global, &NextestArgs::default())?.cargo_metadata;
    for (name, set) in sets {
        if let Some(why) = nextest.refuses(set, &metadata)? {
            ui::raw(&why);
            let message = format!("scenario `{name}`: invalid filterset `{set}`");
            return Err(Error::playbook(message));
        }
    }
    Ok(())
}

/// Warns of secrets without a value. They may have a value where the tests run.
fn warn_of_missing_secrets(workspace: &Workspace) -> Result<()> {
    for (platform, spec) in workspace.specs()? {
        for lookup in platform.secrets(&spec)? {
            if let Err(error) = lookup.check() {
                let hint = error.hint().unwrap_or_default();
                ui::warn(format!("{}\nhint: {hint}", error.chain()));
            }
        }
    }
    Ok(())
}

/// Warns of instances in the pool that could not be deleted, because the program for it is missing.
fn warn_of_undeletable(
    platforms: &Platforms,
    global: &Global,
    workspace: &Workspace,
) -> Result<()> {
    let pool = workspace::pool_directory(global)?;
    if !pool.exists() {
        return Ok(());
    }
    let state = Pool::open(&pool)?.state()?;
    let records = state.records.values();
    for record in records.filter(|record| record.workspace == workspace.root) {
        let platform = platforms.known(&record.platform, record.tool.as_deref());
        let checked = platform.and_then(|platform| platform.check_delete(&record.spec));
        if let Err(error) = checked {
            let name = record.name();
            ui::warn(format!("`{name}` cannot be deleted: {}", error.chain()));
        }
    }
    Ok(())
}

/// Warns of networks that connect no machine.
fn warn_of_unused_networks(playbook: &Playbook) {
    for environment in &playbook.targets {
        let parameters = EnvironmentParameters::deserialize(&environment.parameters);
        let EnvironmentParameters { machines, networks } = parameters.unwrap_or_default();
        let nics = machines.iter().flat_map(|machine| &machine.networks);
        let used: Vec<_> = nics.map(|nic| &nic.network).collect();
        for network in networks.iter().filter(|one| !used.contains(&&one.name)) {
            let (name, environment) = (&network.name, &environment.name);
            ui::warn(format!(
                "environment `{environment}`: no role has network `{name}` in its `networks`"
            ));
        }
    }
}

/// Prints the resolved playbook as TOML, or with `json` as one JSON object.
///
/// # Errors
/// None that a user can cause.
pub fn run(playbook: &Playbook, json: bool) -> Result<()> {
    ui::out(if json {
        to_json(playbook)?
    } else {
        to_text(playbook)
    });
    Ok(())
}

/// Returns the playbook as JSON: `path`, `directory`, `select`, and `targets` with `name`, `platform`,
/// `count`, `features`, `cost`, `capabilities`, `parameters`, `definition` (`keys`, `hash`) and
/// `origins` (key -> `platform`, `target` or `set`; absent: the platform's default).
///
/// # Errors
/// None that a user can cause.
pub fn to_json(playbook: &Playbook) -> Result<String> {
    serde_json::to_string_pretty(playbook).map_err(|error| std::io::Error::from(error).into())
}

/// Returns the playbook as TOML, with the origin of every key.
pub fn to_text(playbook: &Playbook) -> String {
    let path = match &playbook.path {
        Some(path) => path.display().to_string(),
        None => "built in, because no file was found".to_owned(),
    };
    let select = match playbook.select {
        Select::Auto => "auto",
        Select::All => "all",
    };
    let mut text = format!("# playbook: {path}\nselect = \"{select}\"\n");
    let pool = toml::to_string(&playbook.pool).unwrap_or_default();
    let _ = writeln!(text, "\n[pool]\n{}", pool.trim_end());
    if !playbook.history.is_default() {
        let history = toml::to_string(&playbook.history).unwrap_or_default();
        let _ = writeln!(text, "\n[history]\n{}", history.trim_end());
    }
    for recipe in playbook.recipes.values() {
        write_recipe(&mut text, recipe);
    }
    for target in &playbook.targets {
        write_target(&mut text, target);
    }
    rules::write_rules(&mut text, &playbook.rules);
    text.trim_end().to_owned()
}

/// The first keys of a target, in the order in which they are printed. The others follow by name.
const FIRST_KEYS: [&str; 17] = [
    "name",
    "platform",
    "count",
    "features",
    "cost",
    "max-spares",
    "triple",
    "capabilities",
    "recipe",
    "ready-timeout",
    "on-dirty",
    "clean",
    "on-crash",
    "on-boot-failure",
    "recipe-env",
    "wait",
    "retries",
];

/// The entries of a target in JSON that are not among its keys, or are printed otherwise.
const NO_KEYS: [&str; 4] = ["parameters", "definition", "origins", "roles"];

/// Returns every key of a target with its value as TOML. Absent keys are omitted.
fn target_lines(target: &PlaybookTarget) -> Vec<(String, String)> {
    let mut all = json(target);
    if let Some(OnDirty::Clean(recipe)) = &target.lifecycle.on_dirty {
        all["on-dirty"] = "clean".into();
        all["clean"] = recipe.name.as_str().into();
    }
    if target.lifecycle.wait.is_empty() {
        all["wait"] = Value::Null;
    }
    // Capabilities that the platform assures would count as declared when the output is read back.
    if let Some(capabilities) = all["capabilities"].as_object_mut() {
        capabilities.retain(|name, _| !target.assured.contains(name));
    }
    let keys = all.as_object().into_iter().flatten();
    let others = keys.map(|(key, _)| key.as_str());
    let others = others.filter(|key| !FIRST_KEYS.contains(key) && !NO_KEYS.contains(key));
    let mut lines = Vec::new();
    for key in FIRST_KEYS.into_iter().chain(others) {
        let mut add = |key, value: &_| lines.push((key, toml(value)));
        match &all[key] {
            Value::Null => {}
            Value::Object(each) if key == "capabilities" => {
                let dotted = |name| format!("{key}.{}", toml_key(name));
                each.iter()
                    .for_each(|(name, value)| add(dotted(name), value));
            }
            _ if key == "cost" => lines.push((key.to_owned(), target.cost.to_string())),
            value => add(key.to_owned(), value),
        }
    }
    // Dotted keys, so that each can have a comment.
    flatten("", &target.parameters, &mut |key, value| {
        lines.push((key, toml(value)))
    });
    lines
}

fn write_target(text: &mut String, target: &PlaybookTarget) {
    if !target.roles.is_empty() {
        return environments::write(text, target);
    }
    let hash = &target.definition.hash;
    let _ = writeln!(text, "\n[[targets]] # definition {hash}");
    write_keys(text, target, target_lines(target));
}

/// Writes the keys of a target, each with its origin.
fn write_keys(text: &mut String, target: &PlaybookTarget, lines: Vec<(String, String)>) {
    let lines: Vec<_> = lines
        .into_iter()
        .map(|(key, value)| {
            let mut docs = target.param_docs.iter();
            let doc = docs.find(|(of, _)| **of == key || is_inside(&key, of));
            let doc = doc.map(|(_, doc)| doc).filter(|doc| !doc.is_empty());
            let doc = doc.map_or(String::new(), |doc| format!(": {}", doc.replace('\n', " ")));
            (origin(target, &key) + &doc, format!("{key} = {value}"))
        })
        .collect();
    let widths = lines.iter().map(|(_, line)| line.chars().count());
    let width = widths
        .filter(|&width| width <= 48)
        .max()
        .unwrap_or_default();
    for (origin, line) in lines {
        let _ = writeln!(text, "{line:width$}  # {origin}");
    }
}

fn write_recipe(text: &mut String, recipe: &Recipe) {
    let _ = writeln!(text, "\n[recipes.{}]", toml_key(&recipe.name));
    if !recipe.env.is_empty() {
        let _ = writeln!(text, "env = {}", toml(&json(&recipe.env)));
    }
    text.push_str("steps = [\n");
    for step in &recipe.steps {
        let _ = writeln!(text, "    {},", toml(&json(step)));
    }
    text.push_str("]\n");
}

/// Converts a value that always serializes to JSON.
fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Formats a value as TOML on one line, or as JSON if TOML has no such value.
fn toml(value: &Value) -> String {
    match toml::Value::try_from(value) {
        Ok(value) => value.to_string(),
        Err(_) => value.to_string(),
    }
}

/// Returns the layer that set this key, from its own entry or the entry of a table above.
fn origin(target: &PlaybookTarget, key: &str) -> String {
    if target.param_docs.contains_key(key) && !target.places.contains_key(key) {
        return "default".to_owned();
    }
    let found = target
        .origins
        .iter()
        .filter(|(given, _)| *given == key || is_inside(key, given));
    match found.max_by_key(|(given, _)| given.len()) {
        Some((_, Origin::Platform)) => format!("[platforms.{}]", target.platform),
        Some((_, Origin::Target)) => "target".to_owned(),
        Some((_, Origin::Set)) => "--set".to_owned(),
        None => "default".to_owned(),
    }
}
