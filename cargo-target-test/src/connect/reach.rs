//! Addresses: how an instance is reached, as data that a pool can keep.
//!
//! Owns the types that a transport is made from. Must not connect.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::secret::Bound;

/// How an instance is reached: what a transport needs to connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Processes of this machine.
    Local {
        /// The folder commands start in.
        directory: PathBuf,
        /// Environment variables for every command.
        env: BTreeMap<String, Bound>,
        /// What else of this process's environment they see; `None`: all of it.
        #[serde(default)]
        inherit: Option<Vec<String>>,
        /// Whose they are, where not this process's user's.
        #[serde(default)]
        user: Option<LocalUser>,
    },
    /// SSH.
    Ssh(SshReach),
    /// A container, by its engine's `exec`.
    Container {
        /// The engine's program.
        engine: String,
        /// The container's name.
        container: String,
        /// Whose commands they are; the image's user by default.
        user: Option<String>,
    },
    /// Programs of the user's.
    Programs(Box<ProgramReach>),
    /// A transport that only the platform knows: its `connect` makes it.
    ByPlatform,
}

impl Reach {
    /// Processes of this machine that start in this folder, with the tool's environment.
    pub fn local(directory: impl Into<PathBuf>) -> Self {
        Self::Local {
            directory: directory.into(),
            env: BTreeMap::new(),
            inherit: None,
            user: None,
        }
    }
}

/// A user of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalUser {
    /// Its number.
    pub uid: u32,
    /// Its group's.
    pub gid: u32,
}

/// How to reach an instance by programs of the user's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProgramReach {
    /// Runs a line in the instance's POSIX shell: the program and its arguments; the line is one more.
    pub exec: Vec<String>,
    /// Writes standard input to a file: its path and its mode are two more arguments.
    pub put: Option<Vec<String>>,
    /// Prints a file: its path is one more argument.
    pub get: Option<Vec<String>>,
    /// Where they start.
    pub directory: PathBuf,
    /// What they find in `TARGET_TEST_REQUEST`, with values for the references in its `params`.
    pub request: String,
    /// Environment variables for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Bound>,
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
    /// For a login by password, and for `sudo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Bound>,
    /// Overrides the configured known-hosts files.
    pub known_hosts: Option<PathBuf>,
    /// For instances we made: the host key is recorded in `known_hosts` at the first connection.
    pub trust_first: bool,
    /// How long connecting may take.
    pub connect_timeout: Option<Duration>,
}
