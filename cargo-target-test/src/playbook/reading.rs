//! Deserializes parsed values and collects every error in them.
//!
//! serde stops at the first error, so the invalid key is removed and the rest is deserialized again.

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Error, ValueDeserializer},
};

use super::{
    diagnostic::{Problem, Problems},
    nearest::meant,
};

/// Deserializes one value of the parsed document; `None` if problems were added.
pub(super) fn read<T: for<'de> Deserialize<'de>>(
    value: Spanned<DeValue<'_>>,
    problems: &mut Problems<'_>,
) -> Option<T> {
    let span = value.span();
    let (read, mistakes) = attempt(value, |value| T::deserialize(value));
    for mistake in &mistakes {
        problems.add(Problem::toml(mistake, span.clone()));
    }
    read.filter(|_| mistakes.is_empty())
}

/// Calls `read` until it succeeds or an error cannot be traced to a key, without the invalid keys. Returns the result
/// and the errors.
pub(super) fn attempt<T>(
    mut value: Spanned<DeValue<'_>>,
    read: impl Fn(ValueDeserializer<'_>) -> Result<T, Error>,
) -> (Option<T>, Vec<Error>) {
    let (mut mistakes, mut left_out) = (Vec::new(), Vec::new());
    loop {
        let error = match read(ValueDeserializer::from(value.clone())) {
            Ok(read) => return (Some(read), mistakes),
            Err(error) => error,
        };
        match take_out(&mut value, &error) {
            Some(key) => left_out.push(key),
            None if is_new(&error, &left_out) => {
                mistakes.push(error);
                return (None, mistakes);
            }
            None => return (None, mistakes),
        }
        mistakes.push(error);
    }
}

/// Removes the top-level key that contains the error's position, and returns its name.
fn take_out(value: &mut Spanned<DeValue<'_>>, error: &Error) -> Option<String> {
    let at = error.span()?.start;
    let DeValue::Table(table) = value.get_mut() else {
        return None;
    };
    let wrong = |(key, value): &(&Spanned<_>, &_)| key.span().contains(&at) || holds(value, at);
    let key = table.iter().find(wrong)?.0.get_ref().clone().into_owned();
    table.remove(key.as_str());
    Some(key)
}

/// True if the value contains the position. Recursive, since a table with its own header lies outside the span of its
/// parent.
fn holds(value: &Spanned<DeValue<'_>>, at: usize) -> bool {
    value.span().contains(&at)
        || match value.get_ref() {
            DeValue::Table(table) => table
                .iter()
                .any(|(key, value)| key.span().contains(&at) || holds(value, at)),
            DeValue::Array(items) => items.iter().any(|item| holds(item, at)),
            _ => false,
        }
}

/// True if an error about the whole table is not caused by a key that was removed from it.
fn is_new(error: &Error, left_out: &[String]) -> bool {
    let missing = error.message().strip_prefix("missing field `");
    let missing = missing.and_then(|rest| rest.split('`').next());
    let meant = |key: &str| left_out.iter().any(|wrong| meant(wrong, &[key]).is_some());
    left_out.is_empty() || missing.is_some_and(|key| !meant(key))
}

/// Returns the table in `value`. Any other value is a problem that hides a part of the playbook.
pub(super) fn table<'s>(
    value: Spanned<DeValue<'s>>,
    what: &str,
    problems: &mut Problems<'_>,
) -> Option<DeTable<'s>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(table) => Some(table),
        other => {
            problems.add_unreadable(Problem::new(
                format!("{what} must be a table, not {}", with_article(&other)),
                span,
            ));
            None
        }
    }
}

/// Returns the items of the array of tables `name`, or the problem of any other value.
pub(super) fn array<'s>(
    value: Spanned<DeValue<'s>>,
    name: &str,
) -> Result<Vec<Spanned<DeValue<'s>>>, Box<Problem>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(items) => Ok(items.into_iter().collect()),
        other => {
            let is = with_article(&other);
            let message = format!("`{name}` must be an array of tables, not {is}");
            let hint = format!("write each under its own `[[{name}]]` header");
            Err(Box::new(Problem::new(message, span).hint(hint)))
        }
    }
}

/// Returns the name of a value's type with its article: `an array`.
pub(super) fn with_article(value: &DeValue<'_>) -> String {
    let name = value.type_str();
    let article = if name.starts_with(['a', 'i']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {name}")
}
