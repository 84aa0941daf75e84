//! The values of arguments: what each type accepts, and the error at the exact place where not.
//!
//! Owns the reading of one value. Must not know which key takes which type.

use syn::{
    Expr, ExprLit, Lit, LitStr, Meta, Result, Token, parse::ParseStream, punctuated::Punctuated,
};

use crate::{json::Json, nearest::nearest, requirement::Requirement};

/// Does something with every item; all errors at once.
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

/// The message for a name that is not known.
pub(crate) fn unknown<'a>(
    name: &str,
    what: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> String {
    match nearest(name, known.clone()) {
        Some(near) => format!("unknown {what} `{name}`; did you mean `{near}`?"),
        None => format!(
            "unknown {what} `{name}`; known are {}",
            known.collect::<Vec<_>>().join(", ")
        ),
    }
}

pub(crate) fn text(value: &Expr) -> Result<String> {
    let literal = literal(value)?;
    match literal.value() {
        text if text.trim().is_empty() => fail(literal, "expected a string that is not empty"),
        text => Ok(text),
    }
}

pub(crate) fn texts(value: &Expr) -> Result<Json> {
    let Expr::Array(array) = value else {
        return fail(
            value,
            "expected a list of strings, like `[\"one\", \"two\"]`",
        );
    };
    let mut list = Vec::new();
    each(&array.elems, |element| {
        list.push(Json::Text(text(element)?));
        Ok(())
    })?;
    Ok(Json::List(list))
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
        _ => fail(
            value,
            format!("expected a whole number from {least} to {most}"),
        ),
    }
}

pub(crate) fn duration(value: &Expr) -> Result<Json> {
    let text = text(value)?;
    match humantime::parse_duration(&text) {
        Ok(duration) if duration.is_zero() => fail(value, "expected a duration of more than zero"),
        Ok(_) => Ok(Json::Text(text)),
        Err(error) => fail(
            value,
            format!("bad duration: {error}; write `30s`, `5m` or `1h 30m`"),
        ),
    }
}

pub(crate) fn requirement(value: &Expr) -> Result<String> {
    if literal(value).is_err() {
        return fail(value, "expected a requirement in quotes, like `\">= 2\"`");
    }
    let text = text(value)?;
    match text.parse::<Requirement>() {
        Ok(_) => Ok(text),
        Err(error) => fail(value, error),
    }
}

/// `skip = "reason"` or `skip("reason", platform = "..", target = "..", feature = "..")`.
pub(crate) fn condition(meta: &Meta) -> Result<Json> {
    let parts = match meta {
        Meta::NameValue(pair) => {
            return Ok(Json::Object(vec![(
                "reason".to_owned(),
                text(&pair.value)?.into(),
            )]));
        }
        Meta::List(list) => list.parse_args_with(reason_and_limits)?,
        Meta::Path(path) => {
            let key = path
                .get_ident()
                .map(ToString::to_string)
                .unwrap_or_default();
            return fail(path, format!("expected a reason: `{key}(\"reason\")`"));
        }
    };
    let (reason, limits) = parts;
    let mut fields = vec![("reason".to_owned(), Json::Text(text(&reason)?))];
    each(limits, |limit| {
        let known = ["platform", "target", "feature"];
        let key = limit
            .path
            .get_ident()
            .map(ToString::to_string)
            .unwrap_or_default();
        if !known.contains(&key.as_str()) {
            return fail(&limit.path, unknown(&key, "condition", known.into_iter()));
        }
        if fields.iter().any(|(name, _)| *name == key) {
            return fail(&limit.path, format!("`{key}` is given twice"));
        }
        fields.push((key, Json::Text(text(&limit.value)?)));
        Ok(())
    })?;
    Ok(Json::Object(fields))
}

type Limits = Punctuated<syn::MetaNameValue, Token![,]>;

fn reason_and_limits(input: ParseStream<'_>) -> Result<(Expr, Limits)> {
    if !input.peek(LitStr) {
        return Err(input.error("expected a reason first, a string"));
    }
    let reason = input.parse()?;
    if !input.is_empty() {
        input.parse::<Token![,]>()?;
    }
    Ok((reason, Limits::parse_terminated(input)?))
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
