//! Platform `environment`: several machines, each of a platform of its own, as one instance.
//!
//! Each machine has a specification of its own, derived from that of the environment, so that its platform sees an
//! instance like any other. Machines are created and deleted in parallel.

// Must not know how machines are prepared or reached.

use std::{
    collections::BTreeMap,
    panic::resume_unwind,
    sync::{Arc, mpsc},
    thread,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use target_fixtures::wire::RolePlace;

use super::{
    Deployed, DynPlatform, Footprint, Found, InstanceSpec, NetworkKind, Platform, SpecOf,
    values::wrong,
};
use crate::{
    connect::Reach,
    error::{Error, Result},
    failpoint,
    playbook::{ENVIRONMENT, EnvironmentParameters, RoleMachine},
    provision::network::{self, Conditions, NetworkMember, NetworkSpec, RunningNetwork},
    secret::Lookup,
    sync,
};

/// Platform `environment`.
pub(super) struct EnvironmentPlatform(pub(super) Vec<Arc<dyn DynPlatform>>);

type EnvironmentSpec = SpecOf<EnvironmentPlatform>;

impl Platform for EnvironmentPlatform {
    type Parameters = EnvironmentParameters;

    fn name(&self) -> &'static str {
        ENVIRONMENT
    }

    fn check(&self, spec: &EnvironmentSpec) -> Result<()> {
        self.each(spec, |platform, one| platform.check(one))?;
        self.networks(spec).map(drop)
    }

    fn check_delete(&self, spec: &EnvironmentSpec) -> Result<()> {
        self.each(spec, |platform, one| platform.check_delete(one))
            .map(drop)
    }

    fn secrets(&self, spec: &EnvironmentSpec) -> Result<Vec<Lookup>> {
        let secrets = self.each(spec, |platform, one| platform.secrets(one))?;
        Ok(secrets.into_values().flatten().collect())
    }

    fn footprint(&self, parameters: &EnvironmentParameters) -> Footprint {
        let spec = InstanceSpec::<Value>::default().with(parameters.clone());
        let each = self.each(&spec, |platform, one| platform.footprint(one));
        let mut all = Footprint::default();
        for one in each.unwrap_or_default().into_values() {
            all.memory = all.memory.saturating_add(one.memory);
            all.disk = all.disk.saturating_add(one.disk);
            all.cores = all.cores.saturating_add(one.cores);
        }
        all
    }

    fn deploy(&self, spec: &EnvironmentSpec, progress: &dyn Fn(&str)) -> Result<Deployed> {
        let networks = self.networks(spec)?;
        let networks = sync::parallel(&networks, ChosenNetwork::up).into_iter();
        let networks = networks.collect::<Result<Vec<_>>>()?;
        let (lines, heard) = mpsc::channel::<String>();
        let deploy = |platform: &dyn DynPlatform, one: &InstanceSpec, lines: &mpsc::Sender<_>| {
            fs_err::create_dir_all(&one.scratch)?;
            let one = with_nics(one.clone(), &networks);
            let deployed = platform.deploy(&one, &|line| {
                // The receiver lives as long as this thread.
                let _ = lines.send(format!("{}: {line}", machine(&one)));
            });
            failpoint::point("machine-deployed");
            deployed
        };
        let machines = thread::scope(|scope| {
            let deploying = scope.spawn(|| {
                let lines = lines;
                self.each(spec, |platform, one| deploy(platform, one, &lines.clone()))
            });
            heard.iter().for_each(|line| progress(&line));
            deploying
                .join()
                .unwrap_or_else(|panic| resume_unwind(panic))
        })?;
        let host = match machines.len() {
            1 => "1 machine".to_owned(),
            several => format!("{several} machines"),
        };
        Ok(Deployed {
            data: json!(DeployedParts { machines, networks }),
            ..Deployed::new(host, Reach::ByPlatform)
        })
    }

    fn delete(&self, spec: &EnvironmentSpec, deployed: Option<&Deployed>) -> Result<()> {
        if spec.parameters.machines.is_empty() {
            // A network that was found without its environment.
            return network::remove(&spec.unique);
        }
        let parts = DeployedParts::of(deployed);
        let delete = |platform: &dyn DynPlatform, one: &InstanceSpec| {
            platform.delete(one, parts.machines.get(machine(one)))?;
            one.forget_sessions();
            Ok(())
        };
        self.each(spec, delete)?;
        // An engine does not remove a network that a container is in.
        let networks = self.networks(spec)?;
        networks.iter().try_for_each(|network| network.spec.down())
    }

    fn find(&self, label: &str, _: Option<&EnvironmentSpec>) -> Result<Vec<Found>> {
        network::find(label)
    }

    fn find_owned(&self, owner: &str, _: Option<&EnvironmentSpec>) -> Result<Vec<Found>> {
        network::find_owned(owner)
    }

    fn renew(&self, spec: &EnvironmentSpec, deployed: Option<&Deployed>) -> Result<()> {
        let parts = DeployedParts::of(deployed);
        let renew = |platform: &dyn DynPlatform, one: &InstanceSpec| {
            platform.renew(one, parts.machines.get(machine(one)))
        };
        self.each(spec, renew)?;
        let networks = self.networks(spec)?;
        networks.iter().try_for_each(|network| network.spec.renew())
    }

    fn clean_up(&self, label: &str, like: Option<&EnvironmentSpec>) -> Result<()> {
        let Some(like) = like else {
            return Ok(());
        };
        self.each(like, |platform, one| platform.clean_up(label, Some(one)))
            .map(drop)
    }
}

