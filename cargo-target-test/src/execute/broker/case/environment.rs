//! The environment variables of a case. `target_fixtures::env` has their names.

use std::{collections::BTreeMap, path::PathBuf};

use target_fixtures::env;

use super::super::{ActiveLease, Broker, fixtures::file_name};
use crate::provision::describe;

/// The broker as its clients see it.
#[derive(Clone, Debug)]
pub struct BrokerPlace {
    /// The folder of the broker's socket.
    pub folder: PathBuf,
    /// True if the instances of failed cases are kept until shells have been opened on them.
    pub holds_failed: bool,
}

/// Returns the environment variables of a case.
pub(in crate::execute) fn environment(
    place: &BrokerPlace,
    (binary, full_name): (&str, &str),
    held: &ActiveLease,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([
        (
            env::BROKER.to_owned(),
            Broker::socket_in(&place.folder)
                .to_string_lossy()
                .into_owned(),
        ),
        (env::LEASE.to_owned(), held.id.clone()),
        (env::LEASED_TEST.to_owned(), full_name.to_owned()),
        (env::LEASED_BINARY.to_owned(), file_name(binary)),
        (
            env::SSH_CONFIG.to_owned(),
            Broker::ssh_config_in(&place.folder)
                .to_string_lossy()
                .into_owned(),
        ),
    ]);
    if place.holds_failed {
        all.insert(env::STAYS.to_owned(), "1".to_owned());
    }
    all.extend(describe::environment(held.set().target(), &held.instances));
    all
}
