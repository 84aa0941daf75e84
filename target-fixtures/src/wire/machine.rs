//! What is asked of an instance as a machine, and what is done with it.
//!
//! Owns those messages. Must not know how they are answered.

use serde::{Deserialize, Serialize};

/// A question about an instance, answered by `Reply::Answer` with the JSON that stands with each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "kebab-case")]
pub enum Question {
    /// What the machine is: an object of texts, `arch`, `kernel`, `os`, `hostname`, `cores`, `memory`, `disk` (bytes
    /// both), `nics`, `boot-id`, `uptime` (seconds); what is not known is left out.
    Facts,
    /// Whether something listens on a TCP port: a Boolean.
    Listens {
        /// The port.
        port: u16,
    },
    /// An installed package: its version, or null.
    Package {
        /// The package manager's name for it.
        name: String,
    },
    /// A service of the service manager: an object, `active` and `enabled`; null where there is none of this name.
    Service {
        /// Its name.
        name: String,
    },
    /// A user: an object, `uid`, `gid`, `home`, `shell`; or null.
    User {
        /// Login name or number.
        name: String,
    },
    /// A file, not followed where it is a link: an object, `kind`, `size`, `mode`, `user`, `group`, `modified`
    /// (seconds since 1970), `link`; or null.
    File {
        /// Its absolute path.
        path: String,
    },
    /// What its console has said: a text, its last mebibyte.
    Console,
}

/// Something that is done with an instance as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Act {
    /// It reboots by itself; done when it answers again.
    Reboot,
    /// It is restarted from outside; done when it answers again.
    Restart,
    /// Its state is remembered under a name.
    Snapshot {
        /// The name.
        name: String,
    },
    /// It is put back to a remembered state; done when it answers again.
    Restore {
        /// The name.
        name: String,
    },
    /// A network link goes up or down.
    Link {
        /// Which, from 0.
        nic: u32,
        /// Up.
        up: bool,
    },
    /// Packages are installed, by whatever package manager there is.
    Install {
        /// Their names.
        packages: Vec<String>,
    },
}

impl Act {
    /// Whether the instance is down for a while because of it.
    #[must_use]
    pub fn goes_down(&self) -> bool {
        matches!(self, Self::Reboot | Self::Restart | Self::Restore { .. })
    }
}

/// Which way a port is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// What connects here reaches the instance's port.
    ToTarget,
    /// What connects on the instance reaches a port here.
    FromTarget,
}
