//! What `#[target_test]` records of a test, and how it lies in a test binary.
//!
//! Owns the record's shape and the link section's format. Must not know how binaries are read
//! (the inventory does that) nor what the values mean for a run.
//!
//! A record is a JSON text sequence element (RFC 7464): `0x1e`, one JSON object, `\n`. The section
//! [`SECTION`] holds any number of them, in any order, perhaps with padding between.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The link section's name, without a Mach-O segment.
pub const SECTION: &str = "target_test";

/// One record of the section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Whether it describes a test or gives a module's defaults.
    pub kind: RecordKind,
    /// The path with its crate: `hello::net::smoke`, or the module's `hello::net`.
    pub path: String,
    /// What was declared.
    pub metadata: Metadata,
}

/// What a [`Record`] describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordKind {
    /// A test with `#[target_test]`; also those below its path, which `#[rstest]` and the like make of it
    /// (`hello::mtu` describes `hello::mtu::case_1`).
    Test,
    /// Defaults for the tests of a module and of those below it (`target_defaults!`).
    Module,
}

/// What an author declared about a test. Absent means not declared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Metadata {
    /// The doc comment, lines joined by `\n`, common indentation removed.
    pub doc: Option<String>,
    /// Only targets of this platform.
    pub platform: Option<String>,
    /// Only targets whose name matches one of these patterns (`debian*`).
    pub targets: Vec<String>,
    /// `functional`, `performance`, `stress`, `community` or `longhaul`, or one the playbook adds.
    pub category: Option<String>,
    /// The area under test: `xdp`.
    pub area: Option<String>,
    /// The author's priority, 0 (most important) to 4.
    pub priority: Option<u8>,
    /// Free words.
    pub tags: Vec<String>,
    /// Who answers for the test.
    pub owner: Option<String>,
    /// Features that a target must have.
    pub features: Vec<String>,
    /// Requirements by capability: `memory` -> `>= 1 GiB`.
    pub requirements: BTreeMap<String, String>,
    /// What becomes of the instance before another test gets it.
    pub reuse: Option<Reuse>,
    /// Which instance the next attempt gets after a failed one.
    pub retry_on: Option<RetryOn>,
    /// Whether one of the targets that fit is enough, whichever it is.
    pub any: Option<bool>,
    /// How many instances of one target the test needs.
    pub count: Option<u32>,
    /// The roles of the environment it needs.
    pub roles: Vec<String>,
    /// How long the test may take from the lease on: `30s`.
    pub timeout: Option<String>,
    /// nextest's retries for the test.
    pub retries: Option<u32>,
    /// When the test is not run.
    pub skip: Vec<Condition>,
    /// When the test is expected to fail.
    pub expect_fail: Vec<Condition>,
}

/// What becomes of an instance after a test, before another one gets it. Written `true`, `false` or `"snapshot"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Reuse {
    /// It serves others as it is.
    #[default]
    Yes,
    /// It is deleted, and deployed again where it is needed.
    No,
    /// It is put back to how it was before its first test; where the platform cannot do that, as [`Reuse::No`].
    Snapshot,
}

/// How [`Reuse`] is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Whether(bool),
    How(String),
}

impl TryFrom<Written> for Reuse {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Whether(true) => Ok(Self::Yes),
            Written::Whether(false) => Ok(Self::No),
            Written::How(how) if how == "snapshot" => Ok(Self::Snapshot),
            Written::How(how) => Err(format!(
                "`reuse` is true, false or \"snapshot\", not \"{how}\""
            )),
        }
    }
}

impl From<Reuse> for Written {
    fn from(reuse: Reuse) -> Self {
        match reuse {
            Reuse::Yes => Self::Whether(true),
            Reuse::No => Self::Whether(false),
            Reuse::Snapshot => Self::How("snapshot".to_owned()),
        }
    }
}

/// Which instance the next attempt of a test gets after a failed one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// Any, as the first attempt did.
    #[default]
    Same,
    /// One that no test has used since it was made.
    Fresh,
}

/// The capabilities that are sizes: a number with a unit.
pub const SIZES: [&str; 2] = ["disk", "memory"];

/// The categories that there are unless a playbook says others.
pub const CATEGORIES: [&str; 5] = [
    "functional",
    "performance",
    "stress",
    "community",
    "longhaul",
];

/// A reason, and when it holds: where every stated part does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Condition {
    /// Why, for people.
    pub reason: String,
    /// Only on this platform.
    pub platform: Option<String>,
    /// Only on this target.
    pub target: Option<String>,
    /// Only on targets with this feature.
    pub feature: Option<String>,
}
