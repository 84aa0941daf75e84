//! A string or a secret lookup, in the form that the pool records.
//!
//! Must not hold a value that was looked up.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::Reference;
use crate::error::Result;

/// A string, or the lookup that returns it. Can be evaluated by another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bound {
    /// The string itself.
    Plain(String),
    /// A secret, looked up when it is used.
    Secret(Lookup),
}

/// The lookup of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// The key that uses the secret, for messages: `` `password` of target `lab` ``.
    pub of: String,
    /// The source of the value.
    pub reference: Reference,
    /// The absolute folder that file and program paths are relative to.
    pub directory: PathBuf,
}

impl Bound {
    /// Returns the string. A secret is looked up and registered for redaction.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`](crate::ErrorKind::Infra) if the lookup fails.
    pub fn value(&self) -> Result<String> {
        match self {
            Self::Plain(text) => Ok(text.clone()),
            Self::Secret(lookup) => lookup.value(),
        }
    }

    /// Returns the lookup; `None` if the string is not a secret.
    pub fn lookup(&self) -> Option<&Lookup> {
        match self {
            Self::Plain(_) => None,
            Self::Secret(lookup) => Some(lookup),
        }
    }
}

/// Looks up the value of each variable.
///
/// # Errors
/// As [`Bound::value`].
pub fn values(all: &BTreeMap<String, Bound>) -> Result<BTreeMap<String, String>> {
    all.iter()
        .map(|(name, bound)| Ok((name.clone(), bound.value()?)))
        .collect()
}

impl From<String> for Bound {
    fn from(text: String) -> Self {
        Self::Plain(text)
    }
}

/// Shows the source of the string, for messages.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("the playbook"),
            Self::Secret(lookup) => write!(f, "`{}`", lookup.reference),
        }
    }
}
