//! Messages about an instance as a machine: queries, actions and port forwarding.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Fault, FaultKind};

/// A query of an instance, answered by `Reply::Answer` with the JSON value described for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "kebab-case")]
pub enum Question {
    /// The facts of the machine: an object of strings, `arch`, `kernel`, `os`, `hostname`, `libc` (`glibc 2.36`,
    /// `musl`), `cores`, `memory` and `disk` (in bytes), `nics`, `boot-id`, `uptime` (in seconds). Unknown facts are absent.
    Facts,
    /// Checks for a listener on a TCP port: a Boolean.
    Listens {
        /// The port.
        port: u16,
    },
    /// An installed package: its version, or null.
    Package {
        /// The name of the package in the package manager.
        name: String,
    },
    /// A service: an object with `active` and `enabled`, or null.
    Service {
        /// The name of the service.
        name: String,
    },
    /// A user: an object with `uid`, `gid`, `home` and `shell`, or null.
    User {
        /// The login name or number.
        name: String,
    },
    /// A file, without following a symbolic link: an object with `kind`, `size`, `mode`, `user`, `group`, `modified`
    /// (in seconds since 1970) and `link`, or null.
    File {
        /// The absolute path.
        path: String,
    },
    /// The console output, at most 1 MiB: an object with `text` and `end`, the position after it in bytes.
    Console {
        /// The position at which the text starts; `None` for the end of the output.
        from: Option<u64>,
    },
    /// The IP address at which the other instances of the target reach the instance on a network of the platform: a
    /// string, or null.
    Address,
}

/// An action on an instance as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Act {
    /// Reboots the instance from inside, and waits until it is reachable.
    Reboot,
    /// Restarts the instance from outside, and waits until it is reachable.
    Restart,
    /// Declares that the instance is about to crash. Its crash is no finding until [`Act::AwaitCrash`].
    ExpectCrash,
    /// Waits until the instance has crashed since [`Act::ExpectCrash`], and is reachable again.
    AwaitCrash {
        /// The timeout of the crash in milliseconds.
        within: u64,
    },
    /// Writes to the console, as a keyboard would.
    Type {
        /// The text.
        text: String,
    },
    /// Saves a named snapshot.
    Snapshot {
        /// The name.
        name: String,
    },
    /// Restores a named snapshot, and waits until the instance is reachable.
    Restore {
        /// The name.
        name: String,
    },
    /// Sets a network link up or down.
    Link {
        /// The number of the link, from 0.
        nic: u32,
        /// True to set the link up.
        up: bool,
    },
    /// Causes a fault.
    Fault {
        /// The fault.
        fault: Fault,
    },
    /// Ends a fault.
    EndFault {
        /// The kind of the fault.
        kind: FaultKind,
    },
    /// Installs packages with the package manager of the instance.
    Install {
        /// The names of the packages.
        packages: Vec<String>,
    },
}

impl Act {
    /// True if the instance is unreachable during the action.
    #[must_use]
    pub fn goes_down(&self) -> bool {
        matches!(
            self,
            Self::Reboot
                | Self::Restart
                | Self::AwaitCrash { .. }
                | Self::Restore { .. }
                | Self::Fault {
                    fault: Fault::PowerCut
                }
        )
    }
}

/// The destination of forwarded connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardTo {
    /// From this host to a port on 127.0.0.1 of the instance.
    Port(u16),
    /// From this host to a Unix socket of the instance, by its absolute path.
    Socket(String),
    /// From the instance to a port on 127.0.0.1 of this host.
    Back(u16),
    /// From the instance to a port on 127.0.0.1 of another instance.
    Between {
        /// The other instance.
        instance: String,
        /// The port there.
        port: u16,
    },
}

/// `port 80`, or the path of a socket.
impl fmt::Display for ForwardTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) | Self::Back(port) | Self::Between { port, .. } => {
                write!(f, "port {port}")
            }
            Self::Socket(path) => write!(f, "socket `{path}`"),
        }
    }
}
