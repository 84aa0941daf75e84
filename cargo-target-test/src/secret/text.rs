//! A string of a playbook: written there, or named there.
//!
//! Owns the syntax, whose mistakes are found before anything is looked up. Must not look anything up.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{
    Deserialize, Serialize,
    de::{self, DeserializeSeed, Error as _},
};

use super::{Bound, Lookup};

/// The keys of a reference's table.
pub const KEYS: &[&str] = &["env", "file", "command"];

/// A string, or where it is to be had: `{ env = "LAB_PASSWORD" }`, `{ file = "lab.key" }` or
/// `{ command = ["pass", "show", "lab"] }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "SecretText")]
pub enum Text {
    /// The string itself.
    Plain(String),
    /// Where it is to be had.
    Secret(Reference),
}

/// Where a value is to be had, at the moment that it is used. The playbook, the pool and reports have this and never
/// the value, which is shown as `[secret NAME]`. Instances are the same as long as this is: another value makes none anew.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)]
pub enum Reference {
    /// The environment variable of this name.
    Env(#[schemars(length(min = 1))] String),
    /// The content of this file, relative to the playbook, without its last line break.
    File(#[schemars(with = "String", length(min = 1))] PathBuf),
    /// What this program prints, without its last line break. It starts in the playbook's folder, at most once for
    /// each run.
    Command(#[schemars(length(min = 1))] Vec<String>),
}

impl Text {
    /// The same for use: `of` says whose it is (`` `password` of target `lab` ``), and files and programs are
    /// relative to `directory`.
    pub fn bound(&self, of: &str, directory: &Path) -> Bound {
        match self {
            Self::Plain(text) => Bound::Plain(text.clone()),
            Self::Secret(reference) => Bound::Secret(Lookup {
                of: of.to_owned(),
                reference: reference.clone(),
                directory: directory.to_owned(),
            }),
        }
    }
}

/// The name by which the value is shown.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => f.write_str(name),
            Self::File(path) => path.display().fmt(f),
            Self::Command(words) => f.write_str(words.first().map_or("", String::as_str)),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a reference such as `{ env = \"NAME\" }`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
        if text.contains('\0') {
            return Err(E::custom("the string contains NUL"));
        }
        Ok(Text::Plain(text.to_owned()))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut table: A) -> Result<Text, A::Error> {
        let Some(key) = table.next_key_seed(NextKey(None))? else {
            return Err(A::Error::custom(
                "names no source: a secret has `env`, `file` or `command`",
            ));
        };
        let reference = match key {
            "env" => Reference::Env(table.next_value::<Variable>()?.0),
            "file" => Reference::File(table.next_value::<FileName>()?.0),
            _ => Reference::Command(table.next_value::<Words>()?.0),
        };
        table.next_key_seed(NextKey(Some(key)))?;
        Ok(Text::Secret(reference))
    }
}

/// The next key, which is one of [`KEYS`] and the only one: an error here points at it.
struct NextKey(Option<&'static str>);

impl<'de> DeserializeSeed<'de> for NextKey {
    type Value = &'static str;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<&'static str, D::Error> {
        let name = String::deserialize(from)?;
        let known = KEYS.iter().copied().find(|key| *key == name);
        match (known, self.0) {
            (None, _) => Err(D::Error::unknown_field(&name, KEYS)),
            (Some(key), None) => Ok(key),
            (Some(key), Some(first)) => {
                let message = format!("`{key}` beside `{first}`: a secret has one source");
                Err(D::Error::custom(message))
            }
        }
    }
}

struct Variable(String);

impl<'de> Deserialize<'de> for Variable {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        if name.is_empty() || name.contains(['=', '\0']) {
            let message = format!("{name:?} cannot be the name of an environment variable");
            return Err(D::Error::custom(message));
        }
        Ok(Self(name))
    }
}

struct FileName(PathBuf);

impl<'de> Deserialize<'de> for FileName {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        if name.is_empty() || name.contains('\0') {
            return Err(D::Error::custom(format!("{name:?} cannot be a file")));
        }
        Ok(Self(name.into()))
    }
}

struct Words(Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let words = Vec::<String>::deserialize(from)?;
        if words.first().is_none_or(|first| first.trim().is_empty()) {
            return Err(D::Error::custom("no program is named"));
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err(D::Error::custom("a program cannot be given NUL"));
        }
        Ok(Self(words))
    }
}
