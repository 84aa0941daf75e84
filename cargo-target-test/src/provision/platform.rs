//! What a platform is: a way of making instances of a target.
//!
//! Owns the seam between the pool and the ways machines are made. A platform knows neither pool nor
//! playbook: it gets parameters and names, and returns how to reach what it made. One file under
//! `platform/` and one line in [`all`] add a platform.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Result;

pub mod ssh_config;

/// A way of making instances. Calls block; the broker makes them on threads of their own.
pub trait Platform: Send + Sync {
    /// The name in playbooks: `ssh`.
    fn name(&self) -> &'static str;

    /// Part of every definition's hash: raised when instances made by an older version of this
    /// platform must not serve any more.
    fn version(&self) -> u32 {
        1
    }

    /// Checks a target's parameters (the platform's defaults, `[platforms.X]` and the target merged,
    /// common keys taken out) and returns them normalised, an object with the defaults filled in.
    /// Paths stay as written.
    ///
    /// # Errors
    /// What toml says, with its span.
    fn parameters(&self, table: toml::de::ValueDeserializer<'_>) -> Result<Value, toml::de::Error>;

    /// The JSON Schema of the parameters (an object schema, kebab-case keys).
    fn schema(&self) -> schemars::Schema;

    /// How many instances these parameters give when the target has no `count`; `None`: 1.
    /// `ssh` has one per host, `local` one per core.
    fn count(&self, _parameters: &Value) -> Option<u32> {
        None
    }

    /// What the lease of this instance excludes, for machines that we did not make: `host:port`.
    /// `None`: the record's own lock.
    ///
    /// # Errors
    /// When the name cannot be resolved.
    fn exclusive(&self, _instance: &Order) -> Result<Option<String>> {
        Ok(None)
    }

    /// Whether a dirty instance is deleted and deployed again; machines that we did not make are
    /// only cleaned of what the last lease left.
    fn makes_machines(&self) -> bool;

    /// Makes (or finds) the instance and returns how it is reached. Called again after an
    /// interrupted call with the same order, it must not make a second machine.
    ///
    /// # Errors
    /// Why there is no such instance; whatever was made is then removed by [`Platform::delete`].
    fn deploy(&self, order: &Order, progress: &dyn Fn(&str)) -> Result<Deployed>;

    /// Deletes the instance; one that does not exist (any more, or not yet) is a success.
    ///
    /// # Errors
    /// Why it may still exist.
    fn delete(&self, order: &Order, deployed: Option<&Deployed>) -> Result<()>;
}

/// Everything a platform needs to make or delete one instance; durable before the first create call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// `alpha-0`.
    pub instance: String,
    /// `alpha`.
    pub target: String,
    /// 0, 1, ... within the target.
    pub index: u32,
    /// The pool's label, for everything made: `tt-1f3a9c`.
    pub label: String,
    /// A name that no other instance of this pool ever had: `tt-1f3a9c-12`.
    pub unique: String,
    /// [`Platform::parameters`]' answer.
    pub parameters: Value,
    /// The folder that relative paths in the parameters start from (the playbook's).
    pub directory: PathBuf,
    /// A private folder for this instance's files; made by the pool, removed with the record.
    pub scratch: PathBuf,
}

/// An instance that exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployed {
    /// Host name or address, for people and tests.
    pub host: String,
    /// SSH port, where there is one.
    pub port: Option<u16>,
    /// Login name, where it is known.
    pub user: Option<String>,
    /// What the platform says of the instance, an object.
    pub data: Value,
    /// How commands and files reach it.
    pub reach: Reach,
}

/// How an instance is reached: what a transport needs to connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Processes of this machine.
    Local {
        /// The folder commands start in.
        directory: PathBuf,
        /// Environment variables for every command.
        env: BTreeMap<String, String>,
    },
    /// SSH.
    Ssh(SshReach),
}

/// How to reach an instance by SSH. What is absent comes from `ssh -G`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SshReach {
    /// The host as the user wrote it: an alias of `~/.ssh/config`, a name or an address.
    pub host: String,
    /// Overrides the configured port.
    pub port: Option<u16>,
    /// Overrides the configured user.
    pub user: Option<String>,
    /// Overrides the configured identity files.
    pub identity: Option<PathBuf>,
    /// Overrides the configured known-hosts files.
    pub known_hosts: Option<PathBuf>,
    /// For instances we made: the host key is recorded in `known_hosts` at the first connection.
    pub trust_first: bool,
    /// How long connecting may take.
    pub connect_timeout: Option<Duration>,
}
