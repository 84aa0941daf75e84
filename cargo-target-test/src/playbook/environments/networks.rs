//! The networks of an environment: their subnets, and the addresses of the machines.

use std::{fmt, net::Ipv4Addr, num::NonZeroU64, ops::Range};

use schemars::JsonSchema;
use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{EnvironmentNetwork, MachineNetwork, wrong_part};
use crate::playbook::{
    Limit,
    diagnostic::{Problem, Problems},
    reading::{read, table, with_article},
};

/// The keys of `[environments.NAME.networks.NETWORK]`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::playbook) struct NetworkTable {
    /// The subnet of the addresses: `"10.77.1.0/24"`. Default: a private one for each network.
    #[schemars(with = "String")]
    subnet: Option<Spanned<String>>,
    /// False for interfaces without addresses, on which tests build their own. Default: true.
    configure: Option<bool>,
    /// The time that each frame takes from one virtual machine to another: `"20ms"`. Default: none.
    delay: Option<Limit>,
    /// The share of frames between virtual machines that are lost, from 0 to 1. Default: 0.
    #[schemars(with = "f64")]
    loss: Option<Spanned<f64>>,
    /// The number of bits that each virtual machine can send per second. Default: any.
    rate: Option<NonZeroU64>,
}

/// A network in a role's `networks`, with keys.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct NicWritten {
    /// The network's name.
    #[schemars(with = "String")]
    name: Spanned<String>,
    /// The address with the length of its prefix: `"10.77.0.1/24"`. Default: the next free one.
    #[serde(default)]
    #[schemars(with = "String")]
    address: Option<Spanned<String>>,
    /// False for an interface without an address. Default: as the network says.
    #[serde(default)]
    configure: Option<bool>,
}

/// A checked network of a role.
#[derive(Clone)]
pub(super) struct RoleNetwork {
    written: Spanned<String>,
    /// The index of the network.
    network: usize,
    address: Option<(Subnet, Range<usize>)>,
    configure: Option<bool>,
}

/// The networks of an environment.
pub(super) struct NetworksWritten(Vec<WrittenNetwork>);

struct WrittenNetwork {
    name: Spanned<String>,
    delay: Option<Limit>,
    loss: Option<f64>,
    rate: Option<NonZeroU64>,
    subnet: Option<Subnet>,
    is_fixed: bool,
    configure: bool,
}

/// An address and the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Subnet {
    address: u32,
    prefix: u32,
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.address), self.prefix)
    }
}

impl Subnet {
    /// Parses `10.77.0.1/24`.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let wrong = "must be an IPv4 address and a prefix length: `10.77.0.0/24`";
        let (address, prefix) = text.split_once('/').ok_or(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong)?;
        let prefix: u32 = prefix.parse().map_err(|_| wrong)?;
        if !(8..=30).contains(&prefix) {
            return Err("the prefix length must be from 8 to 30");
        }
        let address = address.into();
        Ok(Self { address, prefix })
    }

    fn mask(self) -> u32 {
        u32::MAX << (32 - self.prefix)
    }

    /// The network's own address.
    fn network(self) -> Self {
        Self {
            address: self.address & self.mask(),
            ..self
        }
    }

    fn overlaps(self, other: Self) -> bool {
        let mask = self.mask() & other.mask();
        self.address & mask == other.address & mask
    }

    fn contains(self, address: Self) -> bool {
        self.address == address.address & self.mask()
    }

    /// True if a machine can have the address.
    fn is_machine(self) -> bool {
        let host = self.address & !self.mask();
        host != 0 && host != !self.mask()
    }

    /// The addresses that machines can have, in order.
    fn machines(self) -> impl Iterator<Item = Self> {
        let Self { address, prefix } = self.network();
        (1..!self.mask()).map(move |host| Self {
            address: address | host,
            prefix,
        })
    }
}

