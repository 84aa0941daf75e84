//! Makes a machine that came up ready for the networks of its environment: the addresses of its links, the names of the other
//! machines, and its clock, by one command.
//!
//! The engine of a container does the first two itself.

use std::{sync::Arc, time::SystemTime};

use super::run::{SHORT, Shell};
use crate::{
    connect::{Transport, shell},
    error::{Error, Result},
    provision::platform::{Attach, InstanceSpec},
};

/// The file with the names of machines.
const HOSTS: &str = "/etc/hosts";

/// Configures the links that have an address, unless they have it already, and names the machines there. `sets_clock` also
/// sets the clock; a machine that does not allow that keeps it.
///
/// # Errors
/// Fails if the machine lacks a link, or the program `ip`, or if its hosts file cannot be written.
pub(super) async fn configure(
    transport: &Arc<dyn Transport>,
    spec: &InstanceSpec,
    sets_clock: bool,
) -> Result<()> {
    let of_machine = spec.nics.iter().filter_map(|nic| match &nic.attach {
        Attach::Socket(_) => Some((nic.mac.as_str(), nic.address.as_deref()?)),
        Attach::Network(_) => None,
    });
    let links: Vec<_> = of_machine.collect();
    if links.is_empty() {
        if sets_clock {
            super::set_clock(Arc::clone(transport)).await;
        }
        return Ok(());
    }
    let mut line = if sets_clock { clock() } else { String::new() };
    let peers = spec.peers.iter();
    let peers = peers.map(|peer| (peer.name.as_str(), peer.address.as_str()));
    line += &shell::configure_links(links);
    line += &shell::name_machines(HOSTS, peers);
    let shell = Shell::new(Arc::clone(transport), "links".to_owned());
    let configured = shell.run_as(true, &line, SHORT).await?.success();
    configured.map(drop).map_err(|error| {
        Error::infra("its network links could not be configured").with_source(error)
    })
}

/// The script that sets a clock to the time of this host.
pub(super) fn clock() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    shell::set_clock(now.unwrap_or_default().as_secs())
}
