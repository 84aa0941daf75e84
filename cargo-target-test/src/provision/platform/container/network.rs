//! Networks of a container engine: they join containers, and reach nothing else.

use std::net::Ipv4Addr;

use super::{Engine, LABEL, UNIQUE};
use crate::{error::Result, provision::platform::Provenance};

/// The label whose value is the network's provenance, as JSON.
const PROVENANCE: &str = super::PROVENANCE;

/// The option of `network connect` that only podman has.
const MAC: &str = "--mac-address";

impl Engine {
    /// Creates a network with the pool's label and the provenance, and with this subnet and the host's own address in it.
    pub(in crate::provision) fn create_network(
        &self,
        unique: &str,
        (label, provenance): (&str, &Provenance),
        subnet: Option<(&str, Ipv4Addr)>,
    ) -> Result<()> {
        let labels = [
            format!("{LABEL}={label}"),
            format!("{UNIQUE}={unique}"),
            format!("{PROVENANCE}={}", serde_json::json!(provenance)),
        ];
        let mut line = vec!["network", "create", "--internal"];
        line.extend(labels.iter().flat_map(|label| ["--label", label]));
        let gateway = subnet.map(|(_, gateway)| gateway.to_string());
        if let (Some((subnet, _)), Some(gateway)) = (subnet, &gateway) {
            line.extend(["--subnet", subnet, "--gateway", gateway]);
        }
        line.push(unique);
        self.run(line).map(drop)
    }

    /// Removes a network, if it exists.
    pub(in crate::provision) fn remove_network(&self, unique: &str) -> Result<()> {
        match self.networks(&format!("name=^{unique}$"))?.is_empty() {
            true => Ok(()),
            false => self.run(["network", "rm", unique]).map(drop),
        }
    }

    /// The names of the networks that a filter accepts: `label=a=b`.
    pub(in crate::provision) fn networks(&self, filter: &str) -> Result<Vec<String>> {
        let list = ["network", "ls", "--filter", filter, "--format", "{{.Name}}"];
        let names = self.run(list)?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// The provenance of a network; empty if it has none.
    pub(in crate::provision) fn network_provenance(&self, unique: &str) -> Provenance {
        let format = format!("{{{{index .Labels {PROVENANCE:?}}}}}");
        let text = self.run(["network", "inspect", "--format", &format, unique]);
        let text = text.ok();
        let read = text.and_then(|text| serde_json::from_str(&text).ok());
        read.unwrap_or_default()
    }

    /// Connects a container to a network, at this address. With the same hardware address, its neighbours find it at once
    /// when it comes back.
    pub(in crate::provision) fn join(
        &self,
        network: &str,
        container: &str,
        (ip, mac): (Option<&str>, &str),
    ) -> Result<()> {
        let mut address = Vec::new();
        if let Some(ip) = ip {
            address.extend([if ip.contains(':') { "--ip6" } else { "--ip" }, ip]);
        }
        let connect = |more: &[&str]| {
            let words = ["network", "connect"].iter().chain(&address).chain(more);
            self.run(words.copied().chain([network, container]))
        };
        match connect(&[MAC, mac]) {
            // Docker derives the hardware address from the other one.
            Err(error) if error.chain().contains(MAC) => connect(&[]).map(drop),
            joined => joined.map(drop),
        }
    }

    /// Disconnects a container from a network.
    pub(in crate::provision) fn leave(&self, network: &str, container: &str) -> Result<()> {
        self.run(["network", "disconnect", network, container])
            .map(drop)
    }

    /// True if the container is connected to the network.
    pub(in crate::provision) fn is_in(&self, network: &str, container: &str) -> Result<bool> {
        let format = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
        let inspect = ["inspect", "--type", "container", "--format", format];
        let names = self.run(inspect.into_iter().chain([container]))?;
        Ok(names.split_whitespace().any(|name| name == network))
    }
}

impl Engine {
    /// The label by which resources of a pool are found.
    pub(in crate::provision) fn of_pool(label: &str) -> String {
        format!("label={LABEL}={label}")
    }

    /// The label by which the resources of all pools are found.
    pub(in crate::provision) fn of_all() -> String {
        format!("label={LABEL}")
    }
}
