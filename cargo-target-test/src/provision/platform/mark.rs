//! The marks of processes that outlive the tool, by which they are found without their records: variables in their
//! environment.

use std::{path::PathBuf, process::Command};

use serde_json::json;

use super::{InstanceSpec, Provenance};
use crate::{
    bounded,
    error::{Error, Result},
    process::{self, LeftProcess},
};

/// The variable with the pool's label.
const LABEL: &str = "TARGET_TEST_LABEL";
/// The variable with the [`Provenance`], as JSON.
const PROVENANCE: &str = "TARGET_TEST_PROVENANCE";
/// The variable with the folder of the process.
const FOLDER: &str = "TARGET_TEST_FOLDER";
/// The file in that folder with a later expiry, in seconds since 1970.
const EXPIRES: &str = "expires";

/// A kind of process: the variable with the unique name.
pub(in crate::provision) struct Mark(pub(in crate::provision) &'static str);

impl Mark {
    /// Marks the process that a command becomes.
    pub(in crate::provision) fn put<P>(&self, command: &mut Command, spec: &InstanceSpec<P>) {
        command.env(LABEL, &spec.label).env(self.0, &spec.unique);
        command.env(PROVENANCE, json!(spec.provenance).to_string());
        command.env(FOLDER, &spec.scratch);
    }

    /// Writes the expiry of the spec beside the marked process.
    pub(in crate::provision) fn renew<P>(spec: &InstanceSpec<P>) -> Result<()> {
        let expires = spec.provenance.expires.to_string();
        Ok(fs_err::write(spec.scratch.join(EXPIRES), expires)?)
    }

    /// Kills the processes with this unique name. `what` describes them.
    ///
    /// # Errors
    /// Fails if one still runs.
    pub(in crate::provision) fn kill(&self, unique: &str, what: &str) -> Result<()> {
        match process::kill_marked(self.0, unique).as_slice() {
            [] => Ok(()),
            left => {
                let left = LeftProcess::list(left);
                Err(Error::infra(format!("failed to end {what}: {left}")))
            }
        }
    }

    /// Returns the unique names of the processes on this host that `is_wanted` accepts by their label and provenance.
    pub(in crate::provision) fn find(
        &self,
        is_wanted: impl Fn(&str, &Provenance) -> bool,
    ) -> Vec<(String, Provenance)> {
        let all = process::variables([self.0, LABEL, PROVENANCE, FOLDER]).into_iter();
        let found = |[unique, label, provenance, folder]: [String; 4]| {
            // Machines of older versions have none.
            let mut provenance: Provenance = serde_json::from_str(&provenance).unwrap_or_default();
            let folder = match folder.as_str() {
                "" => provenance.pool.join("instances").join(&unique),
                folder => PathBuf::from(folder),
            };
            let later = bounded::read_to_string(&folder.join(EXPIRES)).unwrap_or_default();
            provenance.expires = later.parse().unwrap_or(provenance.expires);
            is_wanted(&label, &provenance).then_some((unique, provenance))
        };
        all.filter_map(found).collect()
    }
}
