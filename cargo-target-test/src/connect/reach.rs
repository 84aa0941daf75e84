//! The addresses of instances, as data that a pool stores.
//!
//! Must not connect.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::SshClient;
use crate::secret::Bound;

/// The address of an instance: the data that a transport needs to connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Processes of this machine.
    Local(LocalReach),
    /// SSH.
    Ssh(SshReach),
    /// A container, reached by `exec` of its engine.
    Container(ContainerReach),
    /// Programs of the user.
    Programs(Box<ProgramReach>),
    /// A transport of the platform, created by the platform's `connect`.
    ByPlatform,
}

impl Reach {
    /// Processes of this machine that start in this folder, with the tool's environment.
    pub fn local(directory: impl Into<PathBuf>) -> Self {
        Self::Local(LocalReach {
            directory: directory.into(),
            ..LocalReach::default()
        })
    }

    /// A host as `ssh` knows it: an alias of `~/.ssh/config`, a name or an address.
    pub fn ssh(host: impl Into<String>) -> Self {
        Self::Ssh(SshReach {
            host: host.into(),
            ..SshReach::default()
        })
    }

    /// Returns a line for a shell of this host that opens a shell on the instance; `None` if no such line is known.
    pub(crate) fn shell_line(&self) -> Option<String> {
        match self {
            Self::Local(local) => {
                let directory = local.directory.to_string_lossy();
                shlex::try_join(["cd", &*directory]).ok()
            }
            Self::Ssh(ssh) => Some(ssh.ssh_line("").trim_end().to_owned()),
            Self::Container(it) => {
                shlex::try_join([&it.engine, "exec", "-it", &it.container, "sh"]).ok()
            }
            Self::Programs(_) | Self::ByPlatform => None,
        }
    }
}

/// The address of processes of this machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LocalReach {
    /// The working directory of commands.
    pub directory: PathBuf,
    /// Environment variables for every command.
    pub env: BTreeMap<String, Bound>,
    /// Names of inherited environment variables; `None` inherits all.
    pub inherit: Option<Vec<String>>,
    /// The user that commands run as; `None` for the user of this process.
    pub user: Option<LocalUser>,
}

/// The address of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerReach {
    /// The engine's program.
    pub engine: String,
    /// The container's name.
    pub container: String,
    /// The user that commands run as; `None` for the user of the image.
    pub user: Option<String>,
}

/// A user of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalUser {
    /// The user id.
    pub uid: u32,
    /// The id of the primary group.
    pub gid: u32,
}

/// The address of an instance that is reached by programs of the user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProgramReach {
    /// The program, with arguments, that runs a line in the instance's POSIX shell. The line is the last argument.
    pub exec: Vec<String>,
    /// The program that writes standard input to a file. Path and mode are the last arguments.
    pub put: Option<Vec<String>>,
    /// The program that prints a file. The path is the last argument.
    pub get: Option<Vec<String>>,
    /// The working directory of the programs.
    pub directory: PathBuf,
    /// The value of `TARGET_TEST_REQUEST`, in which references in `params` are replaced by values.
    pub request: String,
    /// Environment variables of the programs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Bound>,
}

/// The address of an instance that is reached by SSH. `ssh -G` supplies the missing values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SshReach {
    /// The host as written in the playbook: an alias of `~/.ssh/config`, a name or an address.
    pub host: String,
    /// Overrides the configured port.
    pub port: Option<u16>,
    /// Overrides the configured user.
    pub user: Option<String>,
    /// Overrides the configured identity files.
    pub identity: Option<PathBuf>,
    /// The password for the login and for `sudo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Bound>,
    /// Environment variables for every command.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Bound>,
    /// Overrides the configured known-hosts files.
    pub known_hosts: Option<PathBuf>,
    /// True for instances created by a platform: the host key is recorded in `known_hosts` at the first connection.
    pub trust_first: bool,
    /// The timeout of connecting.
    pub connect_timeout: Option<Duration>,
    /// The client.
    pub client: SshClient,
    /// The logins of commands.
    pub shells: Shells,
    /// True if the machine must be none of the others that a run reaches by other addresses.
    pub must_differ: bool,
}

/// The logins in which the commands of a host run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Shells {
    /// A login serves several commands.
    #[default]
    Kept,
    /// Each command has a login of its own.
    Fresh,
}

impl Shells {
    /// True for [`Shells::Kept`].
    pub fn are_kept(&self) -> bool {
        *self == Self::Kept
    }
}

impl SshReach {
    /// Returns the arguments with which `ssh` reaches the host, the host last.
    pub(crate) fn ssh_arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
        if let Some(port) = self.port {
            add("-p", port.to_string());
        }
        if let Some(user) = &self.user {
            add("-l", user.clone());
        }
        if let Some(identity) = &self.identity {
            add("-o", "IdentitiesOnly=yes".to_owned());
            add("-i", identity.display().to_string());
        }
        if let Some(file) = &self.known_hosts {
            add("-o", format!("UserKnownHostsFile=\"{}\"", file.display()));
        }
        arguments.extend(["--".to_owned(), self.host.clone()]);
        arguments
    }

    /// Returns a line for a shell of this host that runs a command on the host.
    pub(crate) fn ssh_line(&self, command: &str) -> String {
        let arguments = self.ssh_arguments();
        let words = std::iter::once("ssh").chain(arguments.iter().map(String::as_str));
        // Fails only for NUL bytes, which no argument can have.
        let line = shlex::try_join(words).unwrap_or_default();
        format!("{line} {command}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_opens_a_shell() {
        let ssh = Reach::Ssh(SshReach {
            host: "rack".to_owned(),
            port: Some(2222),
            user: Some("root".to_owned()),
            ..SshReach::default()
        });
        let container = Reach::Container(ContainerReach {
            engine: "/opt/my podman".to_owned(),
            container: "alpha-0".to_owned(),
            user: None,
        });
        for (reach, line) in [
            (Reach::local("/tmp/a b"), Some("cd '/tmp/a b'")),
            (ssh, Some("ssh -p 2222 -l root -- rack")),
            (container, Some("'/opt/my podman' exec -it alpha-0 sh")),
            (Reach::ByPlatform, None),
        ] {
            assert_eq!(reach.shell_line().as_deref(), line);
        }
    }
}
