//! Parts of events: where a run comes from, as far as it is known.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The source, the programs and the targets of a run: what a reproduction needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct RunOrigin {
    /// The repository, the same in each of its clones: the URL of its first remote, without scheme, user and `.git`
    /// (`github.com/acme/widget`); else the workspace's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The commit that was checked out; `None` without git or a commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// True if files differed from the commit; `None` if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dirty: Option<bool>,
    /// The compiler: `rustc 1.95.0 (59807616e 2026-04-14)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rustc: Option<String>,
    /// The name of the host that ran cargo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The seed of a random order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// A digest of the playbook: of its files, `--set`, and the files of its recipes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub playbook_hash: Option<String>,
    /// The options that decide what is built and what a case is: `--release`, `--set=targets.debian.memory=2GiB`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The targets of the chosen cases, in the order of the playbook.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<RunTarget>,
    /// The binaries of the chosen tests, by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub binaries: Vec<TestBinary>,
}

/// A target of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunTarget {
    /// The target's name in the playbook: `ubuntu`.
    pub name: String,
    /// The text in the brackets of case names: `ubuntu`, `nightly/ubuntu`.
    pub label: String,
    /// The name of its platform.
    pub platform: String,
    /// The maximum number of instances at a time.
    pub count: u32,
    /// The hash of the definition of its instances.
    pub definition: String,
}

/// A test binary of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TestBinary {
    /// nextest's id: `hello::net`.
    pub id: String,
    /// The package.
    pub package: String,
    /// The file.
    pub path: PathBuf,
    /// The digest of the binary: `build-id:` and the id that the linker wrote, else a digest of the file; `None` if it
    /// could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}
