//! What a test holds: one leased instance, and what can be done on it.
//!
//! Owns the author's vocabulary. Must not know frames (the client does) nor how the lease was had.

use std::{fmt, sync::Arc};

use serde_json::Value;

use crate::{
    client::Client,
    error::TargetError,
    wire::{self, Instance},
};

mod command;
mod files;
mod forward;
mod machine;
mod output;
mod process;

pub use command::Command;
pub use forward::Forward;
pub(crate) use machine::UP;
pub use machine::{Facts, File, FileKind, Service, User};
pub use output::Output;
pub use process::{Line, Process, ProcessInput};

type Result<T> = std::result::Result<T, TargetError>;

/// One instance, leased to this test alone.
///
/// It may be used from any number of threads at once, and cloned. Its lease ends with the test.
#[derive(Clone)]
pub struct Target {
    pub(crate) client: Arc<Client>,
    instance: Arc<Instance>,
}

impl Target {
    pub(crate) fn new(client: Arc<Client>, instance: Instance) -> Self {
        let instance = Arc::new(instance);
        Self { client, instance }
    }

    /// The target's name in the playbook: `ubuntu`.
    #[must_use]
    #[expect(
        clippy::misnamed_getters,
        reason = "a target is named by the playbook, not by its instance"
    )]
    pub fn name(&self) -> &str {
        &self.instance.target
    }

    /// The instance's name: `ubuntu-0`.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance.name
    }

    /// The platform that made it: `ssh`.
    #[must_use]
    pub fn platform(&self) -> &str {
        &self.instance.platform
    }

    /// Its host name or address; `localhost` on platform `local`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.instance.host
    }

    /// Its SSH port, where it has one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.instance.port
    }

    /// The login name, where it is known.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.instance.user.as_deref()
    }

    /// The target's parameters as the playbook resolved them, an object. A secret is the reference that the playbook has
    /// to it: `{"env": "LAB_PASSWORD"}`.
    #[must_use]
    pub fn params(&self) -> &Value {
        &self.instance.params
    }

    /// What the platform said of this instance when it made it, an object.
    #[must_use]
    pub fn data(&self) -> &Value {
        &self.instance.data
    }

    /// The target's features.
    #[must_use]
    pub fn features(&self) -> &[String] {
        &self.instance.features
    }

    /// Whether the target has a feature.
    #[must_use]
    pub fn has_feature(&self, feature: &str) -> bool {
        self.instance.features.iter().any(|has| has == feature)
    }

    /// Runs a command line in the instance's shell (`/bin/sh`), without standard input.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Exit`] unless it exits with 0: use [`command`](Self::command) to allow that.
    /// [`crate::ErrorKind::Infra`] when the instance is lost.
    pub fn run(&self, line: impl Into<String>) -> Result<Output> {
        self.command(line).run()
    }

    /// Runs a command line as root: by `sudo`, which must not ask for a password, where the login is not root's.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn sudo(&self, line: impl Into<String>) -> Result<Output> {
        self.command(line).sudo().run()
    }

    /// Prepares a command line for the instance's shell: arguments, environment, folder, standard input, timeout.
    pub fn command(&self, line: impl Into<String>) -> Command<'_> {
        let line = line.into();
        Command::new(
            self,
            wire::Command {
                line,
                ..Default::default()
            },
        )
    }

    /// Prepares a program to be run without a shell: no [argument](Command::arg) of it is looked at by one.
    pub fn program(&self, path: impl Into<String>) -> Command<'_> {
        let words = vec![path.into()];
        Command::new(
            self,
            wire::Command {
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
