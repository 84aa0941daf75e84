//! A shell on an instance for a person: the command that opens it in this terminal.
//!
//! Owns the words for each way to reach an instance. Must not know leases.

use std::{collections::BTreeMap, path::Path, process::Command};

use crate::{error::Result, process, provision::platform::Reach};

/// The command for an instance, which is a host in the file for `ssh -F`; `env` is for what runs on this machine.
///
/// # Errors
/// When a secret of its cannot be had.
pub(crate) fn shell(
    reach: &Reach,
    instance: &str,
    ssh_config: &Path,
    env: &BTreeMap<String, String>,
) -> Result<Command> {
    let mut command = match reach {
        Reach::Ssh(_) => {
            let mut command = process::command("ssh");
            command.arg("-F").arg(ssh_config).args(["-t", instance]);
            command
        }
        Reach::Container {
            engine,
            container,
            user,
        } => {
            let mut command = process::command(engine);
            command.args(["exec", "--interactive", "--tty"]);
            command.args(user.iter().flat_map(|user| ["--user", user]));
            command.args([container, "/bin/sh"]);
            command
        }
        Reach::Programs(programs) => {
            let (program, arguments) = programs
                .exec
                .split_first()
                .map_or(("true", &[][..]), |(program, rest)| (program, rest));
            let mut command = process::command(program);
            command.args(arguments).arg("exec /bin/sh -i");
            command.current_dir(&programs.directory);
            command.envs(programs.environment()?);
            command
        }
        Reach::Local { directory, env, .. } => {
            let mut command = process::command("/bin/sh");
            command.arg("-i").current_dir(directory);
            for (name, bound) in env {
                command.env(name, bound.value()?);
            }
            command
        }
    };
    command.envs(env);
    Ok(command)
}
