//! Prints the environments of a playbook.

use std::fmt::Write as _;

use serde::Deserialize as _;
use serde_json::json;

use super::{json, target_lines, toml, write_keys};
use crate::playbook::{EnvironmentParameters, MachineNetwork, PlaybookTarget, toml_key};

/// The keys of a target that an environment has too.
const KEYS: [&str; 5] = ["count", "features", "cost", "max-spares", "runs-on"];

/// Writes an environment with its roles and networks.
pub(super) fn write(text: &mut String, environment: &PlaybookTarget) {
    let (name, hash) = (toml_key(&environment.name), &environment.definition.hash);
    let _ = writeln!(text, "\n[environments.{name}] # definition {hash}");
    let mut lines = target_lines(&PlaybookTarget {
        parameters: json!({}),
        ..environment.clone()
    });
    lines.retain(|(key, _)| KEYS.contains(&key.as_str()));
    write_keys(text, environment, lines);
    let parameters = EnvironmentParameters::deserialize(&environment.parameters);
    let parameters = parameters.unwrap_or_default();
    for role in &environment.roles {
        let _ = writeln!(text, "\n[environments.{name}.roles.{}]", role.role);
        let mut lines = target_lines(&role.target);
        lines.retain(|(key, _)| !["name", "max-spares", "runs-on"].contains(&key.as_str()));
        write_keys(text, &role.target, lines);
        let machines = parameters.machines.iter();
        let mut machines = machines.filter(|machine| machine.role == role.role);
        let nics = machines.next().map(|machine| machine.networks.as_slice());
        let nics: Vec<_> = nics.into_iter().flatten().collect();
        if !nics.is_empty() {
            let several = role.target.count > 1;
            let nics: Vec<_> = nics.into_iter().map(|nic| network(nic, several)).collect();
            let _ = writeln!(text, "networks = {}", toml(&json(&nics)));
        }
    }
    for network in &parameters.networks {
        let _ = writeln!(text, "\n[environments.{name}.networks.{}]", network.name);
        let _ = writeln!(text, "subnet = \"{}\"", network.subnet);
    }
}

/// A network of a role. The machines of a role of several get their addresses by number.
fn network(nic: &MachineNetwork, several: bool) -> serde_json::Value {
    match &nic.address {
        None => json!({ "name": nic.network, "configure": false }),
        Some(_) if several => json!({ "name": nic.network }),
        Some(address) => json!({ "name": nic.network, "address": address }),
    }
}
