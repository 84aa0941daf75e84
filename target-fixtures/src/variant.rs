//! [`Variant`]: the configuration of the playbook that a test runs with.

use std::env;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    env as name,
    error::{ErrorKind, TargetError},
};

/// A configuration of the playbook's `[[variants]]`, with which a test runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    name: String,
    params: Value,
}

impl Variant {
    /// The name: `vlan93`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The parameters, an object.
    #[must_use]
    pub fn params(&self) -> &Value {
        &self.params
    }

    /// The value of one parameter. One that the variant does not have is null, as for an `Option`.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the variant has no such parameter, or one of another type.
    #[track_caller]
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<T, TargetError> {
        let value = self.params.get(key);
        T::deserialize(value.unwrap_or(&Value::Null)).map_err(|error| {
            let why = match value {
                Some(_) => error.to_string(),
                None => format!("not found in {}", self.params),
            };
            let name = &self.name;
            let message = format!("read parameter `{key}` of variant `{name}`: {why}");
            TargetError::new(ErrorKind::Request, message)
        })
    }
}

/// The configuration that this test runs with; `None` if the playbook has no variants for it, or without
/// `cargo target-test`.
#[must_use]
pub fn variant() -> Option<Variant> {
    let name = env::var(name::VARIANT).ok()?;
    let params = env::var(name::VARIANT_PARAMS).unwrap_or_default();
    let params = serde_json::from_str(&params).unwrap_or_default();
    Some(Variant { name, params })
}
