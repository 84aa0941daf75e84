//! [`Network`]: a network between the machines of an environment.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Environment, Target,
    client::unexpected,
    error::{ErrorKind, Placed, TargetError},
    wire::{BrokerRequest, InstanceLink, NetworkAct, Reply},
};

type Result<T> = std::result::Result<T, TargetError>;

/// A network between the machines of an environment, beside the one by which the tool reaches them.
///
/// Faults last until [`heal`](Self::heal), or until the test has ended. Between containers only a partition that separates
/// one of them from all others is possible.
///
/// ```no_run
/// # use target_fixtures::{net, prelude::*};
/// # fn test(env: &Environment) -> Result<()> {
/// let lab = env.network("lab");
/// lab.delay(Duration::from_millis(50))?;
/// let pings = net::ping(&env["client"], lab.address("server")?).run()?;
/// assert!(pings.average >= Duration::from_millis(100)); // there and back
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Network<'e> {
    environment: &'e Environment,
    name: String,
}

impl<'e> Network<'e> {
    pub(crate) fn new(environment: &'e Environment, name: &str) -> Self {
        let name = name.to_owned();
        Self { environment, name }
    }

    /// The name in the playbook: `lab`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address of a machine on the network.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the machine is not on the network, or if the playbook leaves it without an address
    /// (`configure = false`).
    #[track_caller]
    pub fn address(&self, machine: &str) -> Result<IpAddr> {
        let (_, link) = self.link(machine)?;
        let address = link
            .address
            .as_deref()
            .and_then(|text| text.split('/').next());
        let address = address.and_then(|text| text.parse().ok());
        address.ok_or_else(|| {
            let name = &self.name;
            let message =
                format!("find the address of `{machine}` on network `{name}`: it has none");
            TargetError::new(ErrorKind::Request, message)
        })
    }

    /// The name of a machine's interface to the network: `eth1`.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the machine is not on the network, or if no interface is found.
    #[track_caller]
    pub fn interface(&self, machine: &str) -> Result<String> {
        let (target, link) = self.link(machine)?;
        let address = link.address.as_deref().unwrap_or_default();
        let find = target.command(FIND).args([&link.mac, address]);
        let found = find.quiet().run()?;
        match found.stdout.trim() {
            "" => {
                let name = &self.name;
                let message = format!(
                    "find the interface of `{machine}` to network `{name}`: none has `{}`",
                    link.mac
                );
                Err(TargetError::new(ErrorKind::Request, message))
            }
            interface => Ok(interface.to_owned()),
        }
    }

    /// Lets no frame pass between the machines of two groups. Further partitions add to it.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if a machine is not in the network or in both groups, if a group is empty, or if the network
    /// cannot be divided in this way.
    #[track_caller]
    pub fn partition(&self, one: &[&str], other: &[&str]) -> Result<()> {
        let group = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (one, other) = (group(one), group(other));
        self.act(NetworkAct::Partition { one, other })
    }

    /// Delays each frame by this time.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] in a network of containers.
    #[track_caller]
    pub fn delay(&self, delay: Duration) -> Result<()> {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.act(NetworkAct::Delay { micros })
    }

    /// Loses this share of frames, from 0 to 1, at random.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] for another number, and in a network of containers.
    #[track_caller]
    pub fn loss(&self, share: f64) -> Result<()> {
        self.act(NetworkAct::Loss { share })
    }

    /// Limits the number of bits that each machine can send per second.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] for 0, and in a network of containers.
    #[track_caller]
    pub fn rate(&self, bits: u64) -> Result<()> {
        self.act(NetworkAct::Rate { bits })
    }

    /// Ends all faults and captures.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] if the network cannot be reached.
    #[track_caller]
    pub fn heal(&self) -> Result<()> {
        self.act(NetworkAct::Heal)
    }

    /// Writes all frames that machines send from now on to a file of this name among the artifacts of the attempt, in the
    /// format of `tcpdump -r`. Returns its path on the host; the file can be read at any time.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the name is that of no file or is in use, and in a network of containers.
    #[track_caller]
    pub fn capture(&self, name: impl AsRef<Path>) -> Result<PathBuf> {
        let name = name.as_ref().to_string_lossy().into_owned();
        match self.ask(NetworkAct::Capture { name })? {
            Reply::Answer { value } => Ok(value.as_str().unwrap_or_default().into()),
            other => Err(unexpected(other)),
        }
    }

    #[track_caller]
    fn act(&self, act: NetworkAct) -> Result<()> {
        match self.ask(act)? {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    #[track_caller]
    fn ask(&self, act: NetworkAct) -> Result<Reply> {
        let request = BrokerRequest::Network {
            environment: self.environment.name().to_owned(),
            network: self.name.clone(),
            act,
        };
        // A network has machines.
        self.environment.machines()[0].client.ask(request).placed()
    }

    #[track_caller]
    fn link(&self, machine: &str) -> Result<(&'e Target, &'e InstanceLink)> {
        let target = self.environment.role(machine)?;
        let link = target.link(&self.name).ok_or_else(|| {
            let name = &self.name;
            let message = format!("find `{machine}` on network `{name}`: it is not on it");
            TargetError::new(ErrorKind::Request, message)
        })?;
        Ok((target, link))
    }
}

/// Prints the interface with a hardware address, else the one with an address: the engine of a container chooses the
/// hardware address. A VLAN has the hardware address of its interface, and no device.
const FIND: &str = r#"
for link in /sys/class/net/*; do
    if [ -e "$link/device" ] && [ "$(cat "$link/address")" = "$1" ]; then
        echo "${link##*/}"
        exit
    fi
done
[ -z "$2" ] || ip -o addr show | grep -F " $2 " | head -n 1 | cut -d ' ' -f 2
"#;

impl fmt::Debug for Network<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Network").field(&self.name).finish()
    }
}
