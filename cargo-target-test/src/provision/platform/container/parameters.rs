//! The parameters of platform `container`.
//!
//! Owns their types, defaults and what is right about them without looking at the disk.

use std::{num::NonZeroU16, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::super::{
    parameters::{self, Env, Name},
    size::Size,
};

/// Parameters of platform `container`: containers of docker or podman.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Parameters {
    /// The engine's program: `podman`, `docker` or a path; by default the first of these two that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) engine: Option<String>,
    /// The image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) image: Option<String>,
    /// A tar archive of a root file system, relative to the playbook, instead of an image: it is imported once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rootfs: Option<PathBuf>,
    /// When the image is fetched.
    #[serde(default)]
    pub(super) pull: Pull,
    /// The network: a name, `host` or `none`; by default the engine's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) network: Option<String>,
    /// What of this host is seen inside: `host:inside` or `host:inside:ro`; the host's path relative to the playbook.
    #[serde(default)]
    pub(super) mounts: Vec<String>,
    /// Whether it may do nearly everything.
    #[serde(default)]
    pub(super) privileged: bool,
    /// What else it may do: `NET_ADMIN`.
    #[serde(default)]
    pub(super) cap_add: Vec<String>,
    /// Devices of this host: `/dev/net/tun`.
    #[serde(default)]
    pub(super) devices: Vec<String>,
    /// Environment variables.
    #[serde(default)]
    pub(super) env: Env,
    /// The names of more environment variables, whose values are those that this process has. Unlike those that stand
    /// in `env` they are written to no file of the pool.
    #[serde(default)]
    pub(super) inherit_env: Vec<Name>,
    /// What runs in it for as long as it lives; by default a shell that waits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) command: Vec<String>,
    /// The user that commands run as; by default the image's.
    #[serde(default, deserialize_with = "parameters::user")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    /// How much memory it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) memory: Option<Size>,
    /// How many processors it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cores: Option<f64>,
    /// More arguments for the engine's `run`.
    #[serde(default)]
    pub(super) args: Vec<String>,
    /// How commands reach it.
    #[serde(default)]
    pub(super) transport: Transport,
    /// The SSH port inside, for `transport = "ssh"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<NonZeroU16>,
    /// The private key file for `transport = "ssh"`, relative to the playbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<PathBuf>,
}

/// When an image is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Pull {
    /// When it is not here.
    #[default]
    IfMissing,
    /// For each instance.
    Always,
    /// Not at all.
    Never,
}

/// How commands reach a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Transport {
    /// By the engine's `exec`: nothing need run in it.
    #[default]
    Exec,
    /// By SSH, on a free port of this host's loopback.
    Ssh,
}

impl Parameters {
    /// What is wrong, if something is.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let ssh = self.transport == Transport::Ssh;
        match (&self.image, &self.rootfs) {
            (None, None) => Some("a container needs `image` or `rootfs`"),
            (Some(_), Some(_)) => Some("`image` and `rootfs` exclude each other"),
            _ if !ssh && (self.port.is_some() || self.identity.is_some()) => {
                Some("`port` and `identity` are for `transport = \"ssh\"`")
            }
            _ if self.mounts.iter().any(|mount| !mount.contains(':')) => {
                Some("a mount is `host:inside` or `host:inside:ro`")
            }
            _ => None,
        }
    }
}
