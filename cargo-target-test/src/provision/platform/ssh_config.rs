//! What OpenSSH's configuration says of a host, asked of `ssh -G`.
//!
//! Owns how `ssh` is asked and its answer read. Must not connect.

use std::{path::PathBuf, time::Duration};

use super::SshReach;
use crate::{
    error::{Error, ErrorKind, Result},
    process,
};

/// A host as OpenSSH would connect to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SshConfig {
    /// The real name or address.
    pub hostname: String,
    /// The port.
    pub port: u16,
    /// The login name.
    pub user: String,
    /// The `ProxyJump` chain, as written.
    pub proxy_jump: Option<String>,
    /// The `ProxyCommand`, as written.
    pub proxy_command: Option<String>,
    /// Identity files to try.
    pub identity_files: Vec<PathBuf>,
}

/// Resolves a host through the user's configuration, the reach's own values before it.
///
/// # Errors
/// When there is no `ssh`, or its configuration is wrong.
pub fn resolve(reach: &SshReach) -> Result<SshConfig> {
    let mut command = process::command("ssh");
    command.arg("-G");
    if let Some(port) = reach.port {
        command.args(["-p", &port.to_string()]);
    }
    if let Some(user) = &reach.user {
        command.args(["-l", user]);
    }
    command.args(["--", &reach.host]);
    let finished = process::run(command, b"", Duration::from_secs(10), &|_| {})?;
    if !finished.status.success() {
        let said = String::from_utf8_lossy(&finished.stderr);
        let message = format!("`ssh -G {}` failed: {}", reach.host, said.trim());
        return Err(Error::new(ErrorKind::Infra, message));
    }
    let mut config = SshConfig::default();
    for line in String::from_utf8_lossy(&finished.stdout).lines() {
        let Some((key, value)) = line.split_once(' ') else {
            continue;
        };
        let set = || Some(value.to_owned()).filter(|value| value != "none");
        match key {
            "hostname" => config.hostname = value.to_owned(),
            "port" => config.port = value.parse().unwrap_or(22),
            "user" => config.user = value.to_owned(),
            "proxyjump" => config.proxy_jump = set(),
            "proxycommand" => config.proxy_command = set(),
            "identityfile" => config.identity_files.push(value.into()),
            _ => {}
        }
    }
    Ok(config)
}
