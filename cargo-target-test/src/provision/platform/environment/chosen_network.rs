//! A network of an environment before it is started: its machines, their kind, and its addresses.

use std::path::PathBuf;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{EnvironmentPlatform, EnvironmentSpec, spec_of};
use crate::{
    error::{Error, Result},
    playbook::{EnvironmentNetwork, MachineNetwork, RoleMachine},
    provision::{
        network::{Conditions, NetworkMember, NetworkSpec, RunningNetwork},
        platform::{Attach, InstanceSpec, NetworkKind, Nic, values::wrong},
    },
};

/// The number of subnets that are tried for a network of containers.
const SUBNETS: u8 = 16;

/// A network to start.
pub(super) struct ChosenNetwork {
    pub(super) spec: NetworkSpec,
    /// True if the playbook sets the subnet; else any other serves as well.
    is_fixed: bool,
}

impl ChosenNetwork {
    /// The network with its machines; `None` if it has none.
    ///
    /// # Errors
    /// Fails if the platforms of the machines have no networks, or networks of different kinds.
    pub(super) fn of(
        network: &EnvironmentNetwork,
        spec: &EnvironmentSpec,
        platforms: &EnvironmentPlatform,
    ) -> Result<Option<Self>> {
        let machines = spec.parameters.machines.iter();
        let machines = machines.filter_map(|machine| Some((machine, nic(machine, network)?)));
        let machines: Vec<_> = machines.collect();
        let Some((first, _)) = machines.first() else {
            return Ok(None);
        };
        let kind = kind(first, spec, platforms)?;
        for (other, _) in &machines {
            if self::kind(other, spec, platforms)? != kind {
                return Err(mixed(network, spec, [first, other]));
            }
        }
        let members = machines.iter().map(|(machine, nic)| NetworkMember {
            name: machine.name.clone(),
            unique: spec_of(spec, machine).unique,
            address: nic.address.clone(),
        });
        let conditions = conditions(network);
        if kind == NetworkKind::Container && conditions != Conditions::default() {
            let (name, environment) = (&network.name, &spec.target);
            return Err(wrong(format!(
                "network `{name}` of environment `{environment}`: `delay`, `loss` and `rate` are for virtual machines"
            ))
            .with_key(&key_of(network)));
        }
        if let Some((alone, how)) = machines.iter().find_map(|(machine, _)| alone(machine)) {
            let (role, environment) = (&alone.role, &spec.target);
            return Err(wrong(format!(
                "role `{role}` of environment `{environment}`: `network = \"{how}\"` cannot be combined with `networks`"
            ))
            .with_key(&format!("roles.{role}.network"))
            .with_hint("leave `network` out"));
        }
        let has_addresses = machines.iter().any(|(_, nic)| nic.address.is_some());
        let engine = first.parameters.get("engine").and_then(Value::as_str);
        Ok(Some(Self {
            is_fixed: network.is_fixed || !has_addresses,
            spec: NetworkSpec {
                name: network.name.clone(),
                kind,
                engine: engine.map(str::to_owned),
                subnet: has_addresses.then(|| network.subnet.clone()),
                members: members.collect(),
                conditions,
                place: InstanceSpec {
                    scratch: spec.scratch.join(format!("{}.net", network.name)),
                    unique: format!("{}-{}.net", spec.unique, network.name),
                    ..spec.with(Value::Null)
                },
            },
        }))
    }

    /// The link of a machine, before the network is started; `None` if the machine is not in it.
    pub(super) fn link(&self, machine: &str) -> Option<Nic> {
        let mut members = self.spec.members.iter();
        let member = members.find(|member| member.unique == machine)?;
        Some(Nic {
            network: self.spec.name.clone(),
            mac: String::new(),
            address: member.address.clone(),
            attach: match self.spec.kind {
                NetworkKind::Switch => Attach::Socket(PathBuf::new()),
                NetworkKind::Container => Attach::Network(String::new()),
            },
        })
    }

    /// Starts the network. The networks of an engine have different subnets, those of other environments too.
    pub(super) fn up(&self) -> Result<RunningNetwork> {
        if self.is_fixed || self.spec.kind == NetworkKind::Switch {
            return self.spec.up();
        }
        let hash = Sha256::digest(&self.spec.place.unique);
        let start = |number: u8| {
            format!(
                "10.{}.{}.",
                100 + hash[0] % 100,
                hash[1].wrapping_add(number)
            )
        };
        let others = (1..SUBNETS).map(|number| self.at(&start(number)).up());
        let first = self.at(&start(0)).up();
        first.or_else(|error| others.into_iter().find_map(Result::ok).ok_or(error))
    }

    /// The same network with other addresses of 24 bits and the same hosts.
    fn at(&self, start: &str) -> NetworkSpec {
        let moved = |address: &String| match address.rsplit_once('.') {
            Some((_, host)) => format!("{start}{host}"),
            None => address.clone(),
        };
        let mut spec = self.spec.clone();
        spec.subnet = spec.subnet.as_ref().map(moved);
        for member in &mut spec.members {
            member.address = member.address.as_ref().map(moved);
        }
        spec
    }
}

/// The connection of a machine to a network.
fn nic<'m>(machine: &'m RoleMachine, network: &EnvironmentNetwork) -> Option<&'m MachineNetwork> {
    let mut nics = machine.networks.iter();
    nics.find(|nic| nic.network == network.name)
}

/// A container that can join no network, and the mode that its own parameters choose for it.
fn alone(machine: &RoleMachine) -> Option<(&RoleMachine, &str)> {
    let mode = machine.parameters.get("network")?.as_str()?;
    ["host", "none"].contains(&mode).then_some((machine, mode))
}

/// The key of a network in its environment.
fn key_of(network: &EnvironmentNetwork) -> String {
    format!("networks.{}", network.name)
}

/// The kind of networks that a machine can join.
fn kind(
    machine: &RoleMachine,
    spec: &EnvironmentSpec,
    platforms: &EnvironmentPlatform,
) -> Result<NetworkKind> {
    let platform = platforms.platform_of(machine)?;
    platform.network_kind().ok_or_else(|| {
        let (role, environment, platform) = (&machine.role, &spec.target, &machine.platform);
        let message = format!(
            "role `{role}` of environment `{environment}`: platform `{platform}` has no networks"
        );
        let error = wrong(message).with_key(&format!("roles.{role}.networks"));
        error.with_hint("networks join machines of `qemu`, or those of `container`")
    })
}

fn mixed(network: &EnvironmentNetwork, spec: &EnvironmentSpec, two: [&RoleMachine; 2]) -> Error {
    let [one, other] = two.map(|one| format!("`{}` (platform `{}`)", one.name, one.platform));
    let (name, environment) = (&network.name, &spec.target);
    wrong(format!(
        "network `{name}` of environment `{environment}` cannot join {one} and {other}"
    ))
    .with_key(&key_of(network))
}

/// The conditions on the links of a network without a fault.
fn conditions(network: &EnvironmentNetwork) -> Conditions {
    let mut conditions = Conditions::default();
    conditions.delay = network.delay.map_or(conditions.delay, |delay| delay.0);
    conditions.loss = network.loss.unwrap_or(conditions.loss);
    conditions.rate = network.rate.map(std::num::NonZeroU64::get);
    conditions
}
