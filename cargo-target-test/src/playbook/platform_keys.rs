//! The keys that belong to a target's platform.
//!
//! Owns which keys are known and how the platform's complaints are shown. Must not know any
//! platform's keys: they come from its schema.

use std::ops::Range;

use serde_json::Value;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    PlatformSyntax,
    diagnostic::{Problem, Problems},
    reading::attempt,
    schema::{self, Common, OWN_KEYS},
};

/// Takes out of a table every key that nothing knows; each is a problem. `own`: the table is a
/// target's and not `[platforms.X]`.
pub(super) fn refuse_unknown(
    table: &mut DeTable<'_>,
    platform: &dyn PlatformSyntax,
    own: bool,
    problems: &mut Problems<'_>,
) {
    let schema = platform.schema();
    let mut known = schema::properties(&schemars::schema_for!(Common));
    known.retain(|key| own || !OWN_KEYS.contains(&key.as_str()));
    known.extend(schema::properties(&schema));
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    // A platform whose schema takes any key checks them itself.
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    let fine = |name: &str| known.contains(&name) || !(closed || OWN_KEYS.contains(&name));
    let keys: Vec<_> = table
        .keys()
        .filter(|key| !fine(key.get_ref()))
        .cloned()
        .collect();
    for key in keys {
        let name = key.get_ref().as_ref();
        let label = format!("not a key of platform `{}`", platform.name());
        problems.add(Problem::unknown("key", name, key.span(), &known).label(label));
        table.remove(name);
    }
}

/// What the platform makes of its keys. `target` is the target's name and where it stands.
/// `None`: there are problems.
pub(super) fn read(
    table: DeTable<'_>,
    platform: &dyn PlatformSyntax,
    target: &Spanned<String>,
    problems: &mut Problems<'_>,
) -> Option<Value> {
    let table = Spanned::new(target.span(), DeValue::Table(table));
    let (value, mistakes) = attempt(table, |table| platform.parameters(table));
    for error in &mistakes {
        problems.add(problem(
            error,
            platform.name(),
            target.get_ref(),
            target.span(),
        ));
    }
    value.filter(|_| mistakes.is_empty())
}

/// Checks what `[platforms.X]` says by itself: nobody may use it yet. What is missing is for targets
/// to add, and what the platform says of the whole table is for whole tables.
pub(super) fn check_defaults(
    table: DeTable<'_>,
    platform: &dyn PlatformSyntax,
    header: Range<usize>,
    problems: &mut Problems<'_>,
) {
    let table = Spanned::new(header.clone(), DeValue::Table(table));
    let (_, mistakes) = attempt(table, |table| platform.parameters(table));
    for error in &mistakes {
        if error.span().is_some_and(|span| span != header) {
            problems.add(Problem::toml(error, header.clone()));
        }
    }
}

fn problem(error: &toml::de::Error, platform: &str, target: &str, at: Range<usize>) -> Problem {
    let missing = error.message().strip_prefix("missing field `");
    let missing = missing.and_then(|rest| rest.split('`').next());
    match missing.filter(|_| error.span().is_none_or(|span| span == at)) {
        Some(key) => Problem::new(format!("target `{target}` has no `{key}`"), at)
            .label(format!("platform `{platform}` requires `{key}`")),
        None => Problem::toml(error, at),
    }
}
