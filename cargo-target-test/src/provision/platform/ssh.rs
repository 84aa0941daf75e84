//! Platform `ssh`: existing machines that answer SSH.
//!
//! Contains the list of hosts, and finds hosts that are one machine.

// Must not connect: the preparation shows if a host answers.

mod host;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, ToSocketAddrs},
    num::NonZeroU16,
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use self::host::SshHost;
use super::{
    Deployed, Ownership, Platform, SpecOf,
    values::{self, Env, Limit},
};
use crate::{
    connect::{
        Reach, Shells, SshClient, SshReach,
        ssh_config::{self, SshConfig},
    },
    error::{Error, Result},
    secret::{Lookup, Text},
};

/// Platform `ssh`.
#[derive(Debug)]
pub struct SshPlatform;

type SshSpec = SpecOf<SshPlatform>;

/// Parameters of platform `ssh`: existing machines, one instance each.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SshParameters {
    /// The machines: aliases of `~/.ssh/config`, `host`, `user@host`, `user@host:port`, `[v6]:port`.
    #[serde(deserialize_with = "host::list")]
    #[schemars(length(min = 1))]
    hosts: Vec<String>,
    /// The login name for hosts written without one; by default as in `~/.ssh/config`.
    #[serde(default, deserialize_with = "values::user")]
    user: Option<String>,
    /// The port for hosts written without one; by default as in `~/.ssh/config`.
    port: Option<NonZeroU16>,
    /// The private key file, relative to the playbook; by default as in `~/.ssh/config`.
    identity: Option<PathBuf>,
    /// The login's password, for hosts that accept one, and for `sudo`: preferably a reference, such as `{ env =
    /// "LAB_PASSWORD" }`. Named keys (`identity`, `IdentitiesOnly`) are tried first.
    password: Option<Text>,
    /// Environment variables for every command.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    env: Env,
    /// The file with the hosts' keys, relative to the playbook; by default the user's.
    known_hosts: Option<PathBuf>,
    /// The time limit for connecting to a host; by default as in `~/.ssh/config`, or 10 s.
    connect_timeout: Option<Limit>,
    /// The SSH client: `built-in`, `openssh` (the host's `ssh`, for hosts that need no password), or `auto`: OpenSSH for
    /// hosts whose `~/.ssh/config` has settings that the built-in client does not honour, such as certificates, hardware
    /// keys, Kerberos and `KnownHostsCommand`.
    #[serde(default, skip_serializing_if = "SshClient::is_auto")]
    client: SshClient,
    /// The logins of commands: `kept`, where a login serves several commands, which saves the time that sshd and the
    /// start-up files of the login shell take, or `fresh`: each command has a login of its own. Hosts without Perl keep
    /// none. A login serves no further command once a file changes on which logins depend: `/etc/passwd`, `group`,
    /// `environment`, `login.defs`, `profile`, `profile.d`, `security`, the user's start-up files and `~/.ssh`.
    #[serde(default, skip_serializing_if = "Shells::are_kept")]
    shells: Shells,
    /// `allow` for hosts that are one machine at several addresses, or the same machine as hosts of other targets. By
    /// default, a host with the SSH host key, boot id, and pid and network namespaces of another one cannot be deployed.
    #[serde(default, skip_serializing_if = "SameMachine::is_refused")]
    same_machine: SameMachine,
}

/// The treatment of a host that is the same machine as another host.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
enum SameMachine {
    /// Its cases are infra.
    #[default]
    Refuse,
    /// It is an instance of its own.
    Allow,
}

impl SameMachine {
    fn is_refused(&self) -> bool {
        *self == Self::Refuse
    }
}

impl Platform for SshPlatform {
    type Parameters = SshParameters;

    fn name(&self) -> &'static str {
        "ssh"
    }

    fn ownership(&self) -> Ownership {
        Ownership::Existing
    }

    fn count(&self, parameters: &SshParameters) -> Option<u32> {
        u32::try_from(parameters.hosts.len()).ok()
    }

    fn exclusive(&self, spec: &SpecOf<Self>) -> Result<Option<String>> {
        let config = ssh_config::resolve(&reach(spec)?)?;
        machine(&config).map(Some)
    }

    fn check(&self, spec: &SpecOf<Self>) -> Result<()> {
        if spec.parameters.client == SshClient::Openssh && spec.parameters.password.is_some() {
            let target = &spec.target;
            let message = format!("`client` of target `{target}`: OpenSSH takes no `password`");
            return Err(
                values::wrong(message).with_hint("use `client = \"built-in\"`, or a key for `ssh`")
            );
        }
        reach(spec)?;
        spec.check_file("identity", spec.parameters.identity.as_deref())?;
        spec.check_file("known-hosts", spec.parameters.known_hosts.as_deref())
    }

    fn secrets(&self, spec: &SpecOf<Self>) -> Result<Vec<Lookup>> {
        let SshReach { password, env, .. } = reach(spec)?;
        Ok(values::lookups(
            password.into_iter().chain(env.into_values()),
        ))
    }

    fn deploy(&self, spec: &SpecOf<Self>, _: &dyn Fn(&str)) -> Result<Deployed> {
        let reach = reach(spec)?;
        let config = ssh_config::resolve(&reach)?;
        Ok(Deployed {
            port: Some(config.port),
            user: Some(config.user),
            ..Deployed::new(config.hostname, Reach::Ssh(reach))
        })
    }

    fn delete(&self, _: &SpecOf<Self>, _: Option<&Deployed>) -> Result<()> {
        Ok(())
    }
}

/// The address of the instance's host.
fn reach(spec: &SshSpec) -> Result<SshReach> {
    let parameters = &spec.parameters;
    let Some(written) = parameters.hosts.get(spec.index as usize) else {
        let (target, hosts) = (&spec.target, parameters.hosts.len());
        let message = format!(
            "target `{target}` has {hosts} host(s), none for `{}`",
            spec.instance
        );
        return Err(values::wrong(message)
            .with_hint("lower its `count`, or leave that out: each host is one instance"));
    };
    let host: SshHost = written.parse().map_err(values::wrong)?;
    let from = |path: &PathBuf| spec.path(path);
    Ok(SshReach {
        host: host.name,
        port: host.port.or(parameters.port).map(NonZeroU16::get),
        user: host.user.or_else(|| parameters.user.clone()),
        identity: parameters.identity.as_ref().map(from),
        password: (parameters.password.as_ref()).map(|text| spec.bound("password", text)),
        env: spec.bound_env(&parameters.env),
        known_hosts: parameters.known_hosts.as_ref().map(from),
        trust_first: false,
        connect_timeout: parameters.connect_timeout.map(|limit| limit.0),
        client: parameters.client,
        shells: parameters.shells,
        must_differ: parameters.same_machine.is_refused(),
    })
}

/// Returns one name for a machine that has several: `10.0.0.7:22`, `[fd00::7]:22`. Behind a jump host, the jump host
/// resolves the name, so the name contains the jump: `jump>inner:22`.
fn machine(config: &SshConfig) -> Result<String> {
    let (name, port) = (config.hostname.as_str(), config.port);
    let via = config.proxy_jump.as_ref().or(config.proxy_command.as_ref());
    if let Some(via) = via {
        return Ok(format!("{via}>{}:{port}", name.to_ascii_lowercase()));
    }
    let cannot = || {
        Error::infra(format!("cannot resolve host `{name}`")).with_hint(format!(
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
