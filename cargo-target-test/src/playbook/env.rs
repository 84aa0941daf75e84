//! The syntax of environment variables.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::secret::Text;

/// Environment variables, by name.
pub type Env = BTreeMap<EnvName, Text>;

/// The name of an environment variable, as a shell takes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct EnvName(pub(crate) String);

impl<'de> Deserialize<'de> for EnvName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
        let is_name =
            name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit());
        match is_name {
            true => Ok(Self(name)),
            false => Err(D::Error::custom(format!(
                "{name:?} cannot be the name of an environment variable"
            ))),
        }
    }
}
