//! A folder of this host as a virtual machine mounts it.

use serde::{Deserialize, Serialize};

/// A folder of this host that the tool mounts in an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareMount {
    /// The name by which the machine finds it: `share0`.
    pub tag: String,
    /// The absolute path in the instance.
    pub folder: String,
    /// True if it is mounted read-only.
    pub read_only: bool,
    /// The file systems by which this host offers it, best first: `virtiofs`, `9p`.
    pub file_systems: Vec<String>,
    /// The reasons that this host does not offer it by the others.
    pub missing: Vec<String>,
}
