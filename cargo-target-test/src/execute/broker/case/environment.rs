//! The environment variables of a case.
//!
//! Owns the values; `target_fixtures::env` owns the names.

use std::collections::BTreeMap;

use target_fixtures::env;

use super::super::{ActiveLease, Core, fixtures::file_name};
use crate::provision::describe;

/// Returns the environment variables of a case.
pub(in super::super) fn environment(
    core: &Core,
    (binary, full_name): (&str, &str),
    held: &ActiveLease,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([
        (
            env::BROKER.to_owned(),
            core.socket().to_string_lossy().into_owned(),
        ),
        (env::LEASE.to_owned(), held.id.clone()),
        (env::LEASED_TEST.to_owned(), full_name.to_owned()),
        (env::LEASED_BINARY.to_owned(), file_name(binary)),
        (
            env::SSH_CONFIG.to_owned(),
            core.ssh_config().to_string_lossy().into_owned(),
        ),
    ]);
    if core.names.holds_failed() {
        all.insert(env::STAYS.to_owned(), "1".to_owned());
    }
    all.extend(describe::environment(held.set().target(), &held.instances));
    all
}
