//! What is told of a machine.
//!
//! Owns the types. Must not know how anything is found out.

use std::time::{Duration, SystemTime};

use serde::Deserialize;

/// What a machine is; a field that could not be found out is empty, or `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// `x86_64`.
    pub arch: String,
    /// `6.1.0-22-amd64`.
    pub kernel: String,
    /// The `ID` and `VERSION_ID` of its os-release: `debian 12`.
    pub os: String,
    /// Its name for itself.
    pub hostname: String,
    /// Changes with each boot.
    pub boot_id: String,
    /// Processors.
    pub cores: Option<u32>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of the root file system.
    pub disk: Option<u64>,
    /// Network interfaces, without loopback.
    pub nics: Option<u32>,
    /// How long it has been up.
    pub uptime: Option<Duration>,
}

/// A service of the instance's service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Service {
    /// Whether it runs.
    pub active: bool,
    /// Whether it is started at boot.
    pub enabled: bool,
}

/// A user of the instance.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct User {
    /// Login name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
    /// Home folder.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// A file of the instance, or whatever else has a path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct File {
    /// What it is.
    pub kind: FileKind,
    /// Bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Whose it is.
    pub user: String,
    /// Its group.
    pub group: String,
    /// When it was changed, in seconds since 1970 of the instance's clock.
    modified: u64,
    /// Where a symbolic link leads.
    pub link: Option<String>,
}

/// What has a path.
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
    /// A device, a socket, a pipe.
    Other,
}

impl File {
    /// When it was changed, by the instance's clock.
    #[must_use]
    pub fn modified(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.modified)
    }
}
