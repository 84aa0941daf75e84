//! Chooses the SSH client of a host: the built-in one, or OpenSSH for what only OpenSSH does.
//!
//! Must not connect.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    CommandStdin, SshReach,
    openssh::OpenSsh,
    program::{Carrier, StartedProgram},
    remote::KILL,
    shell::{KeptShell, WrappedLine},
    ssh::{Endpoint, Sessions},
    ssh_config::{self, Lines, SshConfig},
};
use crate::{bounded, error::Result};

/// The client of a host.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum SshClient {
    /// The built-in client, unless the host's configuration needs OpenSSH.
    #[default]
    Auto,
    /// The built-in client.
    BuiltIn,
    /// `ssh` of this host, which must need no password.
    Openssh,
}

impl SshClient {
    /// True for [`SshClient::Auto`].
    pub fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

/// Options that the built-in client honours.
const HONOURED: &[&str] = &[
    "connecttimeout",
    "globalknownhostsfile",
    "host",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityagent",
    "identityfile",
    "port",
    "proxycommand",
    "proxyjump",
    "stricthostkeychecking",
    "user",
    "userknownhostsfile",
];

/// Options without effect on commands that have no terminal, and options that `ssh -G` has already applied.
const WITHOUT_EFFECT: &[&str] = &[
    "addkeystoagent",
    "batchmode",
    "canonicaldomains",
    "canonicalizefallbacklocal",
    "canonicalizehostname",
    "canonicalizemaxdots",
    "canonicalizepermittedcnames",
    "clearallforwardings",
    "compression",
    "connectionattempts",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "dynamicforward",
    "enableescapecommandline",
    "escapechar",
    "exitonforwardfailure",
    "fingerprinthash",
    "forkafterauthentication",
    "forwardx11",
    "forwardx11timeout",
    "forwardx11trusted",
    "gatewayports",
    "gssapiauthentication",
    "gssapidelegatecredentials",
    "gssapikexalgorithms",
    "gssapikeyexchange",
    "gssapirenewalforcesrekey",
    "gssapitrustdns",
    "hashknownhosts",
    "ipqos",
    "localcommand",
    "localforward",
    "loglevel",
    "logverbose",
    "numberofpasswordprompts",
    "permitlocalcommand",
    "permitremoteopen",
    "proxyusefdpass",
    "remoteforward",
    "requesttty",
    "sendenv",
    "serveralivecountmax",
    "serveraliveinterval",
    "sessiontype",
    "stdinnull",
    "streamlocalbindmask",
    "streamlocalbindunlink",
    "syslogfacility",
    "tcpkeepalive",
    "tunnel",
    "tunneldevice",
    "updatehostkeys",
    "visualhostkey",
    "xauthlocation",
];

/// Returns the first setting of a host that the built-in client does not honour: ``option `certificatefile` ``. `lines`
/// is the output of `ssh -G` for the host, and `defaults` that without any configuration file.
pub(super) fn beyond_built_in(lines: &str, defaults: &str, config: &SshConfig) -> Option<String> {
    let (set, defaults) = (Lines::of(lines).0, Lines::of(defaults).0);
    let mut changed: Vec<_> = set
        .iter()
        .filter(|(key, values)| defaults.get(*key) != Some(*values))
        .map(|(key, _)| *key)
        .filter(|key| !HONOURED.contains(key) && !WITHOUT_EFFECT.contains(key))
        .collect();
    changed.sort_unstable();
    if let Some(option) = changed.first() {
        return Some(format!("option `{option}`"));
    }
    if set.get("gssapiauthentication") == Some(&vec!["yes"])
        && std::env::var_os("KRB5CCNAME").is_some()
    {
        return Some("a Kerberos ticket (`KRB5CCNAME`)".to_owned());
    }
    let files = config.known_hosts.iter().chain(&config.identities);
    for file in files.clone() {
        let shown = file.display().to_string();
        if shown.contains('%') || !file.is_absolute() {
            return Some(format!("the path `{shown}`"));
        }
    }
    let key = config.identities.iter().find_map(|file| special_key(file));
    let marker = config.known_hosts.iter().find_map(|file| marker(file));
    key.or(marker)
}

/// A key that only OpenSSH uses: with a certificate, in a security key, or in the agent and named by its public part.
fn special_key(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?;
    let certificate = file.with_file_name(format!("{name}-cert.pub"));
    if certificate.exists() {
        return Some(format!("certificate `{}`", certificate.display()));
    }
    let special = name.ends_with(".pub") || name.ends_with("_sk");
    (special && file.exists()).then(|| format!("key `{}`", file.display()))
}

/// A marker in a known-hosts file.
fn marker(file: &Path) -> Option<String> {
    let text = bounded::read_to_string(file).ok()?;
    let markers = ["@cert-authority", "@revoked"];
    let found = markers
        .into_iter()
        .find(|marker| text.lines().any(|line| line.starts_with(marker)))?;
    Some(format!("`{found}` in `{}`", file.display()))
}

/// Both clients of a host, of which one is used.
pub(super) struct SshClients {
    pub(super) endpoint: Arc<Endpoint>,
    built_in: Arc<Sessions>,
    openssh: OpenSsh,
    /// True for OpenSSH, once it is known.
    choice: OnceLock<bool>,
}

impl SshClients {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        let endpoint = Arc::new(endpoint);
        Self {
            built_in: Sessions::new(&endpoint),
            openssh: OpenSsh::new(&endpoint),
            endpoint,
            choice: OnceLock::new(),
        }
    }

    /// Starts a command in a kept shell, or in a login of its own. One that is urgent does not wait for others.
    pub(super) async fn start(
        &self,
        wrapped: &WrappedLine,
        stdin: Option<CommandStdin>,
        is_urgent: bool,
    ) -> Result<StartedProgram> {
        match self.uses_openssh() {
            true => self.openssh.start(wrapped, stdin).await,
            false => self.built_in.start(wrapped, stdin, is_urgent).await,
        }
    }

    /// Keeps a shell for the next command.
    pub(super) fn keep(&self, program: StartedProgram, shell: KeptShell) {
        match program.carrier {
            // Fails if the session is lost.
            Carrier::Channel(back) => drop(back.send(shell)),
            Carrier::Pipes(_) => self.openssh.shells.keep(program, shell),
        }
    }

    /// Returns the timeout of killing a command.
    pub(super) fn kill_timeout(&self) -> Duration {
        match self.uses_openssh() {
            true => KILL,
            false => self.endpoint.limits.answer,
        }
    }

    /// Chooses the client. The configuration of a host that was probed is known; else `ssh -G` runs.
    fn uses_openssh(&self) -> bool {
        let choice = self.choice.get().copied().or_else(|| {
            let reason = uses_openssh(&self.endpoint.reach).ok()?;
            Some(*self.choice.get_or_init(|| reason.is_some()))
        });
        // Without a choice, the built-in client reports the error of the configuration.
        choice.unwrap_or(false)
    }
}

/// Returns the reason that a host is reached by OpenSSH; `None` for the built-in client.
///
/// # Errors
/// As [`ssh_config::resolve`].
pub fn uses_openssh(reach: &SshReach) -> Result<Option<String>> {
    Ok(match reach.client {
        SshClient::BuiltIn => None,
        SshClient::Openssh => Some("`client = \"openssh\"`".to_owned()),
        // OpenSSH takes no password from a program.
        SshClient::Auto if reach.password.is_some() => None,
        SshClient::Auto => ssh_config::resolve(reach)?.beyond_built_in,
    })
}
