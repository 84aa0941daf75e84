//! A string for use, as the pool records it.
//!
//! Owns what must be known to look a value up later, in another process too. Never holds a value that was looked up.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::Reference;
use crate::error::Result;

/// A string, or how to get it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bound {
    /// The string itself.
    Plain(String),
    /// How to get it.
    Secret(Lookup),
}

/// How to get a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// Whose it is: `` `password` of target `lab` ``.
    pub of: String,
    /// Where it is to be had.
    pub reference: Reference,
    /// Where files and programs are, absolute.
    pub directory: PathBuf,
}

impl Bound {
    /// The string, looked up now and redacted from now on.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`](crate::ErrorKind::Infra), the reference and its user named.
    pub fn value(&self) -> Result<String> {
        match self {
            Self::Plain(text) => Ok(text.clone()),
            Self::Secret(lookup) => lookup.value(),
        }
    }

    /// How it is to be had, if it is not here.
    pub fn lookup(&self) -> Option<&Lookup> {
        match self {
            Self::Plain(_) => None,
            Self::Secret(lookup) => Some(lookup),
        }
    }
}

impl From<String> for Bound {
    fn from(text: String) -> Self {
        Self::Plain(text)
    }
}

/// Where it comes from, for messages.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("the playbook"),
            Self::Secret(lookup) => write!(f, "`{}`", lookup.reference),
        }
    }
}
