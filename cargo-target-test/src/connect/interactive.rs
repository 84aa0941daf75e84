//! The command that opens an interactive shell on an instance.
//!
//! Must not know leases.

use std::{collections::BTreeMap, path::Path, process::Command};

use target_fixtures::env;

use super::{local, piped, shell};
use crate::{
    connect::{ProgramReach, Reach},
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
        Reach::Container {
            engine,
            container,
            user,
        } => piped::in_container((engine, container, user), tty, &login),
        Reach::Programs(programs) => by_program(programs, &login)?,
        Reach::ByPlatform => {
            let message = format!("`{instance}` has no shell for a terminal");
            return Err(Error::infra(message)
                .with_hint(format!("`exec {instance} -- ...` runs a command there")));
        }
        Reach::Local {
            directory,
            env: own,
            inherit,
            user,
        } => {
            let mut command = process::command("/bin/sh");
            local::as_instance(&mut command, (own, inherit.as_deref(), *user))?;
            if let Some(term) = std::env::var_os("TERM").filter(|_| tty) {
                command.env("TERM", term);
            }
            command.args(tty.then_some("-i"));
            command.current_dir(directory).envs(env);
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

fn by_program(programs: &ProgramReach, login: &str) -> Result<Command> {
    let (program, arguments) = programs
        .exec
        .split_first()
        .map_or(("true", &[][..]), |(program, rest)| (program, rest));
    let mut command = process::command(program);
    command.args(arguments).arg(shell::for_login(login));
    command.current_dir(&programs.directory);
    command.envs(programs.environment()?);
    Ok(command)
}
