//! Networks between the instances of an environment.
//!
//! Virtual machines are joined by a switch, a process of this host in user space that needs no right: it outlives the tool,
//! and its links can be slow, lossy or cut. Containers are joined by a network of their engine.
//!
//! Must not know pools and playbooks.

mod capture;
mod conditions;
mod control;
mod port_stream;
mod serve;
mod switch;

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::conditions::{Conditions, LinkFault, NetworkFault};
pub(crate) use self::serve::serve;
use self::serve::{SwitchPlan, SwitchRequest};
use super::platform::{
    Attach, Found, InstanceSpec, NetworkKind, Nic, Provenance, container::Engine, mark::Mark,
};
use crate::{
    bounded,
    error::{Error, Result},
    failpoint,
    process::{self, StartedProcess},
};

/// The verb of the tool that serves as a switch.
pub(crate) const VERB: &str = "network-switch";
/// The mark of a switch's process.
const MARK: Mark = Mark("TARGET_TEST_NETWORK");
/// The file with the errors of a switch, in its folder.
const LOG: &str = "switch.log";
/// The time limit for a switch to start.
const START: Duration = Duration::from_secs(20);

/// The specification of one network. Durable before [`up`](NetworkSpec::up).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// The network's name in the playbook: `lab`.
    pub name: String,
    /// The kind of machines that it joins.
    pub kind: NetworkKind,
    /// The engine of the containers: a program; `None` for the first one that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The addresses of the network: `10.77.1.0/24`. `None` if its links have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// The machines.
    pub members: Vec<NetworkMember>,
    /// The conditions on its links without a fault. Containers have none.
    #[serde(default)]
    pub conditions: Conditions,
    /// The label of the pool, the unique name, the folder and the origin. Its parameters are not used.
    pub place: InstanceSpec,
}

/// A machine of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkMember {
    /// The name within the environment: `tester1`.
    pub name: String,
    /// [`InstanceSpec::unique`] of the machine.
    pub unique: String,
    /// The address with the length of its prefix; `None` if tests configure the link.
    pub address: Option<String>,
}

/// A network that was started, as the pool records it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunningNetwork {
    spec: NetworkSpec,
    medium: Medium,
}

/// The carrier of frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Medium {
    Switch(StartedProcess),
    Container { engine: String },
}

/// True if this program is a tool, which can serve as a switch.
static IS_TOOL: AtomicBool = AtomicBool::new(false);

/// Declares that this program has the verb [`VERB`].
pub(crate) fn this_is_a_tool() {
    IS_TOOL.store(true, Ordering::Relaxed);
}

impl NetworkSpec {
    /// Starts the network. A second call, after an interruption, replaces what the first one started.
    ///
    /// # Errors
    /// The reason that there is no network. [`NetworkSpec::down`] removes what was created.
    pub fn up(&self) -> Result<RunningNetwork> {
        self.down()?;
        let medium = match self.kind {
            NetworkKind::Switch => self.start_switch()?,
            NetworkKind::Container => {
                let engine = Engine::choose(self.engine.as_deref())?;
                let (label, origin) = (self.place.label.as_str(), &self.place.provenance);
                let subnet = self.subnet.as_deref();
                let subnet = subnet.map(|subnet| self.gateway(subnet).map(|host| (subnet, host)));
                engine.create_network(&self.place.unique, (label, origin), subnet.transpose()?)?;
                Medium::Container { engine: engine.0 }
            }
        };
        let spec = self.clone();
        Ok(RunningNetwork { spec, medium })
    }

    /// Ends the network. Succeeds if it does not exist. Its containers must be deleted before.
    ///
    /// # Errors
    /// The reason that it may still exist.
    pub fn down(&self) -> Result<()> {
        match self.kind {
            NetworkKind::Switch => MARK.kill(
                &self.place.unique,
                &format!("the switch of network `{}`", self.name),
            ),
            NetworkKind::Container => {
                Engine::choose(self.engine.as_deref())?.remove_network(&self.place.unique)
            }
        }
    }

