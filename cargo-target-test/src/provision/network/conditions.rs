//! The conditions on the links of a network, and the faults that change them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The conditions on every link of a network. They hold for each direction alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conditions {
    /// The time that a frame takes from one machine to another.
    pub delay: Duration,
    /// The share of frames that are lost, from 0 to 1.
    pub loss: f64,
    /// The number of bits that each machine can send per second; `None` for any number.
    pub rate: Option<u64>,
    /// Pairs of groups of ports that do not reach each other.
    #[serde(skip)]
    partitions: Vec<[BTreeSet<usize>; 2]>,
    /// The faults of the links of single ports.
    #[serde(skip)]
    links: BTreeMap<usize, LinkConditions>,
}

/// The faults of the link of one machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct LinkConditions {
    is_cut: bool,
    delay: Duration,
    loss: f64,
}

/// A fault of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkFault {
    /// The machines of the first group and those of the second do not reach each other.
    Partition(Vec<String>, Vec<String>),
    /// Each frame takes this time.
    Delay(Duration),
    /// This share of frames is lost, from 0 to 1.
    Loss(f64),
    /// Each machine can send this number of bits per second.
    Rate(u64),
    /// The link of one machine is disturbed, or no longer.
    Link(String, LinkFault),
}

/// A fault of the link of one machine, in each direction. Replaces an earlier one of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkFault {
    /// No frame passes, if true.
    Cut(bool),
    /// Each frame takes this time more.
    Delay(Duration),
    /// This share of frames is lost, from 0 to 1.
    Loss(f64),
}

impl LinkFault {
    /// The value of this kind that is no fault.
    pub(in crate::provision) fn none(self) -> Self {
        match self {
            Self::Cut(_) => Self::Cut(false),
            Self::Delay(_) => Self::Delay(Duration::ZERO),
            Self::Loss(_) => Self::Loss(0.0),
        }
    }
}

impl Conditions {
    /// True if no frame passes between the two ports.
    pub(super) fn separates(&self, from: usize, to: usize) -> bool {
        let mut all = self.partitions.iter();
        let partition = all.any(|[one, other]| {
            one.contains(&from) && other.contains(&to) || one.contains(&to) && other.contains(&from)
        });
        partition || [from, to].iter().any(|port| self.link(*port).is_cut)
    }

    /// The time that a frame takes from one port to another.
    pub(super) fn delay(&self, from: usize, to: usize) -> Duration {
        self.delay + self.link(from).delay + self.link(to).delay
    }

    /// The share of frames that are lost on the way from one port to another.
    pub(super) fn loss(&self, from: usize, to: usize) -> f64 {
        let arrives = [self.loss, self.link(from).loss, self.link(to).loss];
        1.0 - arrives.iter().map(|loss| 1.0 - loss).product::<f64>()
    }

    fn link(&self, port: usize) -> LinkConditions {
        self.links.get(&port).copied().unwrap_or_default()
    }

    /// Adds a fault. `ports` returns the ports of machines.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if a machine or a value is invalid; nothing is changed then.
    pub(super) fn add(&mut self, fault: &NetworkFault, machines: &[String]) -> Result<()> {
        match fault {
            NetworkFault::Partition(one, other) => {
                let groups = [ports(one, machines)?, ports(other, machines)?];
                check_groups(&groups, machines)?;
                self.partitions.push(groups);
            }
            NetworkFault::Delay(delay) => self.delay = *delay,
            NetworkFault::Loss(loss) => self.loss = share(*loss)?,
            NetworkFault::Rate(0) => {
                return Err(Error::usage(
                    "the rate of a network must be greater than zero",
                ));
            }
            NetworkFault::Rate(rate) => self.rate = Some(*rate),
            NetworkFault::Link(machine, fault) => {
                let link = self.links.entry(port(machine, machines)?).or_default();
                match fault {
                    LinkFault::Cut(cut) => link.is_cut = *cut,
                    LinkFault::Delay(delay) => link.delay = *delay,
                    LinkFault::Loss(loss) => link.loss = share(*loss)?,
                }
            }
        }
        Ok(())
    }
}

