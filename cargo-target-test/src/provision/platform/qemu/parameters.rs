//! The parameters of platform `qemu`, and the checks that need no disk.

use std::{collections::BTreeMap, num::NonZeroU16, num::NonZeroU32, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::super::{
    size::Size,
    values::{self, Env, Limit},
};

/// Parameters of platform `qemu`: virtual machines on this host.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct QemuParameters {
    /// A kernel to start directly, relative to the playbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kernel: Option<PathBuf>,
    /// The kernel's initial file system, relative to the playbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) initrd: Option<PathBuf>,
    /// The kernel's command line. `console=ttyS0` is added to one that names no console: panics are seen there.
    #[serde(default = "append")]
    pub(super) append: String,
    /// A disk image, qcow2 or raw, relative to the playbook. Each instance writes to a layer of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) image: Option<PathBuf>,
    /// Memory of an instance.
    #[serde(default = "memory")]
    pub(super) memory: Size,
    /// Number of processors of an instance.
    #[serde(default = "cores")]
    pub(super) cores: NonZeroU32,
    /// More disks: a size (`"1 GiB"`) for an empty disk, or an image as for `image`.
    #[serde(default)]
    pub(super) disks: Vec<Disk>,
    /// The login name.
    #[serde(default = "user", deserialize_with = "login")]
    pub(super) user: String,
    /// The private key file for the login, relative to the playbook. The instance gets the public key from a NoCloud
    /// seed. Without it each instance gets a key of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<PathBuf>,
    /// Environment variables for every command.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) env: Env,
    /// The instance's SSH port. A free port of this host's loopback is forwarded to it.
    #[serde(default = "port")]
    pub(super) port: NonZeroU16,
    /// The accelerator: `auto` is `kvm` if it works, else `tcg` (emulation).
    #[serde(default)]
    pub(super) accel: Accel,
    /// The program; by default `qemu-system-` with this host's architecture.
    #[serde(default = "program")]
    pub(super) qemu: String,
    /// More arguments for the program.
    #[serde(default)]
    pub(super) args: Vec<String>,
    /// The time that a deleted instance gets to power down by itself; without it, it is switched off at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shutdown: Option<Limit>,
}

/// A disk as written: a size or an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(with = "String")]
pub(super) enum Disk {
    Empty(Size),
    Image(PathBuf),
}

/// The accelerator of the processor.
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

impl QemuParameters {
    /// Checks keys that exclude or require each other.
    pub(super) fn validate(&self) -> Result<(), &'static str> {
        match (&self.kernel, &self.image, &self.initrd) {
            (None, None, _) => Err("a virtual machine needs `kernel` or `image`"),
            (None, _, Some(_)) => Err("`initrd` requires `kernel`"),
            _ => Ok(()),
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
    Ok(values::user(from)?.unwrap_or_else(user))
}
