//! The parameters of platform `container`, and the checks that need no disk.

use std::{num::NonZeroU16, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::super::{
    size::Size,
    values::{self, Env, EnvName, Share},
};

/// Parameters of platform `container`: containers of docker or podman.
#[derive(Clone, Debug, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ContainerParameters {
    /// The engine's program: `podman`, `docker` or a path; by default the first of the two that answers.
    pub(super) engine: Option<String>,
    /// The image.
    pub(super) image: Option<String>,
    /// A tar archive of a root file system, relative to the playbook, instead of an image: it is imported once.
    pub(super) rootfs: Option<PathBuf>,
    /// When to fetch the image.
    pub(super) pull: PullPolicy,
    /// The network: a name, `host` or `none`; by default the engine's own.
    pub(super) network: Option<String>,
    /// Files and folders of this host: `host:inside` or `host:inside:ro`; the host's path is relative to the playbook.
    pub(super) mounts: Vec<String>,
    /// Folders of this host, each `{ host = ".", guest = "/code", read-only = true }`: `host` is relative to the playbook;
    /// without `guest` the path is that of this host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) share: Vec<Share>,
    /// Runs the container with the engine's `--privileged`.
    pub(super) privileged: bool,
    /// More Linux capabilities: `NET_ADMIN`.
    pub(super) cap_add: Vec<String>,
    /// Devices of this host: `/dev/net/tun`.
    pub(super) devices: Vec<String>,
    /// Environment variables.
    pub(super) env: Env,
    /// Names of more environment variables, inherited from the tool. Unlike the values in `env` they are written to no
    /// file of the pool.
    pub(super) inherit_env: Vec<EnvName>,
    /// The command that the container runs as long as it lives; by default a shell that waits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) command: Vec<String>,
    /// The user that commands run as; by default the image's.
    #[serde(deserialize_with = "values::user")]
    pub(super) user: Option<String>,
    /// The limit of memory.
    pub(super) memory: Option<Size>,
    /// The limit of processors.
    pub(super) cores: Option<f64>,
    /// More arguments for the engine's `run`.
    pub(super) args: Vec<String>,
    /// The way of commands into the container.
    pub(super) transport: ContainerTransport,
    /// The SSH port inside, for `transport = "ssh"`.
    pub(super) port: Option<NonZeroU16>,
    /// The private key file for `transport = "ssh"`, relative to the playbook.
    pub(super) identity: Option<PathBuf>,
}

/// When an image is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PullPolicy {
    /// If it is missing.
    #[default]
    Missing,
    /// For each instance.
    Always,
    /// Never.
    Never,
}

/// The way of commands into a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ContainerTransport {
    /// By the engine's `exec`, which needs no server in the container.
    #[default]
    Exec,
    /// By SSH, on a free port of this host's loopback.
    Ssh,
}

impl ContainerParameters {
    /// Checks keys that exclude or require each other.
    pub(super) fn validate(&self) -> Result<(), &'static str> {
        let ssh = self.transport == ContainerTransport::Ssh;
        match (&self.image, &self.rootfs) {
            (None, None) => Err("a container needs `image` or `rootfs`"),
            (Some(_), Some(_)) => Err("`image` and `rootfs` cannot be combined"),
            _ if !ssh && (self.port.is_some() || self.identity.is_some()) => {
                Err("`port` and `identity` require `transport = \"ssh\"`")
            }
            _ if self.mounts.iter().any(|mount| !mount.contains(':')) => {
                Err("a mount must be `host:inside` or `host:inside:ro`")
            }
            _ => Ok(()),
        }
    }
}
