//! The first pass: parses the files and separates their top-level tables, with positions.
//!
//! Must not check the keys of a target; the second pass does, which knows the platform.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, btree_map},
    ops::Range,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    diagnostic::{Problem, Problems},
    embedded,
    include::PlaybookFile,
    nearest::meant,
    orchestration::OrchestrationSettings,
    reading::{array, read, table},
    recipe::{Recipe, Step},
    reports::{NotifySettings, ReportSettings},
    schema::{self, HistorySettings, OnTargetSettings, PlaybookTables, PoolSettings, Select},
    source::Sources,
    tables,
};

/// The tables of all files of a playbook, merged.
#[derive(Default)]
pub(super) struct Written<'s> {
    pub(super) select: Select,
    /// `[platforms.X]` by `X`.
    pub(super) platforms: BTreeMap<String, RawTable<'s>>,
    pub(super) targets: Vec<RawTable<'s>>,
    /// `[environments.X]` by `X`.
    pub(super) environments: BTreeMap<String, RawTable<'s>>,
    /// `[recipes.X]` by `X`.
    pub(super) recipes: BTreeMap<String, Recipe>,
    pub(super) pool: PoolSettings,
    pub(super) report: ReportSettings,
    pub(super) notify: NotifySettings,
    /// The tables of settings that later files change key by key, by name.
    settings: BTreeMap<String, DeTable<'s>>,
    pub(super) history: HistorySettings,
    pub(super) on_target: OnTargetSettings,
    pub(super) orchestration: OrchestrationSettings,
    targets_at: Option<Range<usize>>,
    /// True if a file has a table about tests or runs.
    has_rules: bool,
    /// The tables about tests.
    pub(super) rules: tables::RuleTables,
}

/// A `[platforms.X]`, `[[targets]]` or `[environments.X]` table.
pub(super) struct RawTable<'s> {
    /// The position of the header, or of the key.
    pub(super) header: Range<usize>,
    pub(super) table: DeTable<'s>,
    /// The folder of the file.
    pub(super) directory: PathBuf,
}

impl<'s> RawTable<'s> {
    /// Replaces keys with those of another file's table.
    fn merge(&mut self, over: Self) {
        self.header = over.header;
        for (key, value) in over.table {
            replace(&mut self.table, key, value);
        }
    }

    /// The value of `name`, not checked.
    pub(super) fn name(&self) -> Option<&str> {
        self.table.get("name")?.get_ref().as_str()
    }
}

/// Parses and merges the tables of all files; later files win. The result is incomplete if problems were added.
pub(super) fn parse<'s>(
    sources: &'s Sources,
    files: &[PlaybookFile],
    problems: &mut Problems<'_>,
) -> Written<'s> {
    let mut written = Written::default();
    for file in files {
        let text = sources.padded(file.part);
        let (document, errors) = DeTable::parse_recoverable(text);
        syntax(text, &errors, problems);
        if errors.is_empty() {
            for (key, value) in document.into_inner() {
                let name = key.get_ref().clone();
                written.take(&name, &key, value, &file.directory, problems);
            }
        }
    }
    written.pool = written.settings("pool", problems);
    written.report = written.settings("report", problems);
    written.on_target = written.settings("on-target", problems);
    if let Some(table) = written.settings.get("notify")
        && let Some((first, _)) = table.iter().next()
        && !["command", "url"]
            .iter()
            .any(|key| table.contains_key(*key))
    {
        let message = "`[notify]` requires `command` or `url`";
        problems.add(Problem::new(message, first.span()));
    }
    written.notify = written.settings("notify", problems);
    if written.means_local() {
        let local = DeTable::parse(embedded::TARGET).map(Spanned::into_inner);
        let first = files.first().map(|file| file.directory.clone());
        written.targets.extend(local.map(|table| RawTable {
            header: 0..0,
            table,
            directory: first.unwrap_or_default(),
        }));
    }
    if written.targets.is_empty() && written.environments.is_empty() && !problems.has_unreadable() {
        let end = sources.padded(0).trim_end().len();
        let at = written.targets_at.clone().unwrap_or(end..end);
        problems.add(
            Problem::new("the playbook has no targets", at).hint(
                "a minimal target is `[[targets]]`, `name = \"local\"`, `platform = \"local\"`",
            ),
        );
    }
    written
}