impl EnvironmentPlatform {
    /// The networks that have machines.
    ///
    /// # Errors
    /// Fails if the platforms of the machines have no networks, or networks of different kinds.
    fn networks(&self, spec: &EnvironmentSpec) -> Result<Vec<ChosenNetwork>> {
        let mut all = Vec::new();
        for network in &spec.parameters.networks {
            let (mut members, mut kinds) = (Vec::new(), Vec::new());
            let mut engine = None;
            for machine in &spec.parameters.machines {
                let mut nics = machine.networks.iter();
                let Some(nic) = nics.find(|nic| nic.network == network.name) else {
                    continue;
                };
                let known = self.0.iter().find(|one| one.name() == machine.platform);
                let kind = known.and_then(|platform| platform.network_kind());
                kinds.push((
                    kind.ok_or_else(|| without_networks(spec, machine))?,
                    machine,
                ));
                let of_machine = machine.parameters.get("engine").and_then(Value::as_str);
                engine = engine.or(of_machine.map(str::to_owned));
                members.push(NetworkMember {
                    name: machine.name.clone(),
                    unique: spec_of(spec, machine).unique,
                    address: nic.address.clone(),
                });
            }
            let Some((kind, first)) = kinds.first().copied() else {
                continue;
            };
            if let Some((_, other)) = kinds.iter().find(|(other, _)| *other != kind) {
                let message = format!(
                    "network `{}` of environment `{}`: `{}` of platform `{}` and `{}` of platform `{}` cannot be in one network",
                    network.name,
                    spec.target,
                    first.name,
                    first.platform,
                    other.name,
                    other.platform
                );
                return Err(wrong(message));
            }
            let has_addresses = members.iter().any(|member| member.address.is_some());
            let unique = format!("{}-{}.net", spec.unique, network.name);
            all.push(ChosenNetwork {
                is_fixed: network.is_fixed || !has_addresses,
                spec: NetworkSpec {
                    name: network.name.clone(),
                    kind,
                    engine,
                    subnet: has_addresses.then(|| network.subnet.clone()),
                    members,
                    conditions: Conditions::default(),
                    place: InstanceSpec {
                        scratch: spec.scratch.join(format!("{}.net", network.name)),
                        unique,
                        ..spec.with(Value::Null)
                    },
                },
            });
        }
        Ok(all)
    }

    /// Calls the platform of each machine, all at once; returns the results by machine.
    ///
    /// # Errors
    /// The first error, which names the machine.
    fn each<T: Send>(
        &self,
        spec: &EnvironmentSpec,
        act: impl Fn(&dyn DynPlatform, &InstanceSpec) -> Result<T> + Sync,
    ) -> Result<BTreeMap<String, T>> {
        let machines = &spec.parameters.machines;
        let one = |machine: &RoleMachine| {
            let known = self.0.iter().find(|one| one.name() == machine.platform);
            let unknown = || {
                let message = format!(
                    "its platform `{}` is unknown to this tool",
                    machine.platform
                );
                Error::infra(message)
            };
            let acted = known.ok_or_else(unknown);
            acted.and_then(|platform| act(&**platform, &spec_of(spec, machine)))
        };
        let acted = sync::parallel(machines, one);
        let named = |(machine, acted): (&RoleMachine, Result<T>)| match acted {
            Ok(acted) => Ok((machine.name.clone(), acted)),
            Err(error) => Err(in_role(machine, &error)),
        };
        machines.iter().zip(acted).map(named).collect()
    }
}

fn without_networks(spec: &EnvironmentSpec, machine: &RoleMachine) -> Error {
    let (platform, environment) = (&machine.platform, &spec.target);
    let message = format!(
        "role `{}` of environment `{environment}`: platform `{platform}` has no networks",
        machine.name
    );
    wrong(message).with_hint("networks join machines of `qemu`, or those of `container`")
}

