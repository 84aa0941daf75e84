//! Disables and enables instances: for a while, or until a person enables them, they serve no case.
//!
//! The pool's state has the rule; provisioning and leases obey it.

use std::{collections::BTreeSet, path::Path};

use super::{
    Wanted,
    pool::{self, Disabled, Pool, Record, RecordEvent},
};
use crate::error::Result;

/// Disables the instances with this name, id or host; returns their number. `wanted` are the instances of the current
/// playbook, which may have no record yet.
///
/// # Errors
/// Fails if the pool cannot be used.
pub fn disable(pool: &Pool, name: &str, wanted: &[Wanted], disabled: &Disabled) -> Result<usize> {
    let event = RecordEvent::Disable(disabled.clone());
    change(pool, name, wanted, &event)
}

/// Enables the instances with this name, id or host; returns their number.
///
/// # Errors
/// Fails if the pool cannot be used.
pub fn enable(pool: &Pool, name: &str, wanted: &[Wanted]) -> Result<usize> {
    change(pool, name, wanted, &RecordEvent::Enable)
}

fn change(pool: &Pool, name: &str, wanted: &[Wanted], event: &RecordEvent) -> Result<usize> {
    let mut keys: BTreeSet<_> = wanted.iter().filter_map(|one| key(one, name)).collect();
    let mut locked = pool.lock()?;
    let records = locked.state().records.values();
    let named = records.filter(|record| is_it(record, name));
    keys.extend(named.map(pool::disabled_key));
    let count = keys.len();
    locked.commit(keys.into_iter().map(|key| (key, event.clone())))?;
    Ok(count)
}

fn is_it(record: &Record, name: &str) -> bool {
    let deployed = record.deployed.as_ref();
    let host =
        |deployed: &super::platform::Deployed| deployed.host == name || deployed.address() == name;
    record.name() == name || record.id == name || deployed.is_some_and(host)
}

/// The key of an instance of the playbook, if it has this name or host.
fn key(one: &Wanted, name: &str) -> Option<String> {
    let spec = one.spec("");
    // A host that cannot be resolved has no key.
    let machine = one.platform.exclusive(&spec).ok()?;
    let host = spec.parameters["hosts"][one.index as usize].as_str();
    let is_machine = |machine: &String| {
        let host = machine.rsplit_once(':').map(|(host, _)| host);
        machine == name || host == Some(name)
    };
    let is_it =
        one.instance() == name || host == Some(name) || machine.as_ref().is_some_and(is_machine);
    let workspace = one
        .origin
        .as_ref()
        .map(|(workspace, _)| workspace.as_path());
    let workspace = workspace.unwrap_or(Path::new(""));
    is_it.then(|| match &machine {
        Some(machine) => pool::shared_lease(machine),
        None => format!("{}#{}", workspace.display(), one.instance()),
    })
}
