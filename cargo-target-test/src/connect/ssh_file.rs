//! The file for `ssh -F` in which every instance is a host.
//!
//! Owns its text. Must not know connections.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::Path,
    sync::{Mutex, PoisonError},
};

use super::{Reach, SshReach, ssh_config};
use crate::error::Result;

/// The hosts, by instance.
#[derive(Default)]
pub(crate) struct SshHosts(Mutex<BTreeMap<String, String>>);

impl SshHosts {
    /// Adds an instance, if SSH reaches it, and writes the file anew. Blocks.
    pub(crate) fn add(&self, file: &Path, instance: &str, reach: &Reach) -> Result<()> {
        let Reach::Ssh(reach) = reach else {
            return Ok(());
        };
        let text = host(instance, reach)?;
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.insert(instance.to_owned(), text);
        let text: String = hosts.values().map(String::as_str).collect();
        replace(file, &text)
    }
}

/// Writes the file with this one host in it. Blocks.
pub(crate) fn write(file: &Path, name: &str, reach: &SshReach) -> Result<()> {
    replace(file, &host(name, reach)?)
}

/// Replaces the file whole: tests read it while other instances are still added.
fn replace(file: &Path, text: &str) -> Result<()> {
    let new = file.with_extension("new");
    fs_err::write(&new, text)?;
    Ok(fs_err::rename(new, file)?)
}

/// What our own connection uses: `ssh -F` reads no other file.
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
    Ok(text)
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}
