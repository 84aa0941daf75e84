//! Targets of specific platforms, with platform-specific methods. A test can take these types instead of [`Target`].

use std::ops::Deref;

use serde::{Deserialize, de::DeserializeOwned};

use crate::{ErrorKind, Target, TargetError, error::Placed, target::UP, wire::Act};

type Result<T> = std::result::Result<T, TargetError>;

mod sealed {
    pub trait Sealed {}
}

/// A target of one platform. A test that takes such a target runs only on that platform, as with `platform = ".."`.
pub trait PlatformTarget: Deref<Target = Target> + Sized + sealed::Sealed {
    /// The platform's name in playbooks.
    const NAME: &'static str;

    /// Converts a target to this type.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the target is on another platform.
    fn of(target: &Target) -> Result<Self>;
}

/// Declares the type of a platform.
macro_rules! platform {
    ($(#[$doc:meta])* $name:ident($data:ident), $platform:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            target: Target,
            #[allow(dead_code, reason = "some platforms provide no data")]
            data: $data,
        }

        impl sealed::Sealed for $name {}

        impl PlatformTarget for $name {
            const NAME: &'static str = $platform;

            fn of(target: &Target) -> Result<Self> {
                if target.platform() != Self::NAME {
                    let (instance, is) = (target.instance(), target.platform());
                    let what = format!("use `{instance}` as `{}`: its platform is `{is}`", Self::NAME);
                    return Err(TargetError::new(ErrorKind::Request, what));
                }
                Ok(Self { data: target.data_as()?, target: target.clone() })
            }
        }

        impl Deref for $name {
            type Target = Target;

            fn deref(&self) -> &Target {
                &self.target
            }
        }
    };
}

#[derive(Debug, Deserialize)]
struct OfQemu {
    accel: String,
}

platform! {
    /// A virtual machine of platform `qemu`.
    ///
    /// ```no_run
    /// use target_fixtures::{platform::Qemu, prelude::*};
    ///
    /// #[target_test]
    /// fn survives_a_cut(target: &Qemu) -> Result<()> {
    ///     target.snapshot("before")?;
    ///     target.set_link(0, false)?;
    ///     target.set_link(0, true)?;
    ///     assert!(!target.console()?.text()?.contains("link is dead"));
    ///     target.restore("before")?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    Qemu(OfQemu), "qemu"
}

#[derive(Debug, Deserialize)]
struct SizeOfQemu {
    memory: String,
    cores: u32,
}

impl Qemu {
    /// The accelerator of QEMU: `kvm` or `tcg`.
    #[must_use]
    pub fn accel(&self) -> &str {
        &self.data.accel
    }

    /// The size of the memory, as written in the playbook: `512 MiB`.
    ///
    /// # Errors
    /// [`ErrorKind::Version`] if tool and crate have different versions.
    #[track_caller]
    pub fn memory(&self) -> Result<String> {
        Ok(self.params_as::<SizeOfQemu>()?.memory)
    }

    /// The number of processors.
    ///
    /// # Errors
    /// [`ErrorKind::Version`] if tool and crate have different versions.
    #[track_caller]
    pub fn cores(&self) -> Result<u32> {
        Ok(self.params_as::<SizeOfQemu>()?.cores)
    }

    /// Saves a snapshot of the machine, memory and disks, under a name of letters, digits, `-`, `_` and `.`. Replaces
    /// an older snapshot with this name. Only this platform has named snapshots; `reuse = "snapshot"` works for
    /// containers too.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] if QEMU cannot save the snapshot.
    #[track_caller]
    pub fn snapshot(&self, name: impl Into<String>) -> Result<()> {
        self.act(Act::Snapshot { name: name.into() }, UP)
    }

    /// Restores a snapshot saved by [`snapshot`](Self::snapshot), sets the machine's clock, and waits until the machine
    /// is reachable. Running processes are lost.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] if there is no such snapshot.
    #[track_caller]
    pub fn restore(&self, name: impl Into<String>) -> Result<()> {
        self.act(Act::Restore { name: name.into() }, UP)
    }

    /// Sets a network link down (`false`) or up. The connection to the machine uses link 0: while it is down, the
    /// machine is unreachable.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if there is no such link.
    #[track_caller]
    pub fn set_link(&self, nic: u32, up: bool) -> Result<()> {
        self.act(Act::Link { nic, up }, UP)
    }
}

#[derive(Debug, Deserialize)]
struct OfContainer {
    engine: String,
    container: String,
}

platform! {
    /// A container of platform `container`. It has no named snapshots, unlike [`Qemu`]. `reuse = "snapshot"` restores
    /// the file system from before the first test; running processes are lost.
    Container(OfContainer), "container"
}

impl Container {
    /// The program of the container engine: `podman`, `docker`.
    #[must_use]
    pub fn engine(&self) -> &str {
        &self.data.engine
    }

    /// The name of the container in the engine.
    #[must_use]
    pub fn container(&self) -> &str {
        &self.data.container
    }
}

/// The data of a platform that provides none.
#[derive(Debug, Deserialize)]
struct NoData {}

platform! {
    /// A host of platform `ssh`.
    Ssh(NoData), "ssh"
}

#[derive(Debug, Deserialize)]
struct ParamsOfSsh {
    hosts: Vec<String>,
}

impl Ssh {
    /// The host as written in the playbook: an alias, a name or an address.
    ///
    /// # Errors
    /// [`ErrorKind::Version`] if tool and crate have different versions.
    #[track_caller]
    pub fn alias(&self) -> Result<String> {
        let index = self.instance().rsplit_once('-');
        let index = index.and_then(|(_, index)| index.parse::<usize>().ok());
        let mut hosts = self.params_as::<ParamsOfSsh>()?.hosts;
        match index.filter(|index| *index < hosts.len()) {
            Some(index) => Ok(hosts.swap_remove(index)),
            None => Ok(self.host().to_owned()),
        }
    }
}

platform! {
    /// This machine, as a target of platform `local`.
    Local(NoData), "local"
}

/// Converts all targets of a lease.
///
/// # Errors
/// Same as [`PlatformTarget::of`].
#[doc(hidden)]
pub fn all_of<P: PlatformTarget>(targets: &[Target]) -> Result<Vec<P>> {
    targets.iter().map(P::of).collect()
}

impl Target {
    /// Deserializes the parameters of the target.
    ///
    /// # Errors
    /// [`ErrorKind::Version`] if the parameters do not match `T`.
    #[track_caller]
    pub fn params_as<T: DeserializeOwned>(&self) -> Result<T> {
        self.read_as("parameters", self.params())
    }

    /// Deserializes the data that the platform provided for this instance, such as `data` in the output of a deploy
    /// script.
    ///
    /// # Errors
    /// [`ErrorKind::Version`] if the data does not match `T`.
    #[track_caller]
    pub fn data_as<T: DeserializeOwned>(&self) -> Result<T> {
        self.read_as("data", self.data())
    }

    #[track_caller]
    fn read_as<T: DeserializeOwned>(&self, what: &str, value: &serde_json::Value) -> Result<T> {
        T::deserialize(value)
            .map_err(|error| {
                let what = format!("read the {what} of `{}`: {error}", self.instance());
                TargetError::new(ErrorKind::Version, what)
            })
            .placed()
    }
}
