//! Writes the configuration file for `ssh -F`, in which every instance is a host.
//!
//! Must not connect.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, sync::Mutex};

use target_fixtures::env;

use super::{Reach, SshReach, ssh_config};
use crate::{error::Result, sync};

/// The `Host` sections, by instance.
#[derive(Default)]
pub(crate) struct SshHosts(Mutex<BTreeMap<String, String>>);

impl SshHosts {
    /// Adds an instance that is reached by SSH and rewrites the file. Blocks.
    pub(crate) fn add(&self, file: &Path, instance: &str, reach: &Reach) -> Result<()> {
        let Reach::Ssh(reach) = reach else {
            return Ok(());
        };
        let text = host(instance, reach)?;
        let mut hosts = sync::lock(&self.0);
        hosts.insert(instance.to_owned(), text);
        let text: String = hosts.values().map(String::as_str).collect();
        replace(file, &text)
    }
}

/// Writes a file with this host only. Blocks.
pub(crate) fn write(file: &Path, name: &str, reach: &SshReach) -> Result<()> {
    replace(file, &host(name, reach)?)
}

/// Replaces the file atomically, because tests read it while other instances are added.
fn replace(file: &Path, text: &str) -> Result<()> {
    let new = file.with_extension("new");
    fs_err::write(&new, text)?;
    Ok(fs_err::rename(new, file)?)
}

/// Returns the `Host` section. It contains the complete configuration, because `ssh -F` reads no other file.
fn host(name: &str, reach: &SshReach) -> Result<String> {
    let config = ssh_config::resolve(reach)?;
    let mut text = format!(
        "Host {name}\n  HostName {}\n  Port {}\n",
        config.hostname, config.port
    );
    let mut line = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "  {key} {value}");
        }
    };
    line("User", Some(config.user));
    for identity in &config.identities {
        line("IdentityFile", Some(quoted(identity)));
    }
    line(
        "IdentitiesOnly",
        config.identities_only.then(|| "yes".to_owned()),
    );
    let known: Vec<_> = config.known_hosts.iter().map(|path| quoted(path)).collect();
    line(
        "UserKnownHostsFile",
        (!known.is_empty()).then(|| known.join(" ")),
    );
    line("HostKeyAlias", Some(config.known_as));
    line("ProxyJump", config.proxy_jump);
    line("ProxyCommand", config.proxy_command);
    // The sweep of the lease finds these processes, too, if the server accepts the variable.
    line("SendEnv", Some(env::SSH_LEASE.to_owned()));
    Ok(text)
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}
