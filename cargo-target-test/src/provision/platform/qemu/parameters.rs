//! The parameters of platform `qemu`, and the checks that need no disk.

use std::{collections::BTreeMap, num::NonZeroU16, num::NonZeroU32, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::super::{
    size::Size,
    values::{self, Env, Limit, Share},
};

/// Parameters of platform `qemu`: virtual machines on this host.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct QemuParameters {
    /// A kernel to start directly, relative to the playbook.
    pub(super) kernel: Option<PathBuf>,
    /// The kernel's initial file system, relative to the playbook.
    pub(super) initrd: Option<PathBuf>,
    /// The kernel's command line. `console=ttyS0` is added to one that names no console: panics are seen there.
    pub(super) append: String,
    /// A disk image, qcow2 or raw, relative to the playbook. Each instance writes to a layer of its own.
    pub(super) image: Option<PathBuf>,
    /// Memory of an instance.
    pub(super) memory: Size,
    /// Number of processors of an instance.
    pub(super) cores: NonZeroU32,
    /// More disks: a size (`"1 GiB"`) for an empty disk, or an image as for `image`.
    pub(super) disks: Vec<Disk>,
    /// Folders of this host, each `{ host = ".", guest = "/code", read-only = true }`: `host` is relative to the playbook;
    /// without `guest` the path is that of this host. The machine mounts them by virtiofs or 9p, and cannot be restored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) share: Vec<Share>,
    /// The login name.
    #[serde(deserialize_with = "login")]
    pub(super) user: String,
    /// The private key file for the login, relative to the playbook. The instance gets the public key from a NoCloud
    /// seed. Without it each instance gets a key of its own.
    pub(super) identity: Option<PathBuf>,
    /// Environment variables for every command.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) env: Env,
    /// The instance's SSH port. A free port of this host's loopback is forwarded to it.
    pub(super) port: NonZeroU16,
    /// The accelerator: `auto` is `kvm` if it works, else `tcg` (emulation).
    pub(super) accel: Accel,
    /// The program; by default `qemu-system-` with this host's architecture.
    pub(super) qemu: String,
    /// More arguments for the program.
    pub(super) args: Vec<String>,
    /// The time that a deleted instance gets to power down by itself; without it, it is switched off at once.
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

impl Default for QemuParameters {
    fn default() -> Self {
        Self {
            kernel: None,
            initrd: None,
            append: "console=ttyS0".to_owned(),
            image: None,
            memory: Size(512 << 20),
            cores: NonZeroU32::MIN,
            disks: Vec::new(),
            share: Vec::new(),
            user: "root".to_owned(),
            identity: None,
            env: Env::new(),
            port: NonZeroU16::MIN.saturating_add(21),
            accel: Accel::Auto,
            qemu: format!("qemu-system-{}", std::env::consts::ARCH),
            args: Vec::new(),
            shutdown: None,
        }
    }
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

fn login<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(values::user(from)?.unwrap_or_default())
}
