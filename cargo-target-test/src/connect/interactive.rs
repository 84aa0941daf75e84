//! A shell on an instance for a person: the command that opens it in this terminal, or on this standard input.
//!
//! Owns the words for each way to reach an instance. Must not know leases.

use std::{collections::BTreeMap, path::Path, process::Command};

use target_fixtures::env;

use super::{local, shell};
use crate::{
    connect::{ProgramReach, Reach},
    error::{Error, ErrorKind, Result},
    process,
};

/// What is about this host only, and would mislead elsewhere.
const OF_THIS_HOST: &[&str] = &[
    env::BROKER,
    env::SSH_CONFIG,
    env::LEASED_TEST,
    env::LEASED_BINARY,
];

/// The command for an instance, which is a host in the file for `ssh -F`; `env` is what the shell finds in its
/// environment. Without a terminal (`tty`) it reads commands from standard input.
///
/// # Errors
/// When a secret of its cannot be had.
pub(crate) fn shell(
    reach: &Reach,
    instance: &str,
    ssh_config: &Path,
    env: &BTreeMap<String, String>,
    tty: bool,
) -> Result<Command> {
    let there = env
        .iter()
        .filter(|(name, _)| !OF_THIS_HOST.contains(&name.as_str()));
    let login = shell::login(there);
    Ok(match reach {
        Reach::Ssh(_) => by_ssh(instance, ssh_config, &login, tty),
        Reach::Container {
            engine,
            container,
            user,
        } => {
            let mut command = process::command(engine);
            command.args(["exec", "--interactive"]);
            command.args(tty.then_some("--tty"));
            command.args(user.iter().flat_map(|user| ["--user", user]));
            command.args([container, "/bin/sh", "-c", &login]);
            command
        }
        Reach::Programs(programs) => by_program(programs, &login)?,
        Reach::ByPlatform => {
            let message = format!("`{instance}` has no shell for a terminal");
            return Err(Error::new(ErrorKind::Infra, message)
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
