//! [`Target`], a leased instance, and its methods.
//!
//! Must not know frames (see `client`) or how the lease was acquired (see `lease`).

use std::{fmt, path::Path, sync::Arc};

use serde_json::Value;

use crate::{
    client::{Client, unexpected},
    error::TargetError,
    wire::{self, BrokerRequest, Instance, InstanceLink, Reply, RolePlace},
};

mod command;
mod console;
mod faults;
mod files;
mod forward;
mod machine;
mod output;
mod paths;
mod process;
mod service;

pub use command::Command;
pub use console::Console;
pub(crate) use faults::fault_lasted_since;
pub use faults::{ActiveFault, Faults, cause_for, machine_of};
pub use forward::Forward;
pub(crate) use machine::UP;
pub use machine::{Facts, File, FileKind, ServiceState, User};
pub use output::Output;
pub use paths::TempDir;
pub use process::{Line, Process, ProcessInput, parallel};
pub use service::Service;

type Result<T> = std::result::Result<T, TargetError>;

/// An instance leased exclusively to this test.
///
/// A target can be cloned, and used from several threads at once. The lease ends with the test.
#[derive(Clone)]
pub struct Target {
    pub(crate) client: Arc<Client>,
    instance: Arc<Instance>,
    /// The name of the test's parameter, if the test has several.
    label: Option<&'static str>,
}

impl Target {
    pub(crate) fn new(client: Arc<Client>, instance: Instance) -> Self {
        let instance = Arc::new(instance);
        Self {
            client,
            instance,
            label: None,
        }
    }

    /// The same target with a label for the test's log.
    pub(crate) fn labelled(&self, label: &'static str) -> Self {
        Self {
            label: Some(label),
            ..self.clone()
        }
    }

    /// The name for the test's log: `ubuntu-0`, or `server = ubuntu-1`.
    fn log_name(&self) -> String {
        match self.label {
            Some(label) => format!("{label} = {}", self.instance()),
            None => self.instance().to_owned(),
        }
    }

