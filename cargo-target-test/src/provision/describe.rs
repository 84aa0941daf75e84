//! Descriptions of an instance for its users: over the wire, and in environment variables.
//!
//! Contains the values; `target_fixtures::env` has the names.

use std::collections::BTreeMap;

use target_fixtures::{
    env,
    wire::{Instance, InstanceLink},
};

use crate::{
    connect::Reach,
    provision::{platform::Nic, pool::Record},
};

/// Describes a deployed instance.
pub(crate) fn describe(record: &Record) -> Instance {
    let deployed = record.deployed.as_ref();
    Instance {
        name: record.name().to_owned(),
        target: record.spec.target.clone(),
        platform: record.platform.clone(),
        host: deployed.map_or_else(String::new, |deployed| deployed.host.clone()),
        port: deployed.and_then(|deployed| deployed.port),
        user: deployed.and_then(|deployed| deployed.user.clone()),
        params: record.spec.parameters.clone(),
        data: deployed.map_or(serde_json::Value::Null, |deployed| deployed.data.clone()),
        features: record.features.clone(),
        faults: Vec::new(),
        place: record.spec.place.clone(),
        links: record.spec.nics.iter().map(link).collect(),
    }
}

fn link(nic: &Nic) -> InstanceLink {
    InstanceLink {
        network: nic.network.clone(),
        mac: nic.mac.clone(),
        address: nic.address.clone(),
    }
}

/// Describes a machine that is not in a pool.
pub(crate) fn describe_wrapped(name: &str, reach: &Reach) -> Instance {
    let (platform, ssh) = match reach {
        Reach::Local(_) => ("local", None),
        Reach::Ssh(ssh) => ("ssh", Some(ssh)),
        Reach::Container(_) => ("container", None),
        Reach::Programs(_) | Reach::ByPlatform => ("command", None),
    };
    Instance {
        name: name.to_owned(),
        target: name.to_owned(),
        platform: platform.to_owned(),
        host: ssh.map_or_else(|| "localhost".to_owned(), |ssh| ssh.host.clone()),
        port: ssh.and_then(|ssh| ssh.port),
        user: ssh.and_then(|ssh| ssh.user.clone()),
        params: serde_json::Value::Null,
        data: serde_json::Value::Null,
        features: Vec::new(),
        faults: Vec::new(),
        place: None,
        links: Vec::new(),
    }
}

/// The environment variables that describe the instances of a target. Variables with only one value describe the first
/// instance.
pub(crate) fn environment(target: &str, instances: &[Instance]) -> BTreeMap<String, String> {
    let names: Vec<_> = instances.iter().map(|one| one.name.as_str()).collect();
    let mut all = BTreeMap::from([
        (env::NAME.to_owned(), target.to_owned()),
        (env::INSTANCE.to_owned(), names.join(" ")),
    ]);
    if let Some(first) = instances.first() {
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
