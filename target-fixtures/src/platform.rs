//! Targets of one platform, with what only that platform has.
//!
//! Owns the types that a test may take instead of [`Target`]. Must not know how a platform does anything.

use std::ops::Deref;

use serde::{Deserialize, de::DeserializeOwned};

use crate::{ErrorKind, Target, TargetError, target::UP, wire::Act};

type Result<T> = std::result::Result<T, TargetError>;

mod sealed {
    pub trait Sealed {}
}

/// A target of one platform. A test that takes one runs on targets of that platform only, as with `platform = ".."`.
pub trait Platform: Deref<Target = Target> + Sized + sealed::Sealed {
    /// The platform's name in playbooks.
    const NAME: &'static str;

    /// The same target, typed.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] for a target of another platform.
    fn of(target: &Target) -> Result<Self>;
}

/// Declares a platform's type.
macro_rules! platform {
    ($(#[$doc:meta])* $name:ident($data:ident), $platform:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            target: Target,
            #[allow(dead_code, reason = "not every platform has something to say")]
            data: $data,
        }

        impl sealed::Sealed for $name {}

        impl Platform for $name {
            const NAME: &'static str = $platform;

            fn of(target: &Target) -> Result<Self> {
                if target.platform() != Self::NAME {
                    let (instance, is) = (target.instance(), target.platform());
                    let what = format!("use `{instance}` as `{}`: it is of platform `{is}`", Self::NAME);
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
    ///     assert!(!target.console()?.contains("link is dead"));
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
    /// What runs its processors: `kvm` or `tcg`.
    #[must_use]
    pub fn accel(&self) -> &str {
        &self.data.accel
    }

    /// How much memory it has, as the playbook says: `512 MiB`.
    ///
    /// # Errors
    /// [`ErrorKind::Version`] when tool and crate are of different versions.
    pub fn memory(&self) -> Result<String> {
        Ok(self.params_as::<SizeOfQemu>()?.memory)
    }

    /// How many processors it has.
    ///
    /// # Errors
    /// [`ErrorKind::Version`] when tool and crate are of different versions.
    pub fn cores(&self) -> Result<u32> {
        Ok(self.params_as::<SizeOfQemu>()?.cores)
    }

    /// Remembers the machine's state, memory and disks, under a name of letters, digits, `-`, `_` and `.`; an older state
    /// of that name is forgotten. States that a test names are this platform's alone; `reuse = "snapshot"` works for
    /// containers too.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] when QEMU cannot.
    pub fn snapshot(&self, name: impl Into<String>) -> Result<()> {
        self.act(Act::Snapshot { name: name.into() }, UP)
    }

    /// Puts the machine back to a state that [`snapshot`](Self::snapshot) remembered, with its clock set to now, and waits until it answers. What runs on it is
    /// lost.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] when there is no such state.
    pub fn restore(&self, name: impl Into<String>) -> Result<()> {
        self.act(Act::Restore { name: name.into() }, UP)
    }

    /// Takes a network link down (`false`), or up again. The one by which the machine is reached is number 0: while it is
    /// down, no command arrives.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] when there is no such link.
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
    /// A container of platform `container`. It has no states that a test can name, as [`Qemu`] has; `reuse = "snapshot"` puts
    /// it back to how it was before its first test: its file system, without what ran.
    Container(OfContainer), "container"
}

impl Container {
    /// The engine's program: `podman`, `docker`.
    #[must_use]
    pub fn engine(&self) -> &str {
        &self.data.engine
    }

    /// The container's name for the engine.
    #[must_use]
    pub fn container(&self) -> &str {
        &self.data.container
    }
}

/// What a platform says that has nothing to say.
#[derive(Debug, Deserialize)]
struct Nothing {}

platform! {
    /// A host of platform `ssh`.
    Ssh(Nothing), "ssh"
}

#[derive(Debug, Deserialize)]
struct ParamsOfSsh {
    hosts: Vec<String>,
}

impl Ssh {
    /// The host as the playbook names it: an alias, a name or an address.
    ///
    /// # Errors
    /// [`ErrorKind::Version`] when tool and crate are of different versions.
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
    /// This machine, as platform `local` shows it.
    Local(Nothing), "local"
}

/// All targets of a lease, typed.
///
/// # Errors
/// As [`Platform::of`].
#[doc(hidden)]
pub fn all_of<P: Platform>(targets: &[Target]) -> Result<Vec<P>> {
    targets.iter().map(P::of).collect()
}

impl Target {
    /// The target's parameters in a type of your own.
    ///
    /// # Errors
    /// [`ErrorKind::Version`] when they have another form.
    pub fn params_as<T: DeserializeOwned>(&self) -> Result<T> {
        self.read_as("parameters", self.params())
    }

    /// What the platform said of this instance, in a type of your own: what a deploy script printed as `data`, for
    /// instance.
    ///
    /// # Errors
    /// [`ErrorKind::Version`] when it has another form.
    pub fn data_as<T: DeserializeOwned>(&self) -> Result<T> {
        self.read_as("data", self.data())
    }

    fn read_as<T: DeserializeOwned>(&self, what: &str, value: &serde_json::Value) -> Result<T> {
        T::deserialize(value).map_err(|error| {
            let what = format!("read the {what} of `{}`: {error}", self.instance());
            TargetError::new(ErrorKind::Version, what)
        })
    }
}
