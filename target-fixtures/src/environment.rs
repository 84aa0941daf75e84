//! [`Environment`]: the leased machines of a test that needs several in roles.

use std::{collections::BTreeSet, fmt, ops::Index};

use crate::{
    Network, Target, Variant,
    error::{ErrorKind, TargetError},
    variant,
    wire::RolePlace,
};

/// An environment leased exclusively to this test: machines in roles, and the networks between them.
///
/// ```no_run
/// # use target_fixtures::prelude::*;
/// #[target_test(roles = ["gateway", "tester"])]
/// fn all_testers_answer(env: &Environment) -> Result<()> {
///     env["gateway"].run("sysctl -w net.ipv4.ip_forward=1")?;
///     for tester in env.targets("tester") {
///         tester.ping()?;
///     }
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct Environment {
    machines: Vec<Target>,
}

impl Environment {
    pub(crate) fn new(machines: &[Target]) -> Self {
        Self {
            machines: machines.to_vec(),
        }
    }

    /// The name of the leased environment: `lan-0`. Empty if the lease is of a single target.
    #[must_use]
    pub fn name(&self) -> &str {
        let place = self.machines.first().and_then(Target::place);
        place.map_or("", |place| &place.environment)
    }

    /// The configuration that this test runs with, as [`variant`](crate::variant()) returns it.
    #[must_use]
    pub fn variant(&self) -> Option<Variant> {
        variant()
    }

    /// The names of the machines, in the order of the playbook: `gateway`, `tester1`, `tester2`.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.places().map(|(_, place)| place.machine.as_str())
    }

    /// The machine of this name. `env["gateway"]` is the same, and panics if the environment has no such machine.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the environment has no such machine, or several in this role.
    #[track_caller]
    pub fn role(&self, name: &str) -> Result<&Target, TargetError> {
        let named = |(target, place): (_, &RolePlace)| (place.machine == name).then_some(target);
        if let Some(target) = self.places().find_map(named) {
            return Ok(target);
        }
        let known: Vec<_> = self.roles().collect();
        let message = format!(
            "find role `{name}` in environment `{}`: it has `{}`",
            self.name(),
            known.join("`, `")
        );
        Err(TargetError::new(ErrorKind::Request, message))
    }

    /// The machines of a role: `tester1` and `tester2` for `tester`. Empty if there are none.
    #[must_use]
    pub fn targets(&self, role: &str) -> Vec<&Target> {
        let of_role = |(target, place): (_, &RolePlace)| {
            (place.role == role || place.machine == role).then_some(target)
        };
        self.places().filter_map(of_role).collect()
    }

    /// A network of the environment.
    ///
    /// # Panics
    /// If no machine is on a network of this name.
    #[must_use]
    #[track_caller]
    pub fn network(&self, name: &str) -> Network<'_> {
        let known: BTreeSet<_> = self.machines.iter().flat_map(Target::networks).collect();
        let names: Vec<_> = known.iter().copied().collect();
        let names = match names.as_slice() {
            [] => "none".to_owned(),
            names => format!("`{}`", names.join("`, `")),
        };
        assert!(
            known.contains(name),
            "environment `{}` has no network `{name}`; it has {names}",
            self.name()
        );
        Network::new(self, name)
    }

    /// All machines, in the order of the playbook.
    #[must_use]
    pub fn machines(&self) -> &[Target] {
        &self.machines
    }

    fn places(&self) -> impl Iterator<Item = (&Target, &RolePlace)> {
        let machines = self.machines.iter();
        machines.filter_map(|target| Some((target, target.place()?)))
    }
}

impl Index<&str> for Environment {
    type Output = Target;

    #[track_caller]
    fn index(&self, name: &str) -> &Target {
        // A closure would hide the caller's line.
        match self.role(name) {
            Ok(target) => target,
            Err(error) => panic!("{error:?}"),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_map();
        for (target, place) in self.places() {
            shown.entry(&place.machine, target);
        }
        shown.finish()
    }
}
