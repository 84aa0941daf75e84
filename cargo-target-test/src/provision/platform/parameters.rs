//! What platforms share when they read their parameters.
//!
//! Owns values that TOML has no type for, and how relative paths are meant. Must not know any platform.

use std::{
    borrow::Cow,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{
    Deserialize, Serialize,
    de::{self, DeserializeOwned, Error as _},
};
use serde_json::Value;

use super::Order;
use crate::error::{Error, ErrorKind, Result};

/// Reads a platform's table and gives it back with its defaults filled in.
pub(super) fn normalised<'de, P: Deserialize<'de> + Serialize>(
    table: toml::de::ValueDeserializer<'de>,
) -> Result<Value, toml::de::Error> {
    let parameters = P::deserialize(table)?;
    serde_json::to_value(&parameters).map_err(toml::de::Error::custom)
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

/// A path parameter as meant: `~/` is the home folder, relative paths start at the playbook's folder.
pub(super) fn path(directory: &Path, written: &Path) -> PathBuf {
    match (written.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => directory.join(written),
    }
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

/// A login name, for `deserialize_with`.
pub(super) fn user<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let user = Option::<String>::deserialize(from)?;
    if let Some(user) = &user {
        check_word("user", user).map_err(D::Error::custom)?;
    }
    Ok(user)
}

/// How long something may take: `30s`, `10m`, `1h 30m`; never zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limit(pub(super) Duration);

impl Serialize for Limit {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(LimitVisitor)
    }
}

struct LimitVisitor;

impl de::Visitor<'_> for LimitVisitor {
    type Value = Limit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"30s\" or \"10m\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Limit, E> {
        match humantime::parse_duration(text) {
            Ok(limit) if limit.is_zero() => Err(E::custom(format!("`{text}` is no time at all"))),
            Ok(limit) => Ok(Limit(limit)),
            Err(_) => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

impl schemars::JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "examples": ["30s", "10m"] })
    }
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

    #[test]
    fn paths() {
        let of = |written: &str| path(Path::new("/book"), Path::new(written));
        assert_eq!(of("keys/id"), Path::new("/book/keys/id"));
        assert_eq!(of("/keys/id"), Path::new("/keys/id"));
        assert_eq!(of("~/id"), std::env::home_dir().unwrap().join("id"));
        assert_eq!(of("~x/id"), Path::new("/book/~x/id"));
    }
}
