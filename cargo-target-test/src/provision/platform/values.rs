//! Types of parameters that several platforms use: names of variables, texts with secrets, paths. Must not know any
//! platform.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::Value;

use super::InstanceSpec;
pub(super) use crate::playbook::{Env, EnvName, Limit, Share};
use crate::{
    digest,
    error::{Error, ErrorKind, Result},
    playbook::resolve_path,
    secret::{Bound, Lookup, Text},
};

/// The capabilities that the parameters `memory` and `cores` guarantee.
pub(super) fn sizes(parameters: &impl Serialize) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    // The parameters came from JSON, so the conversion cannot fail.
    let parameters = serde_json::to_value(parameters).unwrap_or_default();
    let given = |key: &str| Some((key.to_owned(), text(parameters.get(key)?)?));
    ["memory", "cores"].into_iter().filter_map(given).collect()
}

impl<P> InstanceSpec<P> {
    /// A path of the parameters: a relative one starts in the folder of the playbook.
    pub(super) fn path(&self, written: &Path) -> PathBuf {
        resolve_path(&self.directory, written)
    }

    /// Checks that the path parameter `key` names a file.
    pub(super) fn check_file(&self, key: &str, written: Option<&Path>) -> Result<()> {
        let Some(written) = written else {
            return Ok(());
        };
        let path = self.path(written);
        if path.is_file() {
            return Ok(());
        }
        let (target, shown) = (&self.target, path.display());
        let problem = match path.exists() {
            true => format!("`{shown}` is not a file"),
            false => format!("file not found: `{shown}`"),
        };
        Err(wrong(format!("`{key}` of target `{target}`: {problem}")).with_key(key))
    }

    /// Checks that the folders of the parameter `share` exist. Engines and QEMU separate words by colons and commas.
    pub(super) fn check_shares(&self, shares: &[Share]) -> Result<()> {
        for share in shares {
            let problem = match (share.host.is_dir(), share.host.exists()) {
                _ if [&share.host, share.guest()]
                    .iter()
                    .any(|path| is_separated(path)) =>
                {
                    "the path has a colon or a comma"
                }
                (true, _) => continue,
                (_, true) => "not a folder",
                (_, false) => "folder not found",
            };
            let (target, host) = (&self.target, share.host.display());
            let message = format!("`share` of target `{target}`: {problem}: `{host}`");
            return Err(wrong(message).with_key("share"));
        }
        Ok(())
    }

    /// The string of parameter `key`, with the folder for looking up its secret.
    pub(super) fn bound(&self, key: &str, text: &Text) -> Bound {
        let of = format!("`{key}` of target `{}`", self.target);
        text.bound(&of, &self.directory)
    }

    /// The variables of `env`, as [`Self::bound`].
    pub(super) fn bound_env(&self, env: &Env) -> BTreeMap<String, Bound> {
        let one = |(name, text): (&EnvName, &Text)| {
            let key = format!("env.{}", name.0);
            (name.0.clone(), self.bound(&key, text))
        };
        env.iter().map(one).collect()
    }
}

fn is_separated(path: &Path) -> bool {
    path.to_string_lossy().contains([':', ','])
}

/// An error of the playbook that is found on disk.
pub(super) fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Playbook, message)
}

/// Refuses text that cannot be a host or user name, or that `ssh` would parse as an option.
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

/// The secrets among these strings.
pub(super) fn lookups(all: impl IntoIterator<Item = Bound>) -> Vec<Lookup> {
    let lookup = |bound: Bound| bound.lookup().cloned();
    all.into_iter().filter_map(lookup).collect()
}

/// Reads an optional login name, for `deserialize_with`.
pub(super) fn user<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let user = Option::<String>::deserialize(from)?;
    if let Some(user) = &user {
        check_word("user", user).map_err(D::Error::custom)?;
    }
    Ok(user)
}

/// Returns the digests of files that the playbook names, by parameter; without those that cannot be read.
pub(super) fn digests<P, const N: usize>(
    spec: &InstanceSpec<P>,
    files: [(&str, Option<&Path>); N],
) -> BTreeMap<String, String> {
    let digest = |(key, written): (&str, Option<&Path>)| {
        let digest = digest::of_file(&spec.path(written?)).ok()?;
        Some((key.to_owned(), digest))
    };
    files.into_iter().filter_map(digest).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        playbook::PlatformSyntax,
        provision::platform::{Platform, erased::Erased},
    };

    /// Reads parameters as from a playbook. An error is the text it points at and its message.
    pub(in super::super) fn parse(
        platform: impl Platform,
        text: &str,
    ) -> Result<Value, (String, String)> {
        let table = toml::de::DeTable::parse(text).unwrap().into_inner();
        let table = toml::Spanned::new(0..text.len(), toml::de::DeValue::Table(table));
        let table = toml::de::ValueDeserializer::from(table);
        Erased(platform).parameters(table).map_err(|error| {
            let span = error.span().unwrap_or_default();
            (text[span].to_owned(), error.message().to_owned())
        })
    }

    /// A spec with a scratch folder below `directory`.
    pub(in super::super) fn spec<P>(directory: &Path, parameters: P) -> InstanceSpec<P> {
        InstanceSpec {
            provenance: Default::default(),
            nics: Vec::new(),
            peers: Vec::new(),
            place: None,
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
