//! What a case finds in its environment.
//!
//! Owns the values; the names are the pair's (`target_fixtures::env`).

use std::collections::BTreeMap;

use target_fixtures::env;

use super::super::{Core, fixtures::file_name, held::Held};

/// What every case finds in its environment.
pub(in super::super) fn environment(
    core: &Core,
    (binary, full_name): (&str, &str),
    held: &Held,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([
        (
            env::BROKER.to_owned(),
            core.socket().to_string_lossy().into_owned(),
        ),
        (env::LEASE.to_owned(), held.id.clone()),
        (env::LEASED_TEST.to_owned(), full_name.to_owned()),
        (env::LEASED_BINARY.to_owned(), file_name(binary)),
        (env::NAME.to_owned(), held.supply().target().to_owned()),
        (
            env::SSH_CONFIG.to_owned(),
            core.ssh_config().to_string_lossy().into_owned(),
        ),
    ]);
    let names: Vec<_> = held
        .instances
        .iter()
        .map(|instance| instance.name.as_str())
        .collect();
    all.insert(env::INSTANCE.to_owned(), names.join(" "));
    if let Some(first) = held.instances.first() {
        all.insert(env::HOST.to_owned(), first.host.clone());
        all.insert(env::PLATFORM.to_owned(), first.platform.clone());
        all.insert(env::PARAMS.to_owned(), first.params.to_string());
        let port = first.port.map(|port| port.to_string());
        for (name, value) in [(env::PORT, port), (env::USER, first.user.clone())] {
            all.extend(value.map(|value| (name.to_owned(), value)));
        }
    }
    all
}
