//! The first pass: the file's text as tables, each value with its position.
//!
//! Owns the shape of the file: which tables there are, and that they are tables. What stands in a
//! target's table is for the second pass, which knows the platform.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, btree_map},
    ops::Range,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    diagnostic::{Problem, Problems},
    include::File,
    recipe::{Recipe, Step},
    schema::{self, PoolSettings, Select},
    source::Sources,
    tables,
};

/// The playbook's tables.
#[derive(Default)]
pub(super) struct Written<'s> {
    pub(super) select: Select,
    /// `[platforms.X]` by `X`.
    pub(super) platforms: BTreeMap<String, Entry<'s>>,
    pub(super) targets: Vec<Entry<'s>>,
    /// `[recipes.X]` by `X`.
    pub(super) recipes: BTreeMap<String, Recipe>,
    pub(super) pool: PoolSettings,
    pool_table: DeTable<'s>,
    targets_at: Option<Range<usize>>,
    /// What stands there about tests.
    pub(super) rules: tables::Read,
}

/// One table of the playbook.
pub(super) struct Entry<'s> {
    /// Its header, or the key it stands under.
    pub(super) header: Range<usize>,
    pub(super) table: DeTable<'s>,
    /// The folder of its file.
    pub(super) directory: PathBuf,
}

impl<'s> Entry<'s> {
    /// Lays another file's keys on these.
    fn lay_on(&mut self, over: Self) {
        self.header = over.header;
        for (key, value) in over.table {
            replace(&mut self.table, key, value);
        }
    }

    /// The `name` in it, right or wrong.
    pub(super) fn name(&self) -> Option<&str> {
        self.table.get("name")?.get_ref().as_str()
    }
}

/// Reads the tables of all files: later ones win. When there are problems, what is returned is only part of it.
pub(super) fn parse<'s>(
    sources: &'s Sources,
    files: &[File],
    problems: &mut Problems<'_>,
) -> Written<'s> {
    let mut written = Written::default();
    let mut whole = true;
    for file in files {
        let text = sources.padded(file.part);
        let (document, errors) = DeTable::parse_recoverable(text);
        syntax(text, &errors, problems);
        if errors.is_empty() {
            for (key, value) in document.into_inner() {
                whole &= written.take(&key, value, &file.directory, problems);
            }
        }
    }
    match schema::read(Spanned::new(
        0..0,
        DeValue::Table(std::mem::take(&mut written.pool_table)),
    )) {
        Ok(pool) => written.pool = pool,
        Err(error) => problems.add(Problem::toml(&error, 0..0)),
    }
    if whole && written.targets.is_empty() && problems.is_empty() {
        let end = sources.padded(0).trim_end().len();
        let at = written.targets_at.clone().unwrap_or(end..end);
        problems.add(
            Problem::new("the playbook names no target", at).hint(
                "the smallest one is `[[targets]]`, `name = \"local\"`, `platform = \"local\"`",
            ),
        );
    }
    written
}

impl<'s> Written<'s> {
    /// Takes what stands under one key at the top of a file in this folder. `false`: targets may be missing.
    fn take(
        &mut self,
        key: &Spanned<Cow<'s, str>>,
        value: Spanned<DeValue<'s>>,
        directory: &Path,
        problems: &mut Problems<'_>,
    ) -> bool {
        match key.get_ref().as_ref() {
            // Read before anything else.
            "include" => {}
            "select" => match schema::read(value) {
                Ok(select) => self.select = select,
                Err(error) => problems.add(Problem::toml(&error, key.span())),
            },
            "platforms" => {
                for (name, section) in platforms(value, directory, problems) {
                    match self.platforms.entry(name) {
                        btree_map::Entry::Vacant(entry) => drop(entry.insert(section)),
                        btree_map::Entry::Occupied(mut known) => known.get_mut().lay_on(section),
                    }
                }
            }
            "recipes" => self.recipes.extend(recipes(value, directory, problems)),
            "pool" => {
                for (key, value) in table(value, "`pool`", problems).unwrap_or_default() {
                    replace(&mut self.pool_table, key, value);
                }
            }
            "targets" => {
                self.targets_at = Some(value.span());
                let targets = targets(value, directory, problems);
                let whole = targets.is_some();
                self.targets.extend(targets.into_iter().flatten());
                return whole;
            }
            "metadata" | "criteria" | "overrides" | "modes" | "scenarios" => {
                self.rules.take(key, value, problems);
            }
            later if schema::LATER_TABLES.contains(&later) => problems.add(later_problem(key)),
            unknown => {
                let known = &schema::TABLES;
                problems.add(Problem::unknown("key", unknown, key.span(), known));
            }
        }
        true
    }
}

