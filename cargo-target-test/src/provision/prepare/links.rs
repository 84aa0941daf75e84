//! Gives the links of a virtual machine to the networks of its environment their addresses, and the other machines there
//! their names.
//!
//! The engine of a container does so itself.

use std::sync::Arc;

use super::run::{SHORT, Shell};
use crate::{
    connect::{Transport, shell},
    error::{Error, Result},
    provision::platform::{Attach, InstanceSpec},
};

/// The file with the names of machines.
const HOSTS: &str = "/etc/hosts";

/// Configures the links that have an address, unless they have it already.
///
/// # Errors
/// Fails if the machine lacks a link, or the program `ip`, or if its hosts file cannot be written.
pub(super) async fn configure(transport: &Arc<dyn Transport>, spec: &InstanceSpec) -> Result<()> {
    let of_machine = spec.nics.iter().filter_map(|nic| match &nic.attach {
        Attach::Socket(_) => Some((nic.mac.as_str(), nic.address.as_deref()?)),
        Attach::Network(_) => None,
    });
    let links: Vec<_> = of_machine.collect();
    if links.is_empty() {
        return Ok(());
    }
    let peers = spec.peers.iter();
    let peers = peers.map(|peer| (peer.name.as_str(), peer.address.as_str()));
    let line = shell::configure_links(links) + &shell::name_machines(HOSTS, peers);
    let shell = Shell::new(Arc::clone(transport), "links".to_owned());
    let configured = shell.run_as(true, &line, SHORT).await?.success();
    configured.map(drop).map_err(|error| {
        Error::infra("its network links could not be configured").with_source(error)
    })
}
