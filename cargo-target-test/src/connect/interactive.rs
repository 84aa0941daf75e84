//! The command that opens an interactive shell on an instance.
//!
//! Must not know leases.

use std::{collections::BTreeMap, path::Path, process::Command};

use target_fixtures::env;

use super::{local, remote, shell};
use crate::{
    connect::Reach,
    error::{Error, Result},
    process, secret,
};

/// Variables that are valid on this host only.
const HOST_ONLY: &[&str] = &[
    env::BROKER,
    env::SSH_CONFIG,
    env::LEASED_TEST,
    env::LEASED_BINARY,
    env::ATTEMPT,
];

/// Returns the command that opens a shell on an instance, with the variables of `env`.
///
/// The instance is a host of the file `ssh_config`. Without a terminal (`tty`), the shell reads commands from standard
/// input.
///
/// # Errors
/// If a secret is unavailable.
pub(crate) fn shell(
    reach: &Reach,
    instance: &str,
    ssh_config: &Path,
    env: &BTreeMap<String, String>,
    tty: bool,
) -> Result<Command> {
    let mut there = match reach {
        Reach::Ssh(ssh) => secret::values(&ssh.env)?,
        _ => BTreeMap::new(),
    };
    let given = env
        .iter()
        .filter(|(name, _)| !HOST_ONLY.contains(&name.as_str()));
    there.extend(given.map(|(name, value)| (name.clone(), value.clone())));
    let login = shell::login(there.iter());
    Ok(match reach {
        Reach::Ssh(_) => by_ssh(instance, ssh_config, &login, tty),
        Reach::Container(reach) => remote::in_container(reach, tty, &login),
        Reach::Programs(programs) => {
            let mut command = remote::program(&programs.exec, programs)?;
            command.arg(shell::for_login(&login));
            command
        }
        Reach::ByPlatform => {
            let message = format!("`{instance}` has no shell for a terminal");
            return Err(Error::infra(message)
                .with_hint(format!("`exec {instance} -- ...` runs a command there")));
        }
        Reach::Local(reach) => {
            let mut command = process::command("/bin/sh");
            local::as_instance(&mut command, reach)?;
            if let Some(term) = std::env::var_os("TERM").filter(|_| tty) {
                command.env("TERM", term);
            }
            command.args(tty.then_some("-i"));
            command.current_dir(&reach.directory).envs(env);
            command
        }
    })
}

fn by_ssh(instance: &str, ssh_config: &Path, login: &str, tty: bool) -> Command {
    let mut command = process::command("ssh");
    command.arg("-F").arg(ssh_config);
    command.arg(if tty { "-t" } else { "-T" });
    command.args([instance, &shell::for_login(login)]);
    command
}
