//! The parameters of platform `qemu`.
//!
//! Owns their types, defaults and what is right about them without looking at the disk.

use std::{num::NonZeroU16, num::NonZeroU32, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::super::{
    parameters::{self, Limit},
    size::Size,
};

/// Parameters of platform `qemu`: virtual machines on this host.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Parameters {
    /// A kernel that is started directly, relative to the playbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kernel: Option<PathBuf>,
    /// The kernel's initial file system, relative to the playbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) initrd: Option<PathBuf>,
    /// The kernel's command line.
    #[serde(default = "append")]
    pub(super) append: String,
    /// A disk image, qcow2 or raw, relative to the playbook; each instance writes to a layer of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) image: Option<PathBuf>,
    /// How much memory an instance has.
    #[serde(default = "memory")]
    pub(super) memory: Size,
    /// How many processors an instance has.
    #[serde(default = "cores")]
    pub(super) cores: NonZeroU32,
    /// More disks: a size (`"1 GiB"`: an empty one) or an image like `image`.
    #[serde(default)]
    pub(super) disks: Vec<Disk>,
    /// The login name.
    #[serde(default = "user", deserialize_with = "login")]
    pub(super) user: String,
    /// The private key file for the login, relative to the playbook; its public key is handed to the instance by a
    /// NoCloud seed. Without it each instance gets a key of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<PathBuf>,
    /// The instance's SSH port, which is forwarded to a free port of this host's loopback.
    #[serde(default = "port")]
    pub(super) port: NonZeroU16,
    /// The accelerator: `kvm` where it works, else `tcg` (emulation), unless one is named.
    #[serde(default)]
    pub(super) accel: Accel,
    /// The program; by default `qemu-system-` and this host's architecture.
    #[serde(default = "program")]
    pub(super) qemu: String,
    /// More arguments for the program.
    #[serde(default)]
    pub(super) args: Vec<String>,
    /// How long a deleted instance may take to power down by itself; without it, it is switched off at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shutdown: Option<Limit>,
}

/// A disk as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(with = "String")]
pub(super) enum Disk {
    Empty(Size),
    Image(PathBuf),
}

/// How the processor is run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Accel {
    #[default]
    Auto,
    Kvm,
    Tcg,
}

impl Parameters {
    /// What is missing, if something is.
    pub(super) fn problem(&self) -> Option<&'static str> {
        match (&self.kernel, &self.image, &self.initrd) {
            (None, None, _) => Some("a virtual machine needs `kernel` or `image`"),
            (None, _, Some(_)) => Some("`initrd` means nothing without `kernel`"),
            _ => None,
        }
    }
}

impl From<String> for Disk {
    fn from(text: String) -> Self {
        let size = Size::deserialize(serde_json::Value::from(text.as_str()));
        size.map_or_else(|_| Self::Image(text.into()), Self::Empty)
    }
}

impl From<Disk> for String {
    fn from(disk: Disk) -> Self {
        match disk {
            Disk::Empty(size) => size.to_string(),
            Disk::Image(path) => path.display().to_string(),
        }
    }
}

fn append() -> String {
    "console=ttyS0".to_owned()
}

fn memory() -> Size {
    Size(512 << 20)
}

fn cores() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn user() -> String {
    "root".to_owned()
}

fn port() -> NonZeroU16 {
    NonZeroU16::MIN.saturating_add(21)
}

fn program() -> String {
    format!("qemu-system-{}", std::env::consts::ARCH)
}

fn login<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(parameters::user(from)?.unwrap_or_else(user))
}
