//! The profiles of instrumented tests and programs: written on a machine, and brought to this host after each attempt.
//!
//! Must not know what is in a profile.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{connect::shell::quote, error::Result, provision::Machine, ui};

/// The variable that names the file of a profile, a pattern of the LLVM runtime.
pub(super) const VARIABLE: &str = "LLVM_PROFILE_FILE";
/// The end of the names of profiles.
const SUFFIX: &str = ".profraw";
/// The time limit for the transfer.
const LIMIT: Duration = Duration::from_secs(60);

/// The profiles of one attempt.
pub(super) struct Profiles {
    machine: Machine,
    /// The folder on the machine.
    there: String,
    /// The folder of this host.
    here: PathBuf,
    /// The pattern of the file names.
    pattern: String,
}

impl Profiles {
    /// The profiles for the value of [`VARIABLE`], a path relative to `package`. Names end with the instance and the lease:
    /// process ids of machines are not unique.
    pub(super) fn new(value: &Path, package: &Path, machine: &Machine, there: String) -> Self {
        let name = value.file_name().unwrap_or_default().to_string_lossy();
        let start = name.strip_suffix(SUFFIX).unwrap_or(&name);
        let pattern = format!("{start}-{}-{}{SUFFIX}", machine.name(), machine.mark());
        let here = package.join(value);
        Self {
            machine: machine.clone(),
            there,
            here: here.parent().unwrap_or(package).to_owned(),
            pattern,
        }
    }

    /// Returns the value of [`VARIABLE`] on the machine.
    pub(super) fn value(&self) -> String {
        format!("{}/{}", self.there, self.pattern)
    }

    /// Brings the profiles to this host. What cannot be brought is told.
    pub(super) async fn collect(self) {
        let collected = tokio::time::timeout(LIMIT, self.bring()).await;
        let error = match collected {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.chain(),
            Err(_) => format!("timed out after {}", humantime::format_duration(LIMIT)),
        };
        let name = self.machine.name();
        ui::live(&format!("failed to bring profiles from `{name}`: {error}"));
    }

    async fn bring(&self) -> Result<()> {
        let there = quote(&self.there);
        // A test that is not instrumented writes none.
        let has_any = self.machine.run(&format!("[ -d {there} ]")).await?;
        if has_any.accepted().is_ok() {
            self.machine.get(&self.there, &self.here).await?;
            self.machine.run(&format!("rm -rf {there}")).await?;
        }
        Ok(())
    }
}
