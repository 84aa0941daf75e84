//! The playbook syntax of a string that may be a secret reference.
//!
//! Must not look up values.

use std::{
    fmt,
    os::unix::ffi::OsStrExt,
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

/// A string, or a secret reference: `{ env = "LAB_PASSWORD" }`, `{ file = "lab.key" }` or
/// `{ command = ["pass", "show", "lab"] }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "SecretText")]
pub enum Text {
    /// The string itself.
    Plain(String),
    /// The source of the string.
    Secret(Reference),
}

/// The source of a secret value, which is looked up when it is used. Playbook, pool and reports contain the reference,
/// never the value: the value is shown as `[secret NAME]`. A changed value does not recycle instances; a changed
/// reference does.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)]
pub enum Reference {
    /// The environment variable of this name.
    Env(#[schemars(length(min = 1))] String),
    /// The content of this file, relative to the playbook, without the trailing line break.
    File(#[schemars(with = "String", length(min = 1))] PathBuf),
    /// The output of this program, without the trailing line break. The program starts in the playbook's folder, at
    /// most once per run.
    Command(#[schemars(length(min = 1))] Vec<String>),
}

impl Text {
    /// Binds the string for use: `of` is the key that uses it (`` `password` of target `lab` ``), and file and program
    /// paths are relative to `directory`.
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

/// Shows the name that replaces the value.
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
        from.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> de::Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a reference such as `{ env = \"NAME\" }`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
        if text.contains('\0') {
            return Err(E::custom("the string contains a NUL byte"));
        }
        Ok(Text::Plain(text.to_owned()))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut table: A) -> Result<Text, A::Error> {
        let Some(key) = table.next_key_seed(NextKey(None))? else {
            return Err(A::Error::custom(
                "a secret requires one of `env`, `file` and `command`",
            ));
        };
        let reference = match key {
            "env" => Reference::Env(table.next_value_seed(Checked(variable))?),
            "file" => Reference::File(table.next_value_seed(Checked(file))?),
            _ => Reference::Command(table.next_value_seed(Checked(words))?),
        };
        table.next_key_seed(NextKey(Some(key)))?;
        Ok(Text::Secret(reference))
    }
}

/// Reads a key that must be one of [`KEYS`] and the only key of its table, so that the error points at the key.
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
                let message = format!("`{key}` cannot be combined with `{first}`");
                Err(D::Error::custom(message))
            }
        }
    }
}

/// Reads a value and checks it, so that the error points at the value.
struct Checked<T>(fn(T) -> Result<T, String>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Checked<T> {
    type Value = T;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        (self.0)(T::deserialize(from)?).map_err(D::Error::custom)
    }
}

fn variable(name: String) -> Result<String, String> {
    match name.is_empty() || name.contains(['=', '\0']) {
        true => Err(format!("invalid name of an environment variable: {name:?}")),
        false => Ok(name),
    }
}

fn file(path: PathBuf) -> Result<PathBuf, String> {
    match path.as_os_str().is_empty() || path.as_os_str().as_bytes().contains(&0) {
        true => Err(format!("invalid file path: {path:?}")),
        false => Ok(path),
    }
}

fn words(words: Vec<String>) -> Result<Vec<String>, String> {
    if words.first().is_none_or(|first| first.trim().is_empty()) {
        return Err("`command` requires a program".to_owned());
    }
    match words.iter().any(|word| word.contains('\0')) {
        true => Err("an argument contains a NUL byte".to_owned()),
        false => Ok(words),
    }
}
