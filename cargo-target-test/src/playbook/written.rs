//! The first pass: the file's text as tables, each value with its position.
//!
//! Owns the shape of the file: which tables there are, and that they are tables. What stands in a
//! target's table is for the second pass, which knows the platform.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    diagnostic::{Problem, Problems},
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
    /// What stands there about tests.
    pub(super) rules: tables::Read,
}

/// One table of the playbook.
pub(super) struct Entry<'s> {
    /// Its header, or the key it stands under.
    pub(super) header: Range<usize>,
    pub(super) table: DeTable<'s>,
}

impl Entry<'_> {
    /// The `name` in it, right or wrong.
    pub(super) fn name(&self) -> Option<&str> {
        self.table.get("name")?.get_ref().as_str()
    }
}

/// Reads the file's tables. When there are problems, what is returned is only part of it.
pub(super) fn parse<'s>(sources: &'s Sources, problems: &mut Problems<'_>) -> Written<'s> {
    let (document, errors) = DeTable::parse_recoverable(sources.file());
    let mut written = Written::default();
    if !errors.is_empty() {
        syntax(sources.file(), &errors, problems);
        return written;
    }
    let end = sources.file().trim_end().len();
    let mut targets_at = end..end;
    for (key, value) in document.into_inner() {
        match key.get_ref().as_ref() {
            "select" => match schema::read(value) {
                Ok(select) => written.select = select,
                Err(error) => problems.add(Problem::toml(&error, key.span())),
            },
            "platforms" => written.platforms = platforms(value, problems),
            "recipes" => written.recipes = recipes(value, problems),
            "pool" => match schema::read(value) {
                Ok(pool) => written.pool = pool,
                Err(error) => problems.add(Problem::toml(&error, key.span())),
            },
            "targets" => {
                targets_at = value.span();
                match targets(value, problems) {
                    Some(targets) => written.targets = targets,
                    None => return written,
                }
            }
            "metadata" | "criteria" | "overrides" | "modes" | "scenarios" => {
                written.rules.take(&key, value, problems);
            }
            later if schema::LATER_TABLES.contains(&later) => problems.add(later_problem(&key)),
            unknown => {
                problems.add(Problem::unknown(
                    "key",
                    unknown,
                    key.span(),
                    &schema::TABLES,
                ));
            }
        }
    }
    if written.targets.is_empty() && problems.is_empty() {
        problems.add(
            Problem::new("the playbook names no target", targets_at).hint(
                "the smallest one is `[[targets]]`, `name = \"local\"`, `platform = \"local\"`",
            ),
        );
    }
    written
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
                },
            );
        }
    }
    platforms
}

fn recipes(value: Spanned<DeValue<'_>>, problems: &mut Problems<'_>) -> BTreeMap<String, Recipe> {
    let tables = table(value, "`recipes`", problems).unwrap_or_default();
    let recipe = |(key, value): (Spanned<std::borrow::Cow<'_, str>>, Spanned<DeValue<'_>>)| {
        let name = key.get_ref().clone().into_owned();
        let table = table(value, &format!("`recipes.{name}`"), problems)?;
        let steps = steps(&name, key.span(), table, problems)?;
        Some((name.clone(), Recipe { name, steps }))
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
fn targets<'s>(value: Spanned<DeValue<'s>>, problems: &mut Problems<'_>) -> Option<Vec<Entry<'s>>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(items) => {
            let entry = |item: Spanned<DeValue<'s>>| {
                let header = item.span();
                table(item, "a target", problems).map(|table| Entry { header, table })
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