impl NetworksWritten {
    /// Reads and checks the tables of the networks.
    pub(super) fn read(
        tables: Vec<(Spanned<String>, Spanned<DeValue<'_>>)>,
        problems: &mut Problems<'_>,
    ) -> Self {
        let mut networks: Vec<WrittenNetwork> = Vec::new();
        for (name, value) in tables {
            if let Some(why) = wrong_part(name.get_ref()) {
                let message = format!("invalid network name `{}`", name.get_ref());
                problems.add(Problem::new(message, name.span()).label(why));
            }
            let table: NetworkTable = read(value, problems).unwrap_or_default();
            let subnet = table.subnet.and_then(|written| {
                let given = parsed("subnet", &written, problems)?;
                let subnet = given.network();
                if given != subnet {
                    let message = format!("invalid subnet `{given}`");
                    let label = format!("it is an address in the subnet `{subnet}`");
                    problems.add(Problem::new(message, written.span()).label(label));
                }
                let other = networks
                    .iter()
                    .find(|one| one.subnet.is_some_and(|other| other.overlaps(subnet)));
                if let Some(other) = other {
                    let other = other.name.get_ref();
                    let message = format!("subnet `{subnet}` overlaps that of network `{other}`");
                    problems.add(Problem::new(message, written.span()));
                }
                Some(subnet)
            });
            let loss = table.loss.map(|written| {
                if !(0.0..=1.0).contains(written.get_ref()) {
                    let message = format!("invalid loss `{}`", written.get_ref());
                    let problem = Problem::new(message, written.span());
                    problems.add(problem.label("must be from 0 to 1"));
                }
                written.into_inner()
            });
            networks.push(WrittenNetwork {
                name,
                delay: table.delay,
                loss,
                rate: table.rate,
                subnet,
                is_fixed: false,
                configure: table.configure.unwrap_or(true),
            });
        }
        Self(networks)
    }

    /// Finds the networks of a role with `machines` machines. An address of a network without a subnet decides it.
    pub(super) fn check(
        &mut self,
        of_role: &mut Vec<RoleNetwork>,
        machines: u32,
        problems: &mut Problems<'_>,
    ) {
        let mut seen = Vec::new();
        of_role.retain_mut(|one| {
            let name = one.written.get_ref();
            let Some(at) = self
                .0
                .iter()
                .position(|network| network.name.get_ref() == name)
            else {
                let known: Vec<_> = self
                    .0
                    .iter()
                    .map(|one| one.name.get_ref().as_str())
                    .collect();
                let problem = Problem::unknown("network", name, one.written.span(), &known);
                problems.add(
                    problem.label("networks are tables of the environment: `networks.NAME = {}`"),
                );
                return false;
            };
            one.network = at;
            if seen.contains(&at) {
                let message = format!("network `{name}` is listed twice");
                problems.add(Problem::new(message, one.written.span()));
            }
            seen.push(at);
            let Some((address, span)) = one.address.clone() else {
                return true;
            };
            let network = &mut self.0[at];
            let subnet = *network.subnet.get_or_insert(address.network());
            let problem = if machines > 1 {
                Some(format!(
                    "the role has {machines} machines, which cannot share an address"
                ))
            } else if !one.configure.unwrap_or(network.configure) {
                Some("`address` cannot be combined with `configure = false`".to_owned())
            } else if address.prefix != subnet.prefix && subnet.contains(address) {
                Some(format!(
                    "the prefix length must be {}, that of the subnet `{subnet}` of network `{name}`",
                    subnet.prefix
                ))
            } else if address.network() != subnet {
                Some(format!(
                    "it is outside of the subnet `{subnet}` of network `{name}`"
                ))
            } else if !address.is_machine() {
                Some("it is the address of the network itself, or of all its machines".to_owned())
            } else {
                None
            };
            if let Some(why) = problem {
                let message = format!("invalid address `{address}`");
                problems.add(Problem::new(message, span).label(why));
                one.address = None;
            }
            true
        });
    }

    /// Gives each machine its addresses: those of the playbook, else the next free ones. `None` if problems were added.
    pub(super) fn addresses(
        mut self,
        machines: &[&[RoleNetwork]],
        problems: &mut Problems<'_>,
    ) -> Option<(Vec<EnvironmentNetwork>, Vec<Vec<MachineNetwork>>)> {
        for network in &mut self.0 {
            network.is_fixed = network.subnet.is_some();
        }
        self.choose_subnets();
        let mut taken: Vec<(usize, Subnet, Range<usize>)> = Vec::new();
        for one in machines.iter().copied().flatten() {
            let Some((address, span)) = &one.address else {
                continue;
            };
            let same = |(network, other, _): &&(usize, Subnet, _)| {
                (*network, *other) == (one.network, *address)
            };
            if let Some((_, _, first)) = taken.iter().find(same) {
                let message = format!("two machines have the address `{address}`");
                let problem = Problem::new(message, span.clone()).label("given again here");
                problems.add(problem.second(first.clone(), "first given here"));
                return None;
            }
            taken.push((one.network, *address, span.clone()));
        }
        let mut all = Vec::new();
        for machine in machines {
            let mut nics = Vec::new();
            for one in machine.iter() {
                let network = &self.0[one.network];
                let address = match (&one.address, network.subnet) {
                    (Some((address, _)), _) => Some(*address),
                    (None, Some(subnet)) if one.configure.unwrap_or(network.configure) => {
                        let is_free = |address: &Subnet| {
                            !taken
                                .iter()
                                .any(|(at, other, _)| (*at, other) == (one.network, address))
                        };
                        let Some(free) = subnet.machines().find(is_free) else {
                            let message = format!(
                                "network `{}` has too few addresses for its machines",
                                network.name.get_ref()
                            );
                            problems.add(Problem::new(message, network.name.span()));
                            return None;
                        };
                        taken.push((one.network, free, one.written.span()));
                        Some(free)
                    }
                    _ => None,
                };
                nics.push(MachineNetwork {
                    network: network.name.get_ref().clone(),
                    address: address.map(|address| address.to_string()),
                });
            }
            all.push(nics);
        }
        let networks = self.0.into_iter().map(|network| EnvironmentNetwork {
            delay: network.delay,
            loss: network.loss,
            rate: network.rate,
            is_fixed: network.is_fixed,
            name: network.name.into_inner(),
            subnet: network
                .subnet
                .map(|subnet| subnet.to_string())
                .unwrap_or_default(),
        });
        Some((networks.collect(), all))
    }

    /// Chooses a private subnet for each network without one.
    fn choose_subnets(&mut self) {
        for at in 0..self.0.len() {
            if self.0[at].subnet.is_some() {
                continue;
            }
            let mut free = (0..=255).map(|number| Subnet {
                address: Ipv4Addr::new(10, 77, number, 0).into(),
                prefix: 24,
            });
            let is_free = |subnet: &Subnet| {
                let mut others = self.0.iter().filter_map(|other| other.subnet);
                others.all(|other| !other.overlaps(*subnet))
            };
            self.0[at].subnet = free.find(is_free);
        }
    }
}

/// Reads the `networks` of a role; `None` if they are wrong.
pub(super) fn read_nics(
    value: Option<Spanned<DeValue<'_>>>,
    problems: &mut Problems<'_>,
) -> Option<Vec<RoleNetwork>> {
    let Some(value) = value else {
        return Some(Vec::new());
    };
    let span = value.span();
    let items = match value.into_inner() {
        DeValue::Array(items) => items,
        other => {
            let message = format!("`networks` must be an array, not {}", with_article(&other));
            problems.add(Problem::new(message, span).hint("for example `networks = [\"lan\"]`"));
            return None;
        }
    };
    let nics: Vec<_> = items
        .into_iter()
        .map(|item| read_nic(item, problems))
        .collect();
    nics.into_iter().collect()
}

fn read_nic(item: Spanned<DeValue<'_>>, problems: &mut Problems<'_>) -> Option<RoleNetwork> {
    let span = item.span();
    let item = match item.into_inner() {
        DeValue::String(name) => NicWritten {
            name: Spanned::new(span, name.into_owned()),
            address: None,
            configure: None,
        },
        other => {
            let keys: DeTable<'_> =
                table(Spanned::new(span.clone(), other), "a network", problems)?;
            read(Spanned::new(span, DeValue::Table(keys)), problems)?
        }
    };
    let address = match &item.address {
        Some(written) => Some((parsed("address", written, problems)?, written.span())),
        None => None,
    };
    Some(RoleNetwork {
        written: item.name,
        network: 0,
        address,
        configure: item.configure,
    })
}

fn parsed(what: &str, written: &Spanned<String>, problems: &mut Problems<'_>) -> Option<Subnet> {
    match Subnet::parse(written.get_ref()) {
        Ok(subnet) => Some(subnet),
        Err(why) => {
            let message = format!("invalid {what} `{}`", written.get_ref());
            problems.add(Problem::new(message, written.span()).label(why));
            None
        }
    }
}
