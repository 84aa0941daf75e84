//! The links of an instance to the networks of its environment, beside the link that the tool reaches the instance by.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A link of an instance to a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nic {
    /// The network's name in the playbook: `lab`.
    pub network: String,
    /// The hardware address, by which the link is found in the instance: `52:54:00:1f:3a:9c`. Docker chooses another:
    /// there it is found by its address.
    pub mac: String,
    /// The address with the length of its prefix: `10.77.1.2/24`. `None` if tests configure the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The end of the link in the network.
    pub attach: Attach,
}

impl Nic {
    /// The address without the length of its prefix.
    pub(super) fn ip(&self) -> Option<&str> {
        let address = self.address.as_deref()?;
        address.split('/').next()
    }
}

/// A machine of an environment, as another one finds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// The name within the environment: `tester1`.
    pub name: String,
    /// The address without the length of its prefix: `10.77.1.2`.
    pub address: String,
}

/// The end of a link in a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attach {
    /// The Unix socket of a switch's port, which a virtual machine connects to.
    Socket(PathBuf),
    /// The name of a network of the container engine.
    Network(String),
}

/// The kind of networks that the instances of a platform can join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkKind {
    /// Networks of virtual machines: a switch in user space.
    Switch,
    /// Networks of a container engine.
    Container,
}

/// The path of `to` as seen from the folder `from`; both are absolute. The path of a socket is limited to 108 bytes, and
/// relative paths are short.
pub(super) fn relative(from: &Path, to: &Path) -> PathBuf {
    let shared = from.components().zip(to.components());
    let shared = shared.take_while(|(one, other)| one == other).count();
    let up = from.components().skip(shared).map(|_| Path::new(".."));
    let down = to
        .components()
        .skip(shared)
        .map(|part| part.as_os_str().as_ref());
    up.chain(down).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative() {
        for (from, to, expected) in [
            ("/p/a", "/p/lan/0", "../lan/0"),
            ("/p/a", "/p/a/0", "0"),
            ("/p/a/b", "/q", "../../../q"),
        ] {
            assert_eq!(relative(from.as_ref(), to.as_ref()), Path::new(expected));
        }
    }
}