    /// The name of the target in the playbook: `ubuntu`.
    #[must_use]
    #[expect(
        clippy::misnamed_getters,
        reason = "a target is named by the playbook, not by its instance"
    )]
    pub fn name(&self) -> &str {
        &self.instance.target
    }

    /// The name of the instance: `ubuntu-0`.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance.name
    }

    /// The platform of the target: `ssh`.
    #[must_use]
    pub fn platform(&self) -> &str {
        &self.instance.platform
    }

    /// The host name or address by which this host reaches the instance; `localhost` on platform `local`. Not an address for
    /// other instances, or for ports other than [`port`](Self::port): see [`reach_from`](Self::reach_from) and
    /// [`forward`](Self::forward).
    #[must_use]
    pub fn host(&self) -> &str {
        &self.instance.host
    }

    /// The SSH port of the instance, if any.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.instance.port
    }

    /// The login name, if known.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.instance.user.as_deref()
    }

    /// The resolved parameters of the target, an object. A secret is shown as its reference in the playbook:
    /// `{"env": "LAB_PASSWORD"}`.
    #[must_use]
    pub fn params(&self) -> &Value {
        &self.instance.params
    }

    /// The data that the platform provided when it deployed the instance, an object.
    #[must_use]
    pub fn data(&self) -> &Value {
        &self.instance.data
    }

    /// The features of the target.
    #[must_use]
    pub fn features(&self) -> &[String] {
        &self.instance.features
    }

    /// True if the target has the feature.
    #[must_use]
    pub fn has_feature(&self, feature: &str) -> bool {
        self.instance.features.iter().any(|has| has == feature)
    }

    /// True if a test may cause such a fault.
    pub(crate) fn allows(&self, fault: wire::FaultKind) -> bool {
        self.instance.faults.contains(&fault)
    }

    /// The place of the machine in its environment, if it has one.
    pub(crate) fn place(&self) -> Option<&RolePlace> {
        self.instance.place.as_ref()
    }

    /// The networks of its environment that the machine is on.
    pub(crate) fn networks(&self) -> impl Iterator<Item = &str> {
        self.instance.links.iter().map(|link| link.network.as_str())
    }

    /// The link of the machine to a network of its environment, if it has one.
    pub(crate) fn link(&self, network: &str) -> Option<&InstanceLink> {
        let mut links = self.instance.links.iter();
        links.find(|link| link.network == network)
    }

    /// Runs a command line in the instance's shell (`/bin/sh`), without standard input.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Exit`] if the command does not exit with 0; use [`command`](Self::command) to allow that.
    /// [`crate::ErrorKind::Infra`] if the instance is lost.
    #[track_caller]
    pub fn run(&self, line: impl Into<String>) -> Result<Output> {
        self.command(line).run()
    }

    /// Runs a command line as root. Uses `sudo` if the login user is not root; `sudo` must not ask for a password.
    ///
    /// # Errors
    /// Same as [`run`](Self::run).
    #[track_caller]
    pub fn sudo(&self, line: impl Into<String>) -> Result<Output> {
        self.command(line).sudo().run()
    }

    /// Starts a command line in the background, as [`Command::spawn`] does.
    ///
    /// # Errors
    /// Same as [`Command::spawn`].
    #[track_caller]
    pub fn spawn(&self, line: impl Into<String>) -> Result<Process> {
        self.command(line).spawn()
    }

    /// Builds a command line for the instance's shell, with arguments, environment, folder, standard input and timeout.
    pub fn command(&self, line: impl Into<String>) -> Command<'_> {
        let line = line.into();
        Command::new(
            self,
            wire::ShellCommand {
                line,
                ..Default::default()
            },
        )
    }

    /// Puts a program of the workspace on the instance, and builds a command that runs it. `name` is the name of a binary
    /// that the test declares: `#[target_test(programs = ["kvd"])]`, or `target_defaults!` for all tests of a module. Its
    /// [arguments](Command::arg) are not interpreted by a shell.
    ///
    /// The binary is one of the test's package, or else of the workspace. It is built as the tests are, before the test
    /// starts. For an instance without the C library that the binary needs, it is built again, linked statically. The
    /// program is sent once to each instance; further calls find it there.
    ///
    /// ```no_run
    /// # use target_fixtures::prelude::*;
    /// # use std::time::Duration;
    /// #[target_test(programs = ["kvd"])]
    /// fn starts(target: &Target) -> Result<()> {
    ///     let mut kvd = target.program_of("kvd")?.arg("--port=0").spawn()?;
    ///     kvd.wait_for_line("listening", Duration::from_secs(10))?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// [`crate::ErrorKind::Request`] if the test does not declare the program, or it cannot be built or cannot run on the
    /// instance; [`crate::ErrorKind::Infra`] if the instance is lost.
    #[track_caller]
    pub fn program_of(&self, name: impl Into<String>) -> Result<Command<'_>> {
        Ok(self.program(self.program_path(name)?))
    }

    /// Puts a program on the instance as [`program_of`](Self::program_of) does, and returns its path there: for a line of
    /// the shell, such as one that leaves the program running.
    ///
    /// # Errors
    /// As [`program_of`](Self::program_of).
    #[track_caller]
    pub fn program_path(&self, name: impl Into<String>) -> Result<String> {
        let reply = self.client.ask(BrokerRequest::Program {
            instance: self.instance().to_owned(),
            name: name.into(),
        })?;
        match reply {
            Reply::Answer {
                value: Value::String(path),
            } => Ok(path),
            other => Err(unexpected(other)),
        }
    }

    /// Builds a command that runs a program directly. Its [arguments](Command::arg) are not interpreted by a shell.
    pub fn program(&self, path: impl AsRef<Path>) -> Command<'_> {
        let words = vec![path.as_ref().to_string_lossy().into_owned()];
        Command::new(
            self,
            wire::ShellCommand {
                words,
                ..Default::default()
            },
        )
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.instance.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_can_be_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Target>();
        shared::<crate::TargetError>();
        shared::<crate::Error>();
    }
}
