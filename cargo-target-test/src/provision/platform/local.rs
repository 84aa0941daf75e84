//! Platform `local`: processes of this machine.
//!
//! Owns its parameters and each instance's working folder. What a lease leaves running is swept by
//! whoever ends the lease, so an instance that is dirty needs no new deploy.

use std::{collections::BTreeMap, fmt, io, thread};

use serde::{Deserialize, Serialize, de};
use serde_json::{Value, json};

use super::{Deployed, Order, Platform, Reach, parameters};
use crate::error::{Error, ErrorKind, Result};

/// Platform `local`.
#[derive(Debug)]
pub struct Local;

/// Parameters of platform `local`: commands run on this machine.
#[derive(Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Parameters {
    /// Environment variables for every command.
    #[schemars(with = "BTreeMap<String, String>")]
    env: BTreeMap<Name, Text>,
}

impl Platform for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn parameters(&self, table: toml::de::ValueDeserializer<'_>) -> Result<Value, toml::de::Error> {
        parameters::normalised::<Parameters>(table)
    }

    fn schema(&self) -> schemars::Schema {
        schemars::schema_for!(Parameters)
    }

    fn count(&self, _parameters: &Value) -> Option<u32> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Some(u32::try_from(cores).unwrap_or(u32::MAX))
    }

    fn makes_machines(&self) -> bool {
        false
    }

    fn deploy(&self, order: &Order, _progress: &dyn Fn(&str)) -> Result<Deployed> {
        let parameters: Parameters = parameters::of(order)?;
        fs_err::create_dir_all(&order.scratch).map_err(|error| infra(order, "deploy", error))?;
        let env = parameters.env.into_iter();
        Ok(Deployed {
            host: "localhost".to_owned(),
            port: None,
            user: std::env::var("USER").ok().filter(|user| !user.is_empty()),
            data: json!({}),
            reach: Reach::Local {
                directory: order.scratch.clone(),
                env: env.map(|(name, Text(value))| (name.0, value)).collect(),
            },
        })
    }

    fn delete(&self, order: &Order, _deployed: Option<&Deployed>) -> Result<()> {
        match fs_err::remove_dir_all(&order.scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(infra(order, "delete", error))
            }
            _ => Ok(()),
        }
    }
}

fn infra(order: &Order, verb: &str, error: io::Error) -> Error {
    Error::new(
        ErrorKind::Infra,
        format!("cannot {verb} `{}`", order.instance),
    )
    .with_source(error)
}

/// The name of an environment variable.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        if name.is_empty() || name.contains(['=', '\0']) {
            let problem = format!("{name:?} cannot be the name of an environment variable");
            return Err(de::Error::custom(problem));
        }
        Ok(Self(name))
    }
}

/// The value of an environment variable.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                if text.contains('\0') {
                    return Err(E::custom("an environment variable cannot contain NUL"));
                }
                Ok(Text(text.to_owned()))
            }
        }
        from.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests;
