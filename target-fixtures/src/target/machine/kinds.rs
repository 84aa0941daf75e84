//! The types that describe a machine: facts, services, users and files.

use std::time::{Duration, SystemTime};

use serde::Deserialize;

/// Properties of a machine. An unknown field is empty or `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// The architecture: `x86_64`.
    pub arch: String,
    /// The kernel version: `6.1.0-22-amd64`.
    pub kernel: String,
    /// `ID` and `VERSION_ID` of `os-release`: `debian 12`.
    pub os: String,
    /// The host name.
    pub hostname: String,
    /// The boot ID, which changes with each boot.
    pub boot_id: String,
    /// The number of processors.
    pub cores: Option<u32>,
    /// The memory, in bytes.
    pub memory: Option<u64>,
    /// The size of the root file system, in bytes.
    pub disk: Option<u64>,
    /// The number of network interfaces, without loopback.
    pub nics: Option<u32>,
    /// The time since boot.
    pub uptime: Option<Duration>,
}

/// The state of a [`Service`](crate::Service).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ServiceState {
    /// True if the service runs.
    pub active: bool,
    /// True if the service is started at boot.
    pub enabled: bool,
}

/// A user of the instance.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct User {
    /// The login name.
    pub name: String,
    /// The user ID.
    pub uid: u32,
    /// The ID of the primary group.
    pub gid: u32,
    /// The home folder.
    pub home: String,
    /// The login shell.
    pub shell: String,
}

/// A file of the instance, of any kind.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct File {
    /// The kind of the file.
    pub kind: FileKind,
    /// The size, in bytes.
    pub size: u64,
    /// The permission bits.
    pub mode: u32,
    /// The owner.
    pub user: String,
    /// The group.
    pub group: String,
    /// The modification time, in seconds since 1970 by the instance's clock.
    modified: u64,
    /// The target of a symbolic link.
    pub link: Option<String>,
}

/// The kind of a [`File`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, a socket or a pipe.
    Other,
}

impl File {
    /// True for a folder.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind == FileKind::Folder
    }

    /// True for a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind == FileKind::File
    }

    /// The modification time, by the instance's clock.
    #[must_use]
    pub fn modified(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.modified)
    }
}