/// A network to start.
struct ChosenNetwork {
    spec: NetworkSpec,
    /// True if the playbook sets the subnet; else any other serves as well.
    is_fixed: bool,
}

/// The number of subnets that are tried for a network of containers.
const SUBNETS: u8 = 16;

impl ChosenNetwork {
    /// Starts the network. The networks of an engine have different subnets, those of other environments too.
    fn up(&self) -> Result<RunningNetwork> {
        if self.is_fixed || self.spec.kind == NetworkKind::Switch {
            return self.spec.up();
        }
        let hash = Sha256::digest(&self.spec.place.unique);
        let tried = (0..SUBNETS).map(|number| {
            let third = hash[1].wrapping_add(number);
            self.at(&format!("10.{}.{third}.", 100 + hash[0] % 100))
                .up()
        });
        let mut last = None;
        for up in tried {
            match up {
                Ok(network) => return Ok(network),
                failed => last = Some(failed),
            }
        }
        last.unwrap_or_else(|| self.spec.up())
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

/// The error of a machine.
fn in_role(machine: &RoleMachine, error: &Error) -> Error {
    let named = error.in_role(&machine.name);
    match error.key() {
        Some(key) => named.with_key(&format!("roles.{}.{key}", machine.role)),
        None => named,
    }
}

/// The machines and networks of a deployed environment.
#[derive(Default, Serialize, Deserialize)]
struct DeployedParts {
    /// The machines, by name.
    machines: BTreeMap<String, Deployed>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    networks: Vec<RunningNetwork>,
}

impl DeployedParts {
    fn of(deployed: Option<&Deployed>) -> Self {
        let data = deployed.map(|deployed| Self::deserialize(&deployed.data));
        data.and_then(Result::ok).unwrap_or_default()
    }
}

/// The machines of an environment, each with its specification and, once they are deployed, its links.
///
/// # Errors
/// Fails if the parameters are of another release.
pub(in crate::provision) fn machines(
    spec: &InstanceSpec,
    deployed: Option<&Deployed>,
) -> Result<Vec<(RoleMachine, InstanceSpec)>> {
    let parameters = EnvironmentParameters::deserialize(&spec.parameters);
    let parameters = parameters.map_err(|error| {
        Error::infra(format!("cannot use the parameters of `{}`", spec.instance)).with_source(error)
    })?;
    let networks = DeployedParts::of(deployed).networks;
    let one = |machine: RoleMachine| {
        let spec = with_nics(spec_of(spec, &machine), &networks);
        (machine, spec)
    };
    Ok(parameters.machines.into_iter().map(one).collect())
}

/// The networks of a deployed environment.
pub(in crate::provision) fn running_networks(deployed: &Deployed) -> Vec<RunningNetwork> {
    DeployedParts::of(Some(deployed)).networks
}

/// The data of one machine of a deployed environment.
pub(in crate::provision) fn deployed_of(all: &Deployed, machine: &str) -> Option<Deployed> {
    DeployedParts::of(Some(all)).machines.remove(machine)
}

/// The environment with other data of one machine.
pub(in crate::provision) fn with_deployed(
    all: &Deployed,
    machine: &str,
    one: Deployed,
) -> Deployed {
    let mut parts = DeployedParts::of(Some(all));
    parts.machines.insert(machine.to_owned(), one);
    Deployed {
        data: json!(parts),
        ..all.clone()
    }
}

/// The specification of a machine with its links to the networks.
fn with_nics(mut spec: InstanceSpec, networks: &[RunningNetwork]) -> InstanceSpec {
    let name = machine(&spec);
    // A machine that is not in a network has no link to it.
    let nics = networks.iter().filter_map(|network| network.nic(name).ok());
    spec.nics = nics.collect();
    spec
}

/// The specification of a machine.
fn spec_of<P>(spec: &InstanceSpec<P>, machine: &RoleMachine) -> InstanceSpec {
    let name = &machine.name;
    InstanceSpec {
        instance: format!("{}.{name}", spec.instance),
        target: format!("{}.{name}", spec.target),
        unique: format!("{}-{name}", spec.unique),
        scratch: spec.scratch.join(name),
        directory: machine.directory.clone(),
        place: Some(RolePlace {
            environment: spec.instance.clone(),
            machine: name.clone(),
            role: machine.role.clone(),
        }),
        nics: Vec::new(),
        ..spec.with(machine.parameters.clone())
    }
}

/// The name of the machine of a specification.
fn machine(spec: &InstanceSpec) -> &str {
    spec.place.as_ref().map_or("", |place| &place.machine)
}
