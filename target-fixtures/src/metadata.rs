//! The metadata that `#[target_test]` records about a test, and the format of the link section that contains it.
//!
//! A record is a JSON text sequence element (RFC 7464): `0x1e`, one JSON object, `\n`. The section
//! [`SECTION`] holds any number of them, in any order, perhaps with padding between.

// Must not know how binaries are read (the inventory does that).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The name of the link section, without a Mach-O segment.
pub const SECTION: &str = "target_test";

/// One record of the section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetadataRecord {
    /// The kind of the record: a test, or defaults of a module.
    pub kind: RecordKind,
    /// The path of the test or module, with the crate name: `hello::net::smoke` or `hello::net`.
    pub path: String,
    /// The declared metadata.
    pub metadata: Metadata,
    /// The parameters of an event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<ParamRecord>,
}

/// A parameter that an event takes by value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParamRecord {
    /// The name.
    pub name: String,
    /// The type as in the code: `PathBuf`, `Option < u32 >`.
    #[serde(rename = "type")]
    pub rust_type: String,
}

/// The subject of a [`MetadataRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordKind {
    /// A test with `#[target_test]`, and the tests below its path that macros such as `#[rstest]` generate from it
    /// (`hello::mtu` describes `hello::mtu::case_1`).
    Test,
    /// Defaults for the tests of a module and of its submodules (`target_defaults!`).
    Module,
    /// An event of orchestrations (`#[target_event]`).
    Event,
    /// A fixture (`#[target_fixture]`).
    Fixture,
}

/// The metadata of a test. Empty and `None` fields are not declared, and not written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Metadata {
    /// The doc comment, lines joined by `\n`, common indentation removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
    /// The only platform the test runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Patterns of names (`debian*`) of the targets the test runs on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// The category: `functional`, `performance`, `stress`, `community`, `longhaul`, or a category of the playbook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// The area under test: `xdp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub area: Option<String>,
    /// The author's priority, 0 (most important) to 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The owner of the test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Features that a target must have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Requirements by capability: `memory` -> `>= 1 GiB`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requirements: BTreeMap<String, String>,
    /// The programs of the workspace that the test starts on its targets: names of binaries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
    /// Treatment of the instance before another test uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse: Option<Reuse>,
    /// True if the test starts on an instance that no test has used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fresh: Option<bool>,
    /// The instance for the next attempt after a failed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_on: Option<RetryOn>,
    /// The place of the test process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs_on: Option<ProcessPlace>,
    /// True if the test runs on one of the targets that fit, instead of on each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub any: Option<bool>,
    /// The number of instances of one target that the test needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// The roles of the environment that the test needs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// The orchestration that the test runs (`orchestration!`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orchestration: Option<String>,
    /// The maximum run time, counted from the lease: `30s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// The number of retries by nextest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// The artifacts that are collected from the instances, in addition to those of the target.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub collect: Vec<Artifact>,
    /// The attempts whose artifacts are collected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collect_when: Option<CollectWhen>,
    /// Conditions under which the test is skipped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<Condition>,
    /// Conditions under which the test is expected to fail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expect_fail: Vec<Condition>,
}

/// Something that is collected from an instance after a test: `"/var/log/app"` or `{ command = "journalctl -b" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected an absolute path, or `{ command = \"...\" }`"
)]
pub enum Artifact {
    /// A file, or the files below a folder; the absolute path.
    Path(String),
    /// The output of a command line.
    Command {
        /// The command line for the instance's shell.
        command: String,
    },
}

/// The attempts whose artifacts are collected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CollectWhen {
    /// Attempts that failed, crashed or ended as infra.
    #[default]
    Failure,
    /// All attempts.
    Always,
}

/// The treatment of an instance after a test, before another test uses it: `true`, `false` or `"snapshot"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ReuseValue", into = "ReuseValue")]
pub enum Reuse {
    /// The instance is used as it is.
    #[default]
    Yes,
    /// The instance is deleted, and deployed again when needed.
    No,
    /// The instance is restored to its state before its first test. If the platform cannot restore, same as
    /// [`Reuse::No`].
    Snapshot,
}

/// The serialized form of [`Reuse`].
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ReuseValue {
    Bool(bool),
    Text(String),
}

impl TryFrom<ReuseValue> for Reuse {
    type Error = String;

    fn try_from(value: ReuseValue) -> Result<Self, String> {
        match value {
            ReuseValue::Bool(true) => Ok(Self::Yes),
            ReuseValue::Bool(false) => Ok(Self::No),
            ReuseValue::Text(text) if text == "snapshot" => Ok(Self::Snapshot),
            ReuseValue::Text(text) => Err(format!(
                "`reuse` must be true, false or \"snapshot\", not \"{text}\""
            )),
        }
    }
}

impl From<Reuse> for ReuseValue {
    fn from(reuse: Reuse) -> Self {
        match reuse {
            Reuse::Yes => Self::Bool(true),
            Reuse::No => Self::Bool(false),
            Reuse::Snapshot => Self::Text("snapshot".to_owned()),
        }
    }
}

/// The instance for the next attempt of a test after a failed one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// Any instance, as for the first attempt.
    #[default]
    Same,
    /// An instance that no test has used since its deploy.
    Fresh,
}

/// The place of a test process: `host`, `target`, or a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ProcessPlace {
    /// The host that runs `cargo target-test`.
    #[default]
    Host,
    /// The instance that the test leases; the first one, if it leases several.
    Target,
    /// The machine of the environment with this role.
    Role(String),
}

impl From<String> for ProcessPlace {
    fn from(text: String) -> Self {
        match text.as_str() {
            "host" => Self::Host,
            "target" => Self::Target,
            _ => Self::Role(text),
        }
    }
}

impl From<ProcessPlace> for String {
    fn from(place: ProcessPlace) -> Self {
        match place {
            ProcessPlace::Host => "host".to_owned(),
            ProcessPlace::Target => "target".to_owned(),
            ProcessPlace::Role(role) => role,
        }
    }
}

/// The capabilities whose value is a size: a number with a unit.
pub const SIZES: [&str; 2] = ["disk", "memory"];

/// The capabilities whose value is a whole number.
pub const COUNTS: [&str; 1] = ["cores"];

/// The default categories, which a playbook can replace.
pub const CATEGORIES: [&str; 5] = [
    "functional",
    "performance",
    "stress",
    "community",
    "longhaul",
];

/// A reason with conditions, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Condition {
    /// The reason.
    pub reason: String,
    /// The platform.
    pub platform: Option<String>,
    /// The target.
    pub target: Option<String>,
    /// A feature of the target.
    pub feature: Option<String>,
    /// The text that the message of an expected failure contains; never set for a skip.
    pub error: Option<String>,
}
