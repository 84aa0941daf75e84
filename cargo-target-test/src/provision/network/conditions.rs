//! The conditions on the links of a network, and the faults that change them.

use std::{collections::BTreeSet, time::Duration};

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
}

impl Conditions {
    /// True if no frame passes between the two ports.
    pub(super) fn separates(&self, from: usize, to: usize) -> bool {
        let mut all = self.partitions.iter();
        all.any(|[one, other]| {
            one.contains(&from) && other.contains(&to) || one.contains(&to) && other.contains(&from)
        })
    }

    /// Adds a fault. `ports` returns the ports of machines.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if a machine or a value is invalid; nothing is changed then.
    pub(super) fn add(&mut self, fault: &NetworkFault, machines: &[String]) -> Result<()> {
        match fault {
            NetworkFault::Partition(one, other) => {
                let groups = [ports(one, machines)?, ports(other, machines)?];
                self.partitions.push(groups);
            }
            NetworkFault::Delay(delay) => self.delay = *delay,
            NetworkFault::Loss(loss) if (0.0..=1.0).contains(loss) => self.loss = *loss,
            NetworkFault::Loss(loss) => {
                let message = format!("the share of lost frames must be from 0 to 1, not {loss}");
                return Err(Error::usage(message));
            }
            NetworkFault::Rate(0) => {
                return Err(Error::usage(
                    "the rate of a network must be greater than zero",
                ));
            }
            NetworkFault::Rate(rate) => self.rate = Some(*rate),
        }
        Ok(())
    }
}

/// The ports of machines: their numbers in the list of all.
fn ports(names: &[String], machines: &[String]) -> Result<BTreeSet<usize>> {
    let port = |name: &String| {
        let known = || {
            format!(
                "machine `{name}` not found in the network: it has {}",
                machines.join(", ")
            )
        };
        let port = machines.iter().position(|one| one == name);
        port.ok_or_else(|| Error::usage(known()))
    };
    names.iter().map(port).collect()
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
                NetworkFault::Loss(30.0),
                Err("the share of lost frames must be from 0 to 1, not 30"),
            ),
            (
                NetworkFault::Rate(0),
                Err("the rate of a network must be greater than zero"),
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
        for (from, to, separated) in [(0, 1, true), (1, 0, true), (0, 2, false), (1, 2, false)] {
            assert_eq!(conditions.separates(from, to), separated, "{from} {to}");
        }
    }
}
