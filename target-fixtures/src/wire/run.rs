//! How a test is started, and what it knows of its instances.
//!
//! Owns those parts of messages. Must not know who starts it.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a runner starts a test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// A runner that the user configured, to put before the binary; usually empty.
    pub prefix: Vec<String>,
    /// The test's own name: `smoke`.
    pub test: String,
    /// Whether the test is `#[ignore]`d, so that the harness must be told to run it.
    pub ignored: bool,
    /// Environment variables for the test process.
    pub env: BTreeMap<String, String>,
    /// The lease; none for a test that runs once, on the host.
    pub lease: Option<String>,
    /// Milliseconds from the start of the test process after which it is terminated.
    pub timeout: Option<u64>,
    /// Why the test is expected to fail; a pass is then a failure.
    pub expect_fail: Option<String>,
    /// Where the test's output is kept: standard output in this file with `.stdout` added, standard error with `.stderr`;
    /// a stream that stays empty has no file. `None`: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<PathBuf>,
    /// What the test's output must not show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
}

/// A value that nobody may see.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Secret {
    /// What is shown in its place, as `[secret NAME]`.
    pub name: String,
    /// The value.
    pub value: String,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[secret {}]", self.name)
    }
}

/// What a client knows of one leased instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// `alpha-0`.
    pub name: String,
    /// The target it is an instance of: `alpha`.
    pub target: String,
    /// The platform that made it: `ssh`.
    pub platform: String,
    /// Host name or address; `localhost` for `local`.
    pub host: String,
    /// SSH port, where there is one.
    pub port: Option<u16>,
    /// Login name, where there is one.
    pub user: Option<String>,
    /// The target's resolved parameters, an object.
    pub params: Value,
    /// What the platform said of this instance, an object.
    pub data: Value,
    /// The target's features.
    pub features: Vec<String>,
}
