//! Messages about the start of a test, and about its instances.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Instructions for a runner to start a test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The program and its arguments, to which the runner adds nextest's own arguments.
    pub command: Vec<String>,
    /// Environment variables for the test process.
    pub env: BTreeMap<String, String>,
    /// The lease; `None` for a test that runs once, on the host.
    pub lease: Option<String>,
    /// The time in milliseconds, from the start of the test process, after which the process is terminated.
    pub timeout: Option<u64>,
    /// The reason the test is expected to fail, if any; a pass is then a failure.
    pub expect_fail: Option<String>,
    /// Where the test's output is kept: standard output in this file with `.stdout` added, standard error with `.stderr`;
    /// a stream that stays empty has no file. `None`: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<PathBuf>,
    /// The files for the test's output: standard output in this path with `.stdout` added, standard error with
    /// `.stderr`; a stream without output has no file. `None` keeps no output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
}

/// A value to redact.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Secret {
    /// The name shown instead of the value, as `[secret NAME]`.
    pub name: String,
    /// The value.
    pub value: String,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[secret {}]", self.name)
    }
}

/// A leased instance, as described to a client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// The name: `alpha-0`.
    pub name: String,
    /// The target of the instance: `alpha`.
    pub target: String,
    /// The platform of the target: `ssh`.
    pub platform: String,
    /// The host name or address; `localhost` on platform `local`.
    pub host: String,
    /// The SSH port, if any.
    pub port: Option<u16>,
    /// The login name, if known.
    pub user: Option<String>,
    /// The resolved parameters of the target, an object.
    pub params: Value,
    /// The data that the platform provided for the instance, an object.
    pub data: Value,
    /// The features of the target.
    pub features: Vec<String>,
}
