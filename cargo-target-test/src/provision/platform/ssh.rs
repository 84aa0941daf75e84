//! Platform `ssh`: machines that exist already and answer SSH.
//!
//! Owns the list of hosts and what makes two of them one machine. Makes nothing, deletes nothing and
//! connects to nothing: whether a host answers is for those who use it to find out.

mod host;

use std::{
    net::{IpAddr, Ipv4Addr, ToSocketAddrs},
    num::NonZeroU16,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::host::Host;
use super::{
    Deployed, Order, Platform,
    parameters::{self, Limit},
};
use crate::{
    connect::{
        Reach, SshReach,
        ssh_config::{self, SshConfig},
    },
    error::{Error, ErrorKind, Result},
    secret::{Lookup, Text},
};

/// Platform `ssh`.
#[derive(Debug)]
pub struct Ssh;

/// Parameters of platform `ssh`: existing machines, one instance each.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Parameters {
    /// The machines: aliases of `~/.ssh/config`, `host`, `user@host`, `user@host:port`, `[v6]:port`.
    #[serde(deserialize_with = "host::list")]
    #[schemars(length(min = 1))]
    hosts: Vec<String>,
    /// The login name for hosts written without one; by default what `~/.ssh/config` says.
    #[serde(default, deserialize_with = "parameters::user")]
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// The port for hosts written without one; by default what `~/.ssh/config` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<NonZeroU16>,
    /// The private key file, relative to the playbook; by default what `~/.ssh/config` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<PathBuf>,
    /// The login's password, for hosts that take it, and for `sudo`: best a reference, such as `{ env = "LAB_PASSWORD" }`.
    /// Where keys are named (`identity`, `IdentitiesOnly`), these are tried first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<Text>,
    /// The file with the hosts' keys, relative to the playbook; by default the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    known_hosts: Option<PathBuf>,
    /// How long connecting to a host may take; by default what `~/.ssh/config` says, or 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connect_timeout: Option<Limit>,
}

impl Platform for Ssh {
    fn name(&self) -> &'static str {
        "ssh"
    }

    fn parameters(&self, table: toml::de::ValueDeserializer<'_>) -> Result<Value, toml::de::Error> {
        parameters::normalised::<Parameters>(table)
    }

    fn schema(&self) -> schemars::Schema {
        schemars::schema_for!(Parameters)
    }

    fn count(&self, parameters: &Value) -> Option<u32> {
        let hosts = parameters.get("hosts")?.as_array()?;
        u32::try_from(hosts.len()).ok()
    }

    fn exclusive(&self, order: &Order) -> Result<Option<String>> {
        let config = ssh_config::resolve(&reach(order)?)?;
        machine(&config).map(Some)
    }

    fn makes_machines(&self) -> bool {
        false
    }

    fn check(&self, order: &Order) -> Result<()> {
        let parameters: Parameters = parameters::of(order)?;
        reach(order)?;
        parameters::check_file(order, "identity", parameters.identity.as_deref())?;
        parameters::check_file(order, "known-hosts", parameters.known_hosts.as_deref())
    }

    fn secrets(&self, order: &Order) -> Result<Vec<Lookup>> {
        Ok(parameters::lookups(reach(order)?.password))
    }

    fn deploy(&self, order: &Order, _progress: &dyn Fn(&str)) -> Result<Deployed> {
        let reach = reach(order)?;
        let config = ssh_config::resolve(&reach)?;
        Ok(Deployed {
            host: config.hostname,
            port: Some(config.port),
            user: Some(config.user),
            data: json!({}),
            reach: Reach::Ssh(reach),
        })
    }

    fn delete(&self, _order: &Order, _deployed: Option<&Deployed>) -> Result<()> {
        Ok(())
    }
}

/// How the order's host is reached.
fn reach(order: &Order) -> Result<SshReach> {
    let parameters: Parameters = parameters::of(order)?;
    let Some(written) = parameters.hosts.get(order.index as usize) else {
        let (target, hosts) = (&order.target, parameters.hosts.len());
        let message = format!(
            "target `{target}` has {hosts} host(s), none for `{}`",
            order.instance
        );
        return Err(parameters::wrong(message)
            .with_hint("lower its `count`, or leave that out: each host is one instance"));
    };
    let host: Host = written.parse().map_err(parameters::wrong)?;
    let from = |path: PathBuf| parameters::path(&order.directory, &path);
    Ok(SshReach {
        host: host.name,
        port: host.port.or(parameters.port).map(NonZeroU16::get),
        user: host.user.or(parameters.user),
        identity: parameters.identity.map(from),
        password: (parameters.password.as_ref())
            .map(|text| parameters::bound(order, "password", text)),
        known_hosts: parameters.known_hosts.map(from),
        trust_first: false,
        connect_timeout: parameters.connect_timeout.map(|limit| limit.0),
    })
}

/// The one name of a machine under all its names: `10.0.0.7:22`, `[fd00::7]:22`. Behind a jump host
/// names mean what they mean there, so the jump is part of it: `jump>inner:22`.
fn machine(config: &SshConfig) -> Result<String> {
    let (name, port) = (config.hostname.as_str(), config.port);
    let via = config.proxy_jump.as_ref().or(config.proxy_command.as_ref());
    if let Some(via) = via {
        return Ok(format!("{via}>{}:{port}", name.to_ascii_lowercase()));
    }
    let cannot = || {
        let message = format!("cannot resolve host `{name}`");
        Error::new(ErrorKind::Infra, message).with_hint(format!(
            "check `{name}` in the playbook's `hosts`, in `~/.ssh/config` and in DNS"
        ))
    };
    let addresses = (name, port)
        .to_socket_addrs()
        .map_err(|error| cannot().with_source(error))?;
    // DNS answers in any order and `localhost` is both `::1` and `127.0.0.1`: choose by value.
    let mut addresses: Vec<_> = addresses.collect();
    addresses.iter_mut().for_each(|address| {
        let ip = address.ip().to_canonical();
        let v6_loopback = ip.is_ipv6() && ip.is_loopback();
        address.set_ip(if v6_loopback {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            ip
        });
    });
    let first = addresses.iter().min().ok_or_else(cannot)?;
    Ok(first.to_string())
}

#[cfg(test)]
mod tests;
