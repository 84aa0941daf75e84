//! Checks the keys of a target that belong to its platform, and shows the errors that the platform returns.
//!
//! The keys come from the platform's schema.

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

/// Removes unknown keys from a table; each is a problem. `own` is true for a target's table and false for
/// `[platforms.X]`.
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
    // A platform whose schema allows additional keys checks them itself.
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    let allowed = |name: &str| known.contains(&name) || !(closed || OWN_KEYS.contains(&name));
    let keys: Vec<_> = table
        .keys()
        .filter(|key| !allowed(key.get_ref()))
        .cloned()
        .collect();
    for key in keys {
        let name = key.get_ref().as_ref();
        let label = format!("not a key of platform `{}`", platform.name());
        problems.add(Problem::unknown("key", name, key.span(), &known).label(label));
        table.remove(name);
    }
}

/// Returns the parameters as the platform reads them; `None` if problems were added. `target` is the target's name with
/// its position.
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

/// Checks the keys of `[platforms.X]`, even if no target uses the platform. Errors about the table as a whole are
/// ignored, since targets may add keys.
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