impl<'s> Written<'s> {
    /// Adds the value of one top-level key. `name` is the key that was meant; `directory` is the folder of the file.
    fn take(
        &mut self,
        name: &str,
        key: &Spanned<Cow<'s, str>>,
        value: Spanned<DeValue<'s>>,
        directory: &Path,
        problems: &mut Problems<'_>,
    ) {
        match name {
            // Handled by `include::gather`.
            "include" => {}
            "select" => self.select = read(value, problems).unwrap_or_default(),
            "platforms" => {
                merge_all(
                    &mut self.platforms,
                    tables(name, value, directory, problems),
                );
            }
            "environments" => {
                merge_all(
                    &mut self.environments,
                    tables(name, value, directory, problems),
                );
            }
            "recipes" => self.recipes.extend(recipes(value, directory, problems)),
            "pool" | "report" | "notify" | "on-target" => {
                self.has_rules |= name == "on-target";
                let settings = self.settings.entry(name.to_owned()).or_default();
                let of = format!("`{name}`");
                for (key, value) in table(value, &of, problems).unwrap_or_default() {
                    replace(settings, key, value);
                }
            }
            "history" => {
                self.history = read(value, problems).unwrap_or_default();
                let path = self.history.path.take();
                self.history.path = path.map(|path| super::files::resolve(directory, &path));
            }
            "orchestration" => {
                let key = value.get_ref().get("descriptions");
                let at = key.map_or(value.span(), Spanned::span);
                self.orchestration = read(value, problems).unwrap_or_default();
                let folders = self
                    .orchestration
                    .descriptions
                    .iter()
                    .flat_map(|texts| &texts.0);
                let folders = folders.map(|path| super::files::resolve(directory, Path::new(path)));
                self.orchestration.folders = folders.collect();
                let mut seen = BTreeSet::new();
                let mut folders = self.orchestration.folders.iter();
                if let Some(twice) = folders.find(|folder| !seen.insert(*folder)) {
                    let message = format!("folder `{}` is named twice", twice.display());
                    problems.add(Problem::new(message, at));
                }
            }
            "targets" => {
                self.targets_at = Some(value.span());
                self.targets.extend(targets(value, directory, problems));
            }
            "metadata" | "defaults" | "criteria" | "overrides" | "variants" | "modes"
            | "scenarios" => {
                self.has_rules = true;
                self.rules.take(name, value, problems);
            }
            unknown => {
                let known = schema::properties(&schemars::schema_for!(PlaybookTables));
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let problem = Problem::unknown("key", unknown, key.span(), &known);
                match meant(unknown, &known) {
                    Some("include") => problems.add_unreadable(problem),
                    // Read the value too: it may have further problems, and define names used elsewhere.
                    Some(meant) => {
                        problems.add(problem);
                        self.take(meant, key, value, directory, problems);
                    }
                    None => problems.add(problem),
                }
            }
        }
    }

    /// Reads a table of settings; the defaults if it is absent or wrong.
    fn settings<T: Default + for<'de> Deserialize<'de>>(
        &mut self,
        name: &str,
        problems: &mut Problems<'_>,
    ) -> T {
        let table = self.settings.remove(name).unwrap_or_default();
        let table = Spanned::new(0..0, DeValue::Table(table));
        read(table, problems).unwrap_or_default()
    }

    /// True if the playbook is about tests only: without `targets`, and without settings of another platform, target
    /// `local` is meant.
    fn means_local(&self) -> bool {
        let other = self.platforms.keys().any(|name| name != embedded::PLATFORM);
        let none = self.targets.is_empty() && self.environments.is_empty();
        self.has_rules && none && self.targets_at.is_none() && !other
    }

    /// The names of the targets and environments, not checked; `None` if a target has no name, so that the list is incomplete.
    pub(super) fn target_names(&self) -> Option<Vec<&str>> {
        let targets = self.targets.iter().map(RawTable::name);
        let environments = self.environments.keys().map(|name| Some(name.as_str()));
        targets.chain(environments).collect()
    }
}

/// Replaces a key's value and position.
fn replace<'s>(table: &mut DeTable<'s>, key: Spanned<Cow<'s, str>>, value: Spanned<DeValue<'s>>) {
    table.remove(key.get_ref().as_ref());
    table.insert(key, value);
}

/// Reports syntax errors. Only the first error of each line counts; the others come from the parser's recovery.
fn syntax(text: &str, errors: &[toml::de::Error], problems: &mut Problems<'_>) {
    let mut lines = BTreeSet::new();
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.bytes().take(at);
        if lines.insert(before.filter(|&byte| byte == b'\n').count()) {
            let problem = Problem::toml(error, 0..0);
            let hint = |format| format!("a playbook is TOML; this looks like {format}");
            problems.add_unreadable(problem.or_hint(other_format(text).map(hint)));
        }
    }
}

