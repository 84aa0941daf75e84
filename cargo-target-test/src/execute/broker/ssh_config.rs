//! The file for `ssh -F` in which every instance is a host.
//!
//! Owns its text. Must not know connections.

use std::{fmt::Write as _, path::Path};

use crate::{
    error::Result,
    provision::{
        platform::{Reach, SshReach},
        pool::Record,
    },
};

/// Adds an instance that SSH reaches; the user's own configuration stays in force for the rest.
pub(super) fn add(file: &Path, record: &Record) -> Result<()> {
    let Some(Reach::Ssh(reach)) = record.deployed.as_ref().map(|deployed| &deployed.reach) else {
        return Ok(());
    };
    let mut text = fs_err::read_to_string(file).unwrap_or_default();
    let entry = host(record.name(), reach);
    if !text.contains(&entry) {
        text.insert_str(0, &entry);
        fs_err::write(file, text)?;
    }
    Ok(())
}

fn host(name: &str, reach: &SshReach) -> String {
    let mut text = format!("Host {name}\n  HostName {}\n", reach.host);
    let mut line = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "  {key} {value}");
        }
    };
    let path = |path: &std::path::PathBuf| format!("\"{}\"", path.display());
    line("Port", reach.port.map(|port| port.to_string()));
    line("User", reach.user.clone());
    line("IdentityFile", reach.identity.as_ref().map(path));
    line("IdentitiesOnly", reach.identity.as_ref().map(|_| "yes".to_owned()));
    line("UserKnownHostsFile", reach.known_hosts.as_ref().map(path));
    text
}
