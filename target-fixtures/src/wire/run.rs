//! Messages about the start of a test, and about its instances.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::FaultKind;

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
    /// The time in milliseconds that the test has to end by itself after [`BrokerRequest::Stop`](super::BrokerRequest::Stop),
    /// which takes the place of signals. `None`: signals end the test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stops_within: Option<u64>,
    /// The time limit in milliseconds of the set-up of an orchestration, after which `timeout` counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_up_limit: Option<u64>,
    /// The failures that are expected; if there are any, a pass is a failure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect_fail: Vec<ExpectedFailure>,
    /// Where the test's output is kept: standard output in this file with `.stdout` added, standard error with `.stderr`;
    /// a stream that stays empty has no file. `None`: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<PathBuf>,
    /// The files for the test's output: standard output in this path with `.stdout` added, standard error with
    /// `.stderr`; a stream without output has no file. `None` keeps no output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
}

/// A failure that is expected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedFailure {
    /// The reason.
    pub reason: String,
    /// The text that the failure's message contains; `None` expects any failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl ExpectedFailure {
    /// True if a failure with this message is the expected one.
    #[must_use]
    pub fn covers(&self, message: &str) -> bool {
        self.error
            .as_deref()
            .is_none_or(|error| message.contains(error))
    }
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
    /// The faults that a test may cause.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultKind>,
    /// The place of the machine in its environment; `None` for an instance of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<RolePlace>,
    /// The links to the networks of its environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<InstanceLink>,
}

/// The link of a machine to a network of its environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceLink {
    /// The network's name: `lab`.
    pub network: String,
    /// The hardware address, by which the interface is found in a virtual machine.
    pub mac: String,
    /// The address with the length of its prefix: `10.77.1.2/24`. `None` if the test configures the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// The place of a machine in its environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolePlace {
    /// The name of the environment: `lan-0`.
    pub environment: String,
    /// The machine's name, unique in the environment: `tester1`.
    pub machine: String,
    /// The role, which several machines may have: `tester`.
    pub role: String,
}
