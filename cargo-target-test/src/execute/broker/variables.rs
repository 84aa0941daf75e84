//! The environment variables of the processes that the broker serves.
//!
//! Owns the values; `target_fixtures::env` owns the names.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use target_fixtures::env;

use super::active_lease::ActiveLease;
use crate::provision::describe;

/// The values that are the same for all cases.
pub(super) struct Variables {
    /// The broker's socket.
    pub(super) socket: PathBuf,
    /// The file for `ssh -F`.
    pub(super) ssh_config: PathBuf,
    /// True if the instances of a failed case are kept.
    pub(super) stays: bool,
}

impl Variables {
    /// Returns the variables of a case on its lease.
    pub(super) fn of_case(
        &self,
        binary: &str,
        full_name: &str,
        held: &ActiveLease,
    ) -> BTreeMap<String, String> {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let mut all = Self::of_test(binary, full_name);
        all.extend([
            (env::BROKER.to_owned(), path(&self.socket)),
            (env::LEASE.to_owned(), held.id.clone()),
            (env::SSH_CONFIG.to_owned(), path(&self.ssh_config)),
        ]);
        if self.stays {
            all.insert(env::STAYS.to_owned(), "1".to_owned());
        }
        all.extend(describe::environment(held.set().target(), &held.instances));
        all
    }

    /// Returns the variables of a process of a test without a lease.
    pub(super) fn of_test(binary: &str, full_name: &str) -> BTreeMap<String, String> {
        let file = Path::new(binary).file_name().unwrap_or_default();
        BTreeMap::from([
            (env::LEASED_TEST.to_owned(), full_name.to_owned()),
            (
                env::LEASED_BINARY.to_owned(),
                file.to_string_lossy().into_owned(),
            ),
        ])
    }
}