/// Checks a share of lost frames.
fn share(loss: f64) -> Result<f64> {
    match (0.0..=1.0).contains(&loss) {
        true => Ok(loss),
        false => {
            let message = format!("the share of lost frames must be from 0 to 1, not {loss}");
            Err(Error::usage(message))
        }
    }
}

/// Checks that both groups of a partition have machines, and none the same.
fn check_groups([one, other]: &[BTreeSet<usize>; 2], machines: &[String]) -> Result<()> {
    if one.is_empty() || other.is_empty() {
        return Err(Error::usage("a group of the partition has no machines"));
    }
    match one.intersection(other).next() {
        Some(port) => {
            let message = format!(
                "machine `{}` is in both groups of the partition",
                machines[*port]
            );
            Err(Error::usage(message))
        }
        None => Ok(()),
    }
}

/// The ports of machines.
fn ports(names: &[String], machines: &[String]) -> Result<BTreeSet<usize>> {
    names.iter().map(|name| port(name, machines)).collect()
}

/// The port of a machine: its number in the list of all.
fn port(name: &str, machines: &[String]) -> Result<usize> {
    let known = || {
        format!(
            "machine `{name}` not found in the network: it has {}",
            machines.join(", ")
        )
    };
    let port = machines.iter().position(|one| one == name);
    port.ok_or_else(|| Error::usage(known()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_added_or_refused() {
        let machines = ["a", "b", "c"].map(str::to_owned);
        let group = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut conditions = Conditions::default();
        for (fault, expected) in [
            (NetworkFault::Delay(Duration::from_millis(5)), Ok(())),
            (NetworkFault::Rate(8000), Ok(())),
            (NetworkFault::Loss(0.5), Ok(())),
            (
                NetworkFault::Partition(group(&["a"]), group(&["b"])),
                Ok(()),
            ),
            (
                NetworkFault::Partition(group(&["a"]), group(&["d"])),
                Err("machine `d` not found in the network: it has a, b, c"),
            ),
            (
                NetworkFault::Partition(group(&[]), group(&["a"])),
                Err("a group of the partition has no machines"),
            ),
            (
                NetworkFault::Partition(group(&["a", "c"]), group(&["b", "c"])),
                Err("machine `c` is in both groups of the partition"),
            ),
            (
                NetworkFault::Loss(30.0),
                Err("the share of lost frames must be from 0 to 1, not 30"),
            ),
            (
                NetworkFault::Rate(0),
                Err("the rate of a network must be greater than zero"),
            ),
            (
                NetworkFault::Link("c".to_owned(), LinkFault::Cut(true)),
                Ok(()),
            ),
            (
                NetworkFault::Link("c".to_owned(), LinkFault::Loss(-1.0)),
                Err("the share of lost frames must be from 0 to 1, not -1"),
            ),
            (
                NetworkFault::Link("d".to_owned(), LinkFault::Cut(true)),
                Err("machine `d` not found in the network: it has a, b, c"),
            ),
        ] {
            let added = conditions.add(&fault, &machines);
            let added = added.map_err(|error| error.to_string());
            assert_eq!(added, expected.map_err(str::to_owned));
        }
        let found = (
            conditions.delay.as_millis(),
            conditions.loss,
            conditions.rate,
        );
        assert_eq!(found, (5, 0.5, Some(8000)));
        for (from, to, separated) in [(0, 1, true), (1, 0, true), (0, 2, true), (1, 2, true)] {
            assert_eq!(conditions.separates(from, to), separated, "{from} {to}");
        }
        for fault in [
            LinkFault::Cut(true).none(),
            LinkFault::Delay(Duration::from_millis(20)),
            LinkFault::Loss(0.5),
        ] {
            let fault = NetworkFault::Link("c".to_owned(), fault);
            conditions.add(&fault, &machines).expect("a fault");
        }
        assert!(!conditions.separates(0, 2));
        for (from, to, millis, loss) in [(0, 1, 5, 0.5), (2, 0, 25, 0.75), (1, 2, 25, 0.75)] {
            let found = (
                conditions.delay(from, to).as_millis(),
                conditions.loss(from, to),
            );
            assert_eq!(found, (millis, loss), "{from} {to}");
        }
    }
}