    /// Writes a later [`Provenance::expires`] beside the network.
    ///
    /// # Errors
    /// Fails if the network keeps its earlier expiry.
    pub fn renew(&self) -> Result<()> {
        match self.kind {
            NetworkKind::Switch => Mark::renew(&self.place),
            NetworkKind::Container => Ok(()),
        }
    }

    /// The address of this host in a network of containers: the last one that no machine has. By default, an engine takes
    /// the first one.
    fn gateway(&self, subnet: &str) -> Result<Ipv4Addr> {
        let is_free = |address: &Ipv4Addr| {
            let address = address.to_string();
            let mut members = self.members.iter();
            members.all(|member| member.ip() != Some(&address))
        };
        hosts(subnet).rev().find(is_free).ok_or_else(|| {
            let name = &self.name;
            let message =
                format!("subnet `{subnet}` of network `{name}` has no address for this host");
            Error::infra(message).with_hint("choose a larger `subnet`")
        })
    }

    fn start_switch(&self) -> Result<Medium> {
        let folder = &self.place.scratch;
        fs_err::create_dir_all(folder)?;
        let plan = SwitchPlan {
            machines: self
                .members
                .iter()
                .map(|member| member.name.clone())
                .collect(),
            conditions: self.conditions.clone(),
            seed: fastrand::u64(..),
        };
        fs_err::write(
            folder.join(serve::PLAN),
            serde_json::json!(plan).to_string(),
        )?;
        let log = fs_err::File::create(folder.join(LOG))?.into_parts().0;
        let mut command = process::command(switch_program()?);
        process::remove_own_variables(&mut command);
        command.arg(VERB).arg(folder);
        MARK.put(&mut command, &self.place);
        let streams = (std::process::Stdio::null(), log.try_clone()?);
        command.stdin(streams.0).stdout(streams.1).stderr(log);
        let mut child = process::Spawn::new(command).own_session().start()?;
        failpoint::point("switch-started");
        let process = StartedProcess::of(child.id().cast_signed());
        let started = Instant::now();
        while let Err(error) = control::ask(folder, &SwitchRequest::Ping) {
            if let Some(status) = child.try_wait()? {
                return Err(self.not_up(&process::ending(status)));
            }
            if started.elapsed() > START {
                return Err(self.not_up("it does not answer").with_source(error));
            }
            thread::sleep(Duration::from_millis(2));
        }
        // The child of a process that lives longer is reaped.
        thread::spawn(move || child.wait());
        Ok(Medium::Switch(process))
    }

    fn not_up(&self, why: &str) -> Error {
        let said = bounded::read_to_string(&self.place.scratch.join(LOG)).unwrap_or_default();
        let message = format!(
            "failed to start the switch of network `{}`: {why} {}",
            self.name,
            said.trim()
        );
        Error::infra(message.trim_end())
    }
}

/// The addresses of a subnet that machines can have. Empty if it has none.
fn hosts(subnet: &str) -> impl DoubleEndedIterator<Item = Ipv4Addr> + use<> {
    let parts = subnet.split_once('/');
    let parts = parts.and_then(|(address, prefix)| {
        let address = u32::from(address.parse::<Ipv4Addr>().ok()?);
        Some((address, u32::MAX.checked_shr(prefix.parse().ok()?)?))
    });
    let (address, mask) = parts.unwrap_or_default();
    ((address & !mask).saturating_add(1)..address | mask).map(Ipv4Addr::from)
}

/// The program that serves as a switch.
fn switch_program() -> Result<PathBuf> {
    if IS_TOOL.load(Ordering::Relaxed) {
        return Ok(std::env::current_exe()?);
    }
    which::which("cargo-target-test").map_err(|_| {
        let message =
            "program `cargo-target-test` not found in PATH: it serves as the switch of a network";
        Error::infra(message).with_hint("install it: `cargo install cargo-target-test`")
    })
}

impl RunningNetwork {
    /// The network's name in the playbook: `lab`.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The environment that it is in: `lan-0`.
    pub fn environment(&self) -> &str {
        &self.spec.place.instance
    }