/// A key's new value, and its new place.
fn replace<'s>(table: &mut DeTable<'s>, key: Spanned<Cow<'s, str>>, value: Spanned<DeValue<'s>>) {
    table.remove(key.get_ref().as_ref());
    table.insert(key, value);
}

/// What is no TOML. Only the first error of a line: the parser's recovery makes up the others.
fn syntax(text: &str, errors: &[toml::de::Error], problems: &mut Problems<'_>) {
    let mut lines = BTreeSet::new();
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.bytes().take(at);
        if lines.insert(before.filter(|&byte| byte == b'\n').count()) {
            problems.add(Problem::toml(error, 0..0));
        }
    }
}

/// A key that a later version will know.
fn later_problem(key: &Spanned<impl AsRef<str>>) -> Problem {
    let name = key.get_ref().as_ref();
    let verb = if name.ends_with('s') || name == "criteria" {
        "are"
    } else {
        "is"
    };
    Problem::new(
        format!("`{name}` {verb} not supported by this version"),
        key.span(),
    )
    .label("would be ignored")
}

fn platforms<'s>(
    value: Spanned<DeValue<'s>>,
    directory: &Path,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, Entry<'s>> {
    let mut platforms = BTreeMap::new();
    let Some(tables) = table(value, "`platforms`", problems) else {
        return platforms;
    };
    for (key, value) in tables {
        let name = key.get_ref().clone().into_owned();
        if let Some(table) = table(value, &format!("`platforms.{name}`"), problems) {
            platforms.insert(
                name,
                Entry {
                    header: key.span(),
                    table,
                    directory: directory.to_owned(),
                },
            );
        }
    }
    platforms
}

fn recipes(
    value: Spanned<DeValue<'_>>,
    directory: &Path,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, Recipe> {
    let tables = table(value, "`recipes`", problems).unwrap_or_default();
    let recipe = |(key, value): (Spanned<std::borrow::Cow<'_, str>>, Spanned<DeValue<'_>>)| {
        let name = key.get_ref().clone().into_owned();
        let table = table(value, &format!("`recipes.{name}`"), problems)?;
        let steps = steps(&name, key.span(), table, problems)?;
        let directory = directory.to_owned();
        Some((
            name.clone(),
            Recipe {
                name,
                steps,
                directory,
            },
        ))
    };
    tables.into_iter().filter_map(recipe).collect()
}

/// A recipe's one key. `None`: there are problems.
fn steps(
    name: &str,
    header: Range<usize>,
    mut table: DeTable<'_>,
    problems: &mut Problems<'_>,
) -> Option<Vec<Step>> {
    let steps = table.remove("steps");
    for (key, _) in &table {
        problems.add(Problem::unknown(
            "key",
            key.get_ref(),
            key.span(),
            &["steps"],
        ));
    }
    let Some(steps) = steps else {
        problems.add(Problem::new(
            format!("recipe `{name}` has no `steps`"),
            header,
        ));
        return None;
    };
    let span = steps.span();
    let DeValue::Array(steps) = steps.into_inner() else {
        problems.add(Problem::new("`steps` must be an array of tables", span));
        return None;
    };
    if steps.is_empty() {
        let problem = Problem::new(format!("recipe `{name}` has no steps"), span);
        problems.add(problem.hint("a step is a table such as { run = \"true\" }"));
    }
    let read = |step: Spanned<DeValue<'_>>| {
        let span = step.span();
        let step = schema::read(step);
        step.map_err(|error| problems.add(Problem::toml(&error, span)))
            .ok()
    };
    Some(steps.into_iter().filter_map(read).collect())
}

/// `None`: there are problems already.
fn targets<'s>(
    value: Spanned<DeValue<'s>>,
    directory: &Path,
    problems: &mut Problems<'_>,
) -> Option<Vec<Entry<'s>>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(items) => {
            let entry = |item: Spanned<DeValue<'s>>| {
                let header = item.span();
                table(item, "a target", problems).map(|table| Entry {
                    header,
                    table,
                    directory: directory.to_owned(),
                })
            };
            let entries: Vec<_> = items.into_iter().map(entry).collect();
            entries.into_iter().collect()
        }
        other => {
            let message = format!("`targets` must be an array of tables, not {}", a(&other));
            let hint = "write each target under a header `[[targets]]` of its own";
            problems.add(Problem::new(message, span).hint(hint));
            None
        }
    }
}

pub(super) fn table<'s>(
    value: Spanned<DeValue<'s>>,
    what: &str,
    problems: &mut Problems<'_>,
) -> Option<DeTable<'s>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(table) => Some(table),
        other => {
            problems.add(Problem::new(
                format!("{what} must be a table, not {}", a(&other)),
                span,
            ));
            None
        }
    }
}

/// "an array"
pub(super) fn a(value: &DeValue<'_>) -> String {
    let name = value.type_str();
    let article = if name.starts_with(['a', 'i']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {name}")
}