/// The format that the first lines of a text are written in, if it is not TOML.
fn other_format(text: &str) -> Option<&'static str> {
    let lines = text.lines().map(str::trim);
    let first = lines
        .into_iter()
        .find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let is_key =
        |key: &str| !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "-_".contains(c));
    match first.split_once(':') {
        _ if first.starts_with('{') => Some("JSON"),
        _ if first == "---" || first.starts_with("- ") => Some("YAML"),
        Some((key, rest)) if is_key(key) && (rest.is_empty() || rest.starts_with(' ')) => {
            Some("YAML")
        }
        _ => None,
    }
}

/// Adds the tables of another file.
fn merge_all<'s>(
    all: &mut BTreeMap<String, RawTable<'s>>,
    others: impl IntoIterator<Item = (String, RawTable<'s>)>,
) {
    for (name, table) in others {
        match all.entry(name) {
            btree_map::Entry::Vacant(entry) => drop(entry.insert(table)),
            btree_map::Entry::Occupied(mut known) => known.get_mut().merge(table),
        }
    }
}

/// Returns the tables of the table `of`, by name.
fn tables<'s>(
    of: &str,
    value: Spanned<DeValue<'s>>,
    directory: &Path,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, RawTable<'s>> {
    let tables = table(value, &format!("`{of}`"), problems).unwrap_or_default();
    let one = |(key, value): (Spanned<Cow<'s, str>>, _)| {
        let name = key.get_ref().clone().into_owned();
        let raw = RawTable {
            header: key.span(),
            table: table(value, &format!("`{of}.{name}`"), problems)?,
            directory: directory.to_owned(),
        };
        Some((name, raw))
    };
    tables.into_iter().filter_map(one).collect()
}

fn recipes(
    value: Spanned<DeValue<'_>>,
    directory: &Path,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, Recipe> {
    let tables = table(value, "`recipes`", problems).unwrap_or_default();
    let recipe = |(key, value): (Spanned<std::borrow::Cow<'_, str>>, Spanned<DeValue<'_>>)| {
        let name = key.get_ref().clone().into_owned();
        let mut table = table(value, &format!("`recipes.{name}`"), problems);
        let env = table.as_mut().and_then(|table| table.remove("env"));
        let env = env.and_then(|env| read(env, problems)).unwrap_or_default();
        let steps = table.map(|table| steps(&name, key.span(), table, problems));
        let (places, steps) = steps.unwrap_or_default().into_iter().unzip();
        let recipe = Recipe {
            env,
            steps,
            places,
            name: name.clone(),
            directory: directory.to_owned(),
        };
        (name, recipe)
    };
    tables.into_iter().map(recipe).collect()
}

/// Reads `steps`, the last key of a recipe, with their positions. Invalid steps are missing from the result.
fn steps(
    name: &str,
    header: Range<usize>,
    mut table: DeTable<'_>,
    problems: &mut Problems<'_>,
) -> Vec<(Range<usize>, Step)> {
    let steps = table.remove("steps");
    for (key, _) in &table {
        problems.add(Problem::unknown(
            "key",
            key.get_ref(),
            key.span(),
            &["env", "steps"],
        ));
    }
    let Some(steps) = steps else {
        problems.add(Problem::new(
            format!("recipe `{name}` has no `steps`"),
            header,
        ));
        return Vec::new();
    };
    let span = steps.span();
    let DeValue::Array(steps) = steps.into_inner() else {
        problems.add(Problem::new("`steps` must be an array of tables", span));
        return Vec::new();
    };
    if steps.is_empty() {
        let problem = Problem::new(format!("recipe `{name}` has no steps"), span);
        problems.add(problem.hint("a step is a table such as { run = \"true\" }"));
    }
    let steps = steps.into_iter();
    let step = |step: Spanned<DeValue<'_>>| Some((step.span(), read(step, problems)?));
    steps.filter_map(step).collect()
}

fn targets<'s>(
    value: Spanned<DeValue<'s>>,
    directory: &Path,
    problems: &mut Problems<'_>,
) -> Vec<RawTable<'s>> {
    let items = array(value, "targets").unwrap_or_else(|problem| {
        problems.add_unreadable(*problem);
        Vec::new()
    });
    let entry = |item: Spanned<DeValue<'s>>| {
        Some(RawTable {
            header: item.span(),
            table: table(item, "a target", problems)?,
            directory: directory.to_owned(),
        })
    };
    items.into_iter().filter_map(entry).collect()
}