    /// The link of a machine.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the machine is not in the network.
    pub fn nic(&self, machine: &str) -> Result<Nic> {
        let NetworkSpec {
            name,
            members,
            place,
            ..
        } = &self.spec;
        let number = self.number(machine)?;
        let attach = match self.medium {
            Medium::Switch(_) => Attach::Socket(place.scratch.join(number.to_string())),
            Medium::Container { .. } => Attach::Network(place.unique.clone()),
        };
        Ok(Nic {
            network: name.clone(),
            mac: mac(&place.unique, number),
            address: members[number].address.clone(),
            attach,
        })
    }

    /// The machines that have addresses, with the address of each.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, &str)> {
        let members = self.spec.members.iter();
        members.filter_map(|member| Some((member.name.as_str(), member.ip()?)))
    }

    /// Checks that frames are carried.
    ///
    /// # Errors
    /// The switch has ended.
    pub fn check_alive(&self) -> Result<()> {
        match &self.medium {
            Medium::Switch(process) if !process.lives() => {
                let message = format!("the switch of network `{}` has ended", self.spec.name);
                Err(Error::infra(message))
            }
            _ => Ok(()),
        }
    }

    /// True if the machine is in the network.
    pub(super) fn has(&self, machine: &str) -> bool {
        let mut members = self.spec.members.iter();
        members.any(|member| member.name == machine)
    }

    /// Adds a fault to the network, until [`RunningNetwork::heal`].
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the fault is invalid, or if it is not possible between containers.
    pub fn add(&self, fault: NetworkFault) -> Result<()> {
        match &self.medium {
            Medium::Switch(_) => self.ask(&SwitchRequest::Fault(fault)),
            Medium::Container { engine } => {
                let (number, connected) = match &fault {
                    NetworkFault::Link(machine, LinkFault::Cut(cut)) => {
                        (self.number(machine)?, !cut)
                    }
                    fault => (self.isolated(fault)?, false),
                };
                self.connect(&Engine(engine.clone()), number, connected)
            }
        }
    }

    /// Writes all frames that machines send to a new file, in the format of `tcpdump -r`, until [`RunningNetwork::heal`].
    ///
    /// # Errors
    /// Fails if the file cannot be created; [`ErrorKind::Usage`](crate::ErrorKind::Usage) for containers.
    pub fn capture(&self, file: &Path) -> Result<()> {
        match &self.medium {
            Medium::Switch(_) => self.ask(&SwitchRequest::Capture(file.to_owned())),
            Medium::Container { .. } => Err(self.not_for_containers("capture")),
        }
    }

    /// Ends all faults and captures.
    ///
    /// # Errors
    /// Fails if a fault may remain.
    pub fn heal(&self) -> Result<()> {
        match &self.medium {
            Medium::Switch(_) => self.ask(&SwitchRequest::Heal),
            Medium::Container { engine } => {
                let engine = Engine(engine.clone());
                let mut members = 0..self.spec.members.len();
                members.try_for_each(|number| self.connect(&engine, number, true))
            }
        }
    }

    /// Connects a container to the network, or disconnects it.
    fn connect(&self, engine: &Engine, number: usize, connected: bool) -> Result<()> {
        let member = &self.spec.members[number];
        let (network, container) = (&self.spec.place.unique, &member.unique);
        match (engine.is_in(network, container)?, connected) {
            (false, true) => {
                let mac = mac(network, number);
                engine.join(network, container, (member.ip(), &mac))
            }
            (true, false) => engine.leave(network, container),
            _ => Ok(()),
        }
    }

    fn ask(&self, request: &SwitchRequest) -> Result<()> {
        let answer = control::ask(&self.spec.place.scratch, request).map_err(|error| {
            let message = format!("the switch of network `{}` does not answer", self.spec.name);
            Error::infra(message).with_source(error)
        })?;
        answer.map_err(|refusal| Error::usage(format!("network `{}`: {refusal}", self.spec.name)))
    }

    /// The container that a partition separates from all others: an engine can only disconnect one from the network.
    fn isolated(&self, fault: &NetworkFault) -> Result<usize> {
        let NetworkFault::Partition(one, other) = fault else {
            return Err(self.not_for_containers("delay, loss and rate"));
        };
        let (alone, others) = match (one.as_slice(), other.as_slice()) {
            ([alone], others) | (others, [alone]) => (alone, others),
            _ => return Err(self.not_for_containers("a partition of groups")),
        };
        let found = self.number(alone)?;
        let rest = self
            .spec
            .members
            .iter()
            .filter(|member| member.name != *alone);
        match rest.clone().all(|member| others.contains(&member.name))
            && rest.count() == others.len()
        {
            true => Ok(found),
            false => Err(self.not_for_containers("a partition of groups")),
        }
    }

    /// The number of a machine among the members.
    fn number(&self, machine: &str) -> Result<usize> {
        let mut members = self.spec.members.iter();
        let found = members.position(|member| member.name == machine);
        found.ok_or_else(|| self.unknown(machine))
    }

    fn not_for_containers(&self, what: &str) -> Error {
        let message = format!(
            "network `{}` of containers does not support {what}",
            self.spec.name
        );
        Error::usage(message).with_hint(
            "their engine can only separate one container from all others of the network: `partition(&[\"a\"], &[\"b\", \"c\"])`",
        )
    }

    fn unknown(&self, machine: &str) -> Error {
        let names: Vec<_> = self
            .spec
            .members
            .iter()
            .map(|member| member.name.as_str())
            .collect();
        let (name, names) = (&self.spec.name, names.join(", "));
        Error::usage(format!(
            "machine `{machine}` not found in network `{name}`: it has {names}"
        ))
    }
}

