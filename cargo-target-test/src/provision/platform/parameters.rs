//! What platforms share when they read their parameters.
//!
//! Owns values that TOML has no type for, and how relative paths are meant. Must not know any platform.

use std::{collections::BTreeMap, path::Path};

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, Error as _},
};
use serde_json::Value;

use super::Order;
pub(super) use crate::playbook::{Limit, resolve_path as path};
use crate::{
    error::{Error, ErrorKind, Result},
    secret::{Bound, Lookup, Text},
};

/// Reads a platform's table and gives it back with its defaults filled in.
pub(super) fn normalised<'de, P: Deserialize<'de> + Serialize>(
    table: toml::de::ValueDeserializer<'de>,
) -> Result<Value, toml::de::Error> {
    let parameters = P::deserialize(table)?;
    serde_json::to_value(&parameters).map_err(toml::de::Error::custom)
}

/// What the parameters `memory` and `cores` are sure to come to.
pub(super) fn sizes(parameters: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let given = |key: &str| Some((key.to_owned(), text(parameters.get(key)?)?));
    ["memory", "cores"].into_iter().filter_map(given).collect()
}

/// Reads the parameters of an order back.
///
/// # Errors
/// When a release with other parameters wrote the order.
pub(super) fn of<P: DeserializeOwned>(order: &Order) -> Result<P> {
    P::deserialize(&order.parameters).map_err(|error| {
        Error::new(
            ErrorKind::Infra,
            format!("cannot use the parameters of `{}`", order.instance),
        )
        .with_source(error)
        .with_hint("was it deployed by another release of cargo-target-test? use that one")
    })
}

/// Checks that a path parameter names a file.
pub(super) fn check_file(order: &Order, key: &str, written: Option<&Path>) -> Result<()> {
    let Some(written) = written else {
        return Ok(());
    };
    let path = path(&order.directory, written);
    if path.is_file() {
        return Ok(());
    }
    let (target, path) = (&order.target, path.display());
    Err(wrong(format!(
        "`{key}` of target `{target}`: there is no file `{path}`"
    )))
}

/// An error in the parameters that only the disk shows.
pub(super) fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Playbook, message)
}

/// Refuses what no host and no user name can be, and what `ssh` would take for an option.
pub(super) fn check_word(what: &str, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err(format!("the {what} is empty"));
    }
    if text.starts_with('-') {
        return Err(format!("the {what} `{text}` starts with `-`"));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("the {what} {text:?} contains white space"));
    }
    Ok(())
}

/// The name of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(transparent)]
pub(super) struct Name(pub(super) String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        if name.is_empty() || name.contains(['=', '\0']) {
            let problem = format!("{name:?} cannot be the name of an environment variable");
            return Err(D::Error::custom(problem));
        }
        Ok(Self(name))
    }
}

/// A table of environment variables.
pub(super) type Env = BTreeMap<Name, Text>;

/// A parameter's string, for use with this order.
pub(super) fn bound(order: &Order, key: &str, text: &Text) -> Bound {
    let of = format!("`{key}` of target `{}`", order.target);
    text.bound(&of, &order.directory)
}

/// The variables of `env`, for use with this order.
pub(super) fn bound_env(order: &Order, env: &Env) -> BTreeMap<String, Bound> {
    let one = |(name, text): (&Name, &Text)| {
        let key = format!("env.{}", name.0);
        (name.0.clone(), bound(order, &key, text))
    };
    env.iter().map(one).collect()
}

/// Those among them that are to be looked up.
pub(super) fn lookups(all: impl IntoIterator<Item = Bound>) -> Vec<Lookup> {
    let lookup = |bound: Bound| bound.lookup().cloned();
    all.into_iter().filter_map(lookup).collect()
}

/// The values of all of them, looked up.
///
/// # Errors
/// As [`Bound::value`].
pub(super) fn values(all: &BTreeMap<String, Bound>) -> Result<BTreeMap<String, String>> {
    all.iter()
        .map(|(name, bound)| Ok((name.clone(), bound.value()?)))
        .collect()
}

/// A login name, for `deserialize_with`.
pub(super) fn user<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let user = Option::<String>::deserialize(from)?;
    if let Some(user) = &user {
        check_word("user", user).map_err(D::Error::custom)?;
    }
    Ok(user)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Reads parameters as from a playbook; an error is the text it points at and its message.
    pub(in super::super) fn parse(
        platform: &dyn super::super::Platform,
        text: &str,
    ) -> Result<Value, (String, String)> {
        let table = toml::de::DeTable::parse(text).unwrap().into_inner();
        let table = toml::Spanned::new(0..text.len(), toml::de::DeValue::Table(table));
        let table = toml::de::ValueDeserializer::from(table);
        platform.parameters(table).map_err(|error| {
            let span = error.span().unwrap_or_default();
            (text[span].to_owned(), error.message().to_owned())
        })
    }

    /// An order with a scratch folder below `directory`.
    pub(in super::super) fn order(directory: &Path, parameters: Value) -> Order {
        Order {
            instance: "alpha-0".into(),
            target: "alpha".into(),
            index: 0,
            label: "tt-1f3a9c".into(),
            unique: format!("tt-1f3a9c-{}", directory.display()),
            parameters,
            directory: directory.to_owned(),
            scratch: directory.join("scratch"),
        }
    }
}
