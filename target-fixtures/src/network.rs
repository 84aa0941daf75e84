//! [`Network`]: a network between the machines of an environment.

use std::{fmt, net::IpAddr};

use crate::{
    Environment, Target,
    error::{ErrorKind, TargetError},
    wire::InstanceLink,
};

type Result<T> = std::result::Result<T, TargetError>;

/// A network between the machines of an environment, beside the one by which the tool reaches them.
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
            let message = format!("`{machine}` has no address on network `{name}`");
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
        let found = target.command(FIND).args([&link.mac, address]).run()?;
        match found.stdout.trim() {
            "" => {
                let name = &self.name;
                let message = format!("`{machine}` has no interface to network `{name}`");
                Err(TargetError::new(ErrorKind::Request, message))
            }
            interface => Ok(interface.to_owned()),
        }
    }

    #[track_caller]
    fn link(&self, machine: &str) -> Result<(&'e Target, &'e InstanceLink)> {
        let target = self.environment.role(machine)?;
        let link = target.link(&self.name).ok_or_else(|| {
            let name = &self.name;
            let message = format!("`{machine}` is not on network `{name}`");
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