impl NetworkMember {
    /// The address without the length of its prefix.
    fn ip(&self) -> Option<&str> {
        self.address.as_deref()?.split('/').next()
    }
}

/// The hardware address of a machine: of its own in the network, and almost certainly in all networks of a host.
fn mac(network: &str, number: usize) -> String {
    let hash = Sha256::digest(network);
    let [_, .., high, low] = number.to_be_bytes();
    let bytes = [2, hash[0], hash[1], hash[2], high, low];
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// Returns the networks with a pool's label, on this host and of its container engines. [`remove`] removes them.
///
/// # Errors
/// Fails if the search is incomplete.
pub fn find(label: &str) -> Result<Vec<Found>> {
    let mut found = switches(|its, _| its == label);
    for engine in Engine::all() {
        let names = engine.networks(&Engine::of_pool(label))?;
        found.extend(
            names
                .into_iter()
                .map(|name| container_network(&engine, name)),
        );
    }
    Ok(found)
}

/// Returns the networks of an owner ([`Provenance::is_of`]), of any pool, as [`find`] does.
///
/// # Errors
/// Fails if the search is incomplete.
pub fn find_owned(owner: &str) -> Result<Vec<Found>> {
    let mut found = switches(|_, its| its.is_of(owner));
    for engine in Engine::all() {
        for name in engine.networks(&Engine::of_all())? {
            let provenance = engine.network_provenance(&name);
            if provenance.is_of(owner) {
                let network = container_network(&engine, name);
                found.push(Found {
                    provenance,
                    ..network
                });
            }
        }
    }
    Ok(found)
}

/// Removes a network that was found by its label. Succeeds if it does not exist.
///
/// # Errors
/// The reason that it may still exist.
pub fn remove(unique: &str) -> Result<()> {
    MARK.kill(unique, &format!("the switch of network `{unique}`"))?;
    let engines = Engine::all();
    let mut engines = engines.iter();
    engines.try_for_each(|engine| engine.remove_network(unique))
}

fn switches(is_wanted: impl Fn(&str, &Provenance) -> bool) -> Vec<Found> {
    let found = MARK.find(is_wanted).into_iter();
    let found = found.map(|(unique, provenance)| {
        let what = format!("the switch of network `{unique}`");
        Found {
            provenance,
            ..Found::new(unique, what)
        }
    });
    found.collect()
}

fn container_network(engine: &Engine, unique: String) -> Found {
    let what = format!("network `{unique}` of {}", engine.0);
    Found::new(unique, what)
}

#[cfg(test)]
mod tests;
