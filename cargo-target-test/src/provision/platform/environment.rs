//! Platform `environment`: several machines, each of a platform of its own, as one instance.
//!
//! Each machine has a specification of its own, derived from that of the environment, so that its platform sees an
//! instance like any other. Machines are created and deleted in parallel.

// Must not know how machines are prepared or reached.

mod chosen_network;

use std::{
    collections::BTreeMap,
    panic::resume_unwind,
    sync::{Arc, mpsc},
    thread,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use target_fixtures::wire::RolePlace;

use self::chosen_network::ChosenNetwork;
use super::{Deployed, DynPlatform, Footprint, Found, InstanceSpec, Nic, Peer, Platform, SpecOf};
use crate::{
    connect::Reach,
    error::{Error, Result},
    failpoint,
    playbook::{ENVIRONMENT, EnvironmentParameters, MachineNetwork, RoleMachine},
    provision::network::{self, RunningNetwork},
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
        let networks = self.networks(spec)?;
        self.each(spec, |platform, one| {
            let links = networks
                .iter()
                .filter_map(|network| network.link(&one.unique));
            platform.check(&InstanceSpec {
                nics: links.collect(),
                ..one.clone()
            })
        })
        .map(drop)
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
        let up = |network: &ChosenNetwork| {
            let running = network.up();
            failpoint::point("network-up");
            running
        };
        let networks = sync::parallel(&networks, up).into_iter();
        let networks = networks.collect::<Result<Vec<_>>>()?;
        let (lines, heard) = mpsc::channel::<String>();
        let deploy = |platform: &dyn DynPlatform, one: &InstanceSpec, lines: &mpsc::Sender<_>| {
            fs_err::create_dir_all(&one.scratch)?;
            let role = spec.parameters.machines.iter();
            let role = role.filter(|role| role.name == machine(one));
            let one = role.fold(one.clone(), |one, role| linked(one, role, &networks));
            let deployed = platform.deploy(&one, &|line| {
                // The receiver lives as long as this thread.
                let _ = lines.send(format!("{}: {line}", machine(&one)));
            });
            failpoint::point("environment-machine-deployed");
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
            failpoint::point("environment-machine-deleted");
            Ok(())
        };
        self.each(spec, delete)?;
        // An engine does not remove a network that a container is in.
        let networks = self.networks(spec)?;
        networks.iter().try_for_each(|network| {
            network.spec.down()?;
            failpoint::point("network-down");
            Ok(())
        })
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
    /// The platform of a machine.
    ///
    /// # Errors
    /// Fails if this tool does not know it.
    fn platform_of(&self, machine: &RoleMachine) -> Result<&dyn DynPlatform> {
        let known = self.0.iter().find(|one| one.name() == machine.platform);
        known.map(|platform| &**platform).ok_or_else(|| {
            let platform = &machine.platform;
            Error::infra(format!("its platform `{platform}` is unknown to this tool"))
        })
    }

    /// The networks that have machines.
    ///
    /// # Errors
    /// Fails if the platforms of the machines have no networks, or networks of different kinds.
    fn networks(&self, spec: &EnvironmentSpec) -> Result<Vec<ChosenNetwork>> {
        let networks = spec.parameters.networks.iter();
        let chosen = networks.map(|network| ChosenNetwork::of(network, spec, self));
        let chosen: Result<Vec<_>> = chosen.collect();
        Ok(chosen?.into_iter().flatten().collect())
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
        let one = |machine: &RoleMachine| act(self.platform_of(machine)?, &spec_of(spec, machine));
        let acted = sync::parallel(machines, one);
        let named = |(machine, acted): (&RoleMachine, Result<T>)| match acted {
            Ok(acted) => Ok((machine.name.clone(), acted)),
            Err(error) => Err(in_role(machine, &error)),
        };
        machines.iter().zip(acted).map(named).collect()
    }
}

/// The error of a machine.
fn in_role(machine: &RoleMachine, error: &Error) -> Error {
    let named = error.in_role(&machine.name);
    let key = error.key().map_or(String::new(), |key| format!(".{key}"));
    named.with_key(&format!("roles.{}{key}", machine.role))
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
        let spec = linked(spec_of(spec, &machine), &machine, &networks);
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

/// The specification of a machine with its links, and with the machines that it reaches by them.
fn linked(spec: InstanceSpec, machine: &RoleMachine, networks: &[RunningNetwork]) -> InstanceSpec {
    InstanceSpec {
        nics: nics(machine, networks),
        peers: peers(machine, networks),
        ..spec
    }
}

/// The machines that have addresses, each at its address on the first network that this machine shares with it, or else on
/// its own first network: a gateway may lead there. Empty for a machine without networks.
fn peers(machine: &RoleMachine, networks: &[RunningNetwork]) -> Vec<Peer> {
    let place = |network: &&RunningNetwork| {
        let mut nics = machine.networks.iter();
        nics.position(|nic| nic.network == network.name())
            .unwrap_or(usize::MAX)
    };
    let mut networks: Vec<_> = networks.iter().collect();
    networks.sort_by_key(place);
    let is_linked = networks
        .first()
        .is_some_and(|first| place(first) != usize::MAX);
    let mut peers: Vec<Peer> = Vec::new();
    for (name, address) in networks.iter().flat_map(|network| network.addresses()) {
        if is_linked && !peers.iter().any(|peer| peer.name == name) {
            let (name, address) = (name.to_owned(), address.to_owned());
            peers.push(Peer { name, address });
        }
    }
    peers
}

/// The links of a machine to the networks, in the order of its interfaces.
fn nics(machine: &RoleMachine, networks: &[RunningNetwork]) -> Vec<Nic> {
    let to = |nic: &MachineNetwork| {
        let mut all = networks
            .iter()
            .filter_map(|network| network.nic(&machine.name).ok());
        all.find(|link| link.network == nic.network)
    };
    machine.networks.iter().filter_map(to).collect()
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
        peers: Vec::new(),
        ..spec.with(machine.parameters.clone())
    }
}

/// The name of the machine of a specification.
fn machine(spec: &InstanceSpec) -> &str {
    spec.place.as_ref().map_or("", |place| &place.machine)
}
