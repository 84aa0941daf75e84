//! The syntax of `--set targets.NAME.key=value`. Each becomes the topmost layer of a target or an environment.
//!
//! Must not know the keys.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{diagnostic::list, nearest::did_you_mean, source::Sources, written::Written};
use crate::error::{Error, Result};

/// The maximum number of parts of a key; nested tables are walked recursively. (The TOML parser has its own limit.)
const DEEPEST: usize = 32;

/// A layer with one key for one target or environment.
pub(super) struct SetLayer<'s> {
    pub(super) of: SetTable,
    pub(super) table: DeTable<'s>,
}

/// The table that a `--set` changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SetTable {
    /// An index into [`Written::targets`].
    Target(usize),
    /// A name in [`Written::environments`].
    Environment(String),
}

/// Parses the `--set` options, in order.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage), naming the option.
pub(super) fn parse<'s>(
    sources: &'s Sources,
    sets: &[Range<usize>],
    written: &Written<'_>,
) -> Result<Vec<SetLayer<'s>>> {
    let one = |range: &Range<usize>| {
        let text = sources.slice(range.clone());
        let error = |why: String| Error::usage(format!("`--set {text}` {why}"));
        parse_one(text, range.start, written)
            .map_err(|why| error(why).with_hint("the form is `--set targets.NAME.key=value`"))
    };
    sets.iter().map(one).collect()
}

fn parse_one<'s>(text: &'s str, at: usize, written: &Written<'_>) -> Result<SetLayer<'s>, String> {
    let (path, value) = text.split_once('=').ok_or("has no `=`")?;
    let (of, keys) = match (
        path.strip_prefix("targets."),
        path.strip_prefix("environments."),
    ) {
        (Some(rest), _) => {
            let names = written.targets.iter().enumerate();
            let names = names.filter_map(|(index, target)| Some((target.name()?, index)));
            let (index, keys) = named(rest, "target", names.collect())?;
            (SetTable::Target(index), keys)
        }
        (None, Some(rest)) => {
            let names = written
                .environments
                .keys()
                .map(|name| (name.as_str(), name));
            let (name, keys) = named(rest, "environment", names.collect())?;
            (SetTable::Environment(name.clone()), keys)
        }
        (None, None) => return Err("does not start with `targets.` or `environments.`".to_owned()),
    };
    let keys_at = at + path.len() - keys.len();
    let keys = keys.trim_end();
    if keys == "name" && matches!(of, SetTable::Target(_)) {
        return Err("would rename the target".to_owned());
    }
    if keys.split('.').count() > DEEPEST {
        return Err(format!("has a key of more than {DEEPEST} parts"));
    }
    let mut value = shift(read(value)?, at + path.len() + 1);
    let mut end = keys_at + keys.len();
    for key in keys.rsplit('.') {
        let span = end - key.len()..end;
        end = span.start.saturating_sub(1);
        let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if key.is_empty() || !key.bytes().all(bare) {
            return Err(format!("has an invalid key: `{keys}`"));
        }
        let mut table = DeTable::new();
        table.insert(Spanned::new(span.clone(), key.into()), value);
        value = Spanned::new(span, DeValue::Table(table));
    }
    match value.into_inner() {
        DeValue::Table(table) => Ok(SetLayer { of, table }),
        _ => Err("has no key".to_owned()),
    }
}

/// Splits `NAME.key` into what has the name and the key. Names may contain dots; the longest matching name wins.
fn named<'t, T: Copy>(
    path: &'t str,
    what: &str,
    names: Vec<(&str, T)>,
) -> Result<(T, &'t str), String> {
    let keys = |name: &str| {
        path.strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('.'))
    };
    let fitting = names
        .iter()
        .filter_map(|(name, one)| Some((*one, keys(name)?)));
    if let Some(found) = fitting.min_by_key(|(_, keys)| keys.len()) {
        return Ok(found);
    }
    let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    if known.contains(&path) {
        return Err(format!("does not name a key of the {what}"));
    }
    let name = path.split('.').next().unwrap_or(path);
    let nearest = did_you_mean(name, &known)
        .map(|hint| format!("; {hint}"))
        .unwrap_or_default();
    Err(format!(
        "names the unknown {what} `{name}`{nearest} ({what}s: {})",
        list(&known)
    ))
}

/// Parses the value as TOML, or takes it as a string if it is not TOML. Text that starts like an array, a table or a
/// quoted string must be TOML.
fn read(text: &str) -> Result<Spanned<DeValue<'_>>, String> {
    let trimmed = text.trim();
    match DeValue::parse(trimmed) {
        Ok(value) => Ok(shift(value, text.len() - text.trim_start().len())),
        Err(error) if trimmed.starts_with(['[', '{', '"', '\'']) => Err(format!(
            "has a malformed value: {}",
            error.message().replace('\n', "; ")
        )),
        Err(_) => Ok(Spanned::new(0..text.len(), DeValue::String(text.into()))),
    }
}

/// Shifts the positions of a value and of all nested values.
fn shift<'s>(value: Spanned<DeValue<'s>>, by: usize) -> Spanned<DeValue<'s>> {
    let moved = |span: Range<usize>| span.start + by..span.end + by;
    let span = moved(value.span());
    let value = match value.into_inner() {
        DeValue::Array(items) => {
            DeValue::Array(items.into_iter().map(|item| shift(item, by)).collect())
        }
        DeValue::Table(table) => {
            let entry = |(key, value): (Spanned<_>, _)| {
                (
                    Spanned::new(moved(key.span()), key.into_inner()),
                    shift(value, by),
                )
            };
            DeValue::Table(table.into_iter().map(entry).collect())
        }
        scalar => scalar,
    };
    Spanned::new(span, value)
}
