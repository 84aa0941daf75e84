//! Parses the values of arguments, with an error at the exact position of an invalid value.
//!
//! Must not know the keys.

use syn::{
    Expr, ExprLit, Lit, LitStr, Meta, Path, Result, Token, parse::ParseStream,
    punctuated::Punctuated,
};

use crate::{json::Json, nearest::nearest, requirement::Requirement};

/// Calls `act` for each item, and combines all errors.
pub(crate) fn each<T>(
    items: impl IntoIterator<Item = T>,
    mut act: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let errors = items.into_iter().filter_map(|item| act(item).err());
    errors
        .reduce(|mut all, error| {
            all.combine(error);
            all
        })
        .map_or(Ok(()), Err)
}

/// Returns the name of an argument; empty if it is a longer path.
pub(crate) fn key(path: &Path) -> String {
    path.get_ident()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// The message for an unknown name, with the most similar or all known names.
pub(crate) fn unknown<'a>(
    name: &str,
    what: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> String {
    match nearest(name, known.clone()) {
        Some(near) => format!("unknown {what} `{name}`; did you mean `{near}`?"),
        None => format!(
            "unknown {what} `{name}`; known: {}",
            known.collect::<Vec<_>>().join(", ")
        ),
    }
}

pub(crate) fn text(value: &Expr) -> Result<String> {
    let literal = literal(value)?;
    match literal.value() {
        text if text.trim().is_empty() => fail(literal, "expected a non-empty string"),
        text => Ok(text),
    }
}

pub(crate) fn texts(value: &Expr) -> Result<Json> {
    let Expr::Array(array) = value else {
        return fail(
            value,
            "expected an array of strings, such as `[\"one\", \"two\"]`",
        );
    };
    let mut list = Vec::new();
    each(&array.elems, |element| {
        list.push(Json::Text(text(element)?));
        Ok(())
    })?;
    Ok(Json::List(list))
}

/// Parses `["/var/log/app", command("journalctl -b")]`.
pub(crate) fn artifacts(value: &Expr) -> Result<Json> {
    const EXPECTED: &str =
        "expected absolute paths and commands, such as `[\"/var/log/app\", command(\"dmesg\")]`";
    let Expr::Array(array) = value else {
        return fail(value, EXPECTED);
    };
    let mut list = Vec::new();
    each(&array.elems, |element| {
        list.push(match element {
            Expr::Call(call) if is_command(&call.func) && call.args.len() == 1 => {
                Json::Object(vec![("command".to_owned(), text(&call.args[0])?.into())])
            }
            path => match text(path) {
                Ok(path) if path.starts_with('/') => Json::Text(path),
                _ => return fail(path, EXPECTED),
            },
        });
        Ok(())
    })?;
    Ok(Json::List(list))
}

fn is_command(function: &Expr) -> bool {
    matches!(function, Expr::Path(path) if path.path.is_ident("command"))
}

pub(crate) fn boolean(value: &Expr) -> Result<Json> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Bool(literal),
            ..
        }) => Ok(Json::Bool(literal.value)),
        _ => fail(value, "expected `true` or `false`"),
    }
}

pub(crate) fn boolean_or(value: &Expr, word: &str) -> Result<Json> {
    match literal(value) {
        Ok(literal) if literal.value() == word => Ok(Json::Text(literal.value())),
        Ok(literal) => fail(literal, format!("expected `true`, `false` or `\"{word}\"`")),
        Err(_) => boolean(value),
    }
}

pub(crate) fn word(value: &Expr, words: &[&str]) -> Result<Json> {
    let literal = literal(value)?;
    match literal.value() {
        word if words.contains(&word.as_str()) => Ok(Json::Text(word)),
        word => fail(literal, unknown(&word, "word", words.iter().copied())),
    }
}

pub(crate) fn number(value: &Expr, least: u64, most: u64) -> Result<Json> {
    let number = match value {
        Expr::Lit(ExprLit {
            lit: Lit::Int(literal),
            ..
        }) => literal.base10_parse().ok(),
        _ => None,
    };
    match number {
        Some(number) if (least..=most).contains(&number) => Ok(Json::Number(number)),
        _ => fail(value, format!("expected an integer from {least} to {most}")),
    }
}

pub(crate) fn duration(value: &Expr) -> Result<Json> {
    let text = text(value)?;
    match humantime::parse_duration(&text) {
        Ok(duration) if duration.is_zero() => fail(value, "duration must be greater than zero"),
        Ok(_) => Ok(Json::Text(text)),
        Err(error) => fail(
            value,
            format!("invalid duration: {error}; write `30s`, `5m` or `1h 30m`"),
        ),
    }
}

pub(crate) fn requirement(value: &Expr) -> Result<String> {
    if literal(value).is_err() {
        return fail(
            value,
            "expected a requirement in quotes, such as `\">= 2\"`",
        );
    }
    let text = text(value)?;
    match text.parse::<Requirement>() {
        Ok(_) => Ok(text),
        Err(error) => fail(value, error),
    }
}

/// Parses `skip = "reason"` or `skip("reason", platform = "..", target = "..", feature = "..")`.
pub(crate) fn condition(meta: &Meta, known: &[&str]) -> Result<Json> {
    let parts = match meta {
        Meta::NameValue(pair) => {
            return Ok(Json::Object(vec![(
                "reason".to_owned(),
                text(&pair.value)?.into(),
            )]));
        }
        Meta::List(list) => list.parse_args_with(reason_and_conditions)?,
        Meta::Path(path) => {
            let key = key(path);
            return fail(path, format!("expected a reason: `{key}(\"reason\")`"));
        }
    };
    let (reason, conditions) = parts;
    let mut fields = vec![("reason".to_owned(), Json::Text(text(&reason)?))];
    each(conditions, |condition| {
        let key = key(&condition.path);
        if !known.contains(&key.as_str()) {
            return fail(
                &condition.path,
                unknown(&key, "condition", known.iter().copied()),
            );
        }
        if fields.iter().any(|(name, _)| *name == key) {
            return fail(&condition.path, format!("`{key}` is given twice"));
        }
        fields.push((key, Json::Text(text(&condition.value)?)));
        Ok(())
    })?;
    Ok(Json::Object(fields))
}

type Conditions = Punctuated<syn::MetaNameValue, Token![,]>;

fn reason_and_conditions(input: ParseStream<'_>) -> Result<(Expr, Conditions)> {
    if !input.peek(LitStr) {
        return Err(input.error("expected a reason first, as a string"));
    }
    let reason = input.parse()?;
    if !input.is_empty() {
        input.parse::<Token![,]>()?;
    }
    Ok((reason, Conditions::parse_terminated(input)?))
}

fn literal(value: &Expr) -> Result<&LitStr> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(literal),
            ..
        }) => Ok(literal),
        _ => fail(value, "expected a string in quotes"),
    }
}

fn fail<T>(at: impl quote::ToTokens, message: impl std::fmt::Display) -> Result<T> {
    Err(syn::Error::new_spanned(at, message))
}
