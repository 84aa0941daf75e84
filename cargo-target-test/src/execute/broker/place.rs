//! The broker as its clients see it: its files, and the environment variables of the processes that it serves.
//!
//! `target_fixtures::env` has the names of the variables.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use target_fixtures::env;

use super::active_lease::ActiveLease;
use crate::provision::describe;

/// The name of the socket in the broker's folder. The name is short because a socket's path has at most 108 bytes.
const SOCKET: &str = "s";

/// The broker as its clients see it.
#[derive(Clone, Debug)]
pub struct BrokerPlace {
    /// The folder of the broker's socket.
    pub folder: PathBuf,
    /// True if the instances of failed cases are kept until shells have been opened on them.
    pub holds_failed: bool,
    /// True if the instances of failed cases stay at the end of the run.
    pub keeps_failed: bool,
}

impl BrokerPlace {
    /// Returns the socket's path in a broker's folder.
    pub fn socket_in(folder: &Path) -> PathBuf {
        folder.join(SOCKET)
    }

    /// Returns the file for `ssh -F` in a broker's folder.
    pub fn ssh_config_in(folder: &Path) -> PathBuf {
        folder.join("ssh_config")
    }

    /// Returns the environment variables of a case on its lease.
    pub(in crate::execute) fn variables(
        &self,
        binary: &str,
        full_name: &str,
        held: &ActiveLease,
    ) -> BTreeMap<String, String> {
        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        let ssh_config = Self::ssh_config_in(&self.folder);
        let mut all = Self::variables_of_test(binary, full_name);
        all.extend([
            (env::BROKER.to_owned(), path(Self::socket_in(&self.folder))),
            (env::LEASE.to_owned(), held.id.clone()),
            (env::SSH_LEASE.to_owned(), held.id.clone()),
            (env::SSH_CONFIG.to_owned(), path(ssh_config)),
        ]);
        if self.holds_failed {
            all.insert(env::STAYS.to_owned(), "1".to_owned());
        }
        all.extend(describe::environment(held.set.target(), &held.instances));
        all
    }

    /// Returns the environment variables of a test on the host.
    pub(super) fn variables_on_host(&self, binary: &str, attempt: &str) -> [(&str, String); 3] {
        let socket = Self::socket_in(&self.folder);
        [
            (env::BROKER, socket.to_string_lossy().into_owned()),
            (env::ATTEMPT, attempt.to_owned()),
            (env::LEASED_BINARY, file_name(binary)),
        ]
    }

    /// Returns the environment variables of a process of a test without a lease.
    pub(in crate::execute) fn variables_of_test(
        binary: &str,
        full_name: &str,
    ) -> BTreeMap<String, String> {
        BTreeMap::from([
            (env::LEASED_TEST.to_owned(), full_name.to_owned()),
            (env::LEASED_BINARY.to_owned(), file_name(binary)),
        ])
    }
}

fn file_name(binary: &str) -> String {
    let file = Path::new(binary).file_name().unwrap_or_default();
    file.to_string_lossy().into_owned()
}
