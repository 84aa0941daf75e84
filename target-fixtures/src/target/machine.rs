//! The methods of [`Target`] for the machine as a whole: reachability, facts, packages, reboot, waits.
//!
//! Must not know how the broker answers.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde::de::DeserializeOwned;

mod kinds;

pub use kinds::{Facts, File, FileKind, ServiceState, User};

use super::{Result, Service, Target, files::on_instance};
use crate::{
    client::unexpected,
    error::{ErrorKind, Placed, TargetError},
    wait::poll,
    wire::{Act, BrokerRequest, Question, Reply},
};

/// The timeout of a ping.
const PING: Duration = Duration::from_secs(10);
/// The timeout until a machine is up again.
pub(crate) const UP: Duration = Duration::from_secs(300);
/// The timeout of an expected crash.
const CRASH: Duration = Duration::from_secs(60);
/// The timeout of an installation.
const INSTALL: Duration = Duration::from_secs(600);

impl Target {
    /// Checks that the instance is reachable, and returns the round-trip time. Uses ICMP echo if there is a network
    /// between and ICMP is permitted, else the instance's transport. Retries for 10 s, with growing pauses.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] if the instance is unreachable.
    #[track_caller]
    pub fn ping(&self) -> Result<Duration> {
        self.ping_for(PING)
    }

    /// Checks that the instance is reachable, like [`ping`](Self::ping), and retries for `limit`.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] if the instance is unreachable.
    #[track_caller]
    pub fn ping_for(&self, limit: Duration) -> Result<Duration> {
        let instance = self.instance().to_owned();
        let limit = millis(limit);
        match self.client.ask(BrokerRequest::Ping { instance, limit })? {
            Reply::Pong { micros } => Ok(Duration::from_micros(micros)),
            other => Err(unexpected(other)),
        }
    }

    /// Probes the facts of the machine.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] if the instance is lost.
    #[track_caller]
    pub fn facts(&self) -> Result<Facts> {
        let mut said: BTreeMap<String, String> = self.ask(Question::Facts)?;
        let mut text = |key| said.remove(key).unwrap_or_default();
        Ok(Facts {
            arch: text("arch"),
            kernel: text("kernel"),
            os: text("os"),
            hostname: text("hostname"),
            boot_id: text("boot-id"),
            cores: text("cores").parse().ok(),
            memory: text("memory").parse().ok(),
            disk: text("disk").parse().ok(),
            nics: text("nics").parse().ok(),
            uptime: text("uptime").parse().ok().map(Duration::from_secs),
        })
    }

    /// Returns the version of an installed package, by dpkg, rpm, apk or pacman; `None` if the package is not
    /// installed.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if there is no package manager.
    #[track_caller]
    pub fn package(&self, name: impl Into<String>) -> Result<Option<String>> {
        self.ask(Question::Package { name: name.into() })
    }

    /// A service of systemd, OpenRC or init scripts, whether or not it exists.
    #[must_use]
    pub fn service(&self, name: impl Into<String>) -> Service<'_> {
        Service::new(self, name.into())
    }

    /// Looks up a user by login name or number; `None` if there is no such user.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] if the instance is lost.
    #[track_caller]
    pub fn user_named(&self, name: impl Into<String>) -> Result<Option<User>> {
        self.ask(Question::User { name: name.into() })
    }

    /// Returns the file at an absolute path, without following a symbolic link; `None` if there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the path is not absolute.
    #[track_caller]
    pub fn file(&self, path: impl AsRef<Path>) -> Result<Option<File>> {
        let path = on_instance(path.as_ref())?;
        self.ask(Question::File { path })
    }

    /// Installs packages as root, by apt, dnf, yum, zypper, apk or pacman.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] with the output of the package manager.
    #[track_caller]
    pub fn install(&self, packages: &[&str]) -> Result<()> {
        let packages = packages.iter().map(|name| (*name).to_owned()).collect();
        self.act(Act::Install { packages }, INSTALL)
    }

    /// Waits until a process on the instance listens on a TCP port.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] after `limit`.
    #[track_caller]
    pub fn wait_for_port(&self, port: u16, limit: Duration) -> Result<()> {
        self.wait_for(&format!("port {port}"), limit, || {
            self.ask(Question::Listens { port })
        })
        .placed()
    }

    /// Waits until there is a file at an absolute path.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] after `limit`.
    #[track_caller]
    pub fn wait_for_file(&self, path: impl AsRef<Path>, limit: Duration) -> Result<()> {
        let path = on_instance(path.as_ref())?;
        self.wait_for(&format!("`{path}`"), limit, || {
            Ok(self.file(&path)?.is_some())
        })
        .placed()
    }

    /// Runs a command line repeatedly, with growing pauses, until it exits with 0.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] after `limit`, with the error of the last attempt.
    #[track_caller]
    pub fn wait_for_command(&self, line: impl Into<String>, limit: Duration) -> Result<()> {
        let line = line.into();
        let mut last = String::new();
        let waited = self.wait_for(&format!("`{line}`"), limit, || {
            let tried = self.command(&line).quiet().timeout(limit).run();
            match tried {
                Ok(_) => Ok(true),
                Err(error) if matches!(error.kind(), ErrorKind::Infra | ErrorKind::Crash) => {
                    Err(error)
                }
                Err(error) => {
                    last = format!("\nlast attempt: {error}");
                    Ok(false)
                }
            }
        });
        let waited = waited.map_err(|error| match error.kind() {
            ErrorKind::Timeout => error.with_more(&last),
            _ => error,
        });
        waited.placed()
    }

    /// Reboots the machine from inside, and waits until it is up with another boot ID, for at most the target's
    /// `ready-timeout`. Running processes are lost.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if the machine shares the kernel of its host, [`ErrorKind::Infra`] if the machine does
    /// not come up.
    #[track_caller]
    pub fn reboot(&self) -> Result<()> {
        self.act(Act::Reboot, UP)
    }

    /// Restarts the machine from outside, like a power button, and waits until it is up, for at most the target's
    /// `ready-timeout`. Works on a machine that hangs.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] if the platform does not support restarts, or the machine does not come up.
    #[track_caller]
    pub fn restart(&self) -> Result<()> {
        self.act(Act::Restart, UP)
    }

    /// Runs `action`, which crashes the machine: its kernel panics, or it reboots or shuts down other than by
    /// [`reboot`](Self::reboot). Waits for at most 60 s until it has crashed, and then, for at most the target's
    /// `ready-timeout`, until it is up again. A machine that stays down is restarted from outside. Any other crash during
    /// a test is a failure, with verdict `crash`.
    ///
    /// The value of `action` is ignored, since a command that the crash cuts off fails.
    ///
    /// ```no_run
    /// # use target_fixtures::prelude::*;
    /// # fn a_crash_leaves_a_dump(target: &Target) -> Result<()> {
    /// target.expect_crash(|| target.run("echo c >/proc/sysrq-trigger"))?;
    /// target.run("ls /var/crash/*/vmcore")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] if the machine does not crash, [`ErrorKind::Request`] if the machine shares the kernel of
    /// its host, [`ErrorKind::Infra`] if it does not come up.
    #[track_caller]
    pub fn expect_crash<T>(&self, action: impl FnOnce() -> T) -> Result<()> {
        self.expect_crash_for(CRASH, action)
    }

    /// Runs an action that crashes the machine, like [`expect_crash`](Self::expect_crash), and waits for the crash for
    /// `limit`.
    ///
    /// # Errors
    /// As [`expect_crash`](Self::expect_crash).
    #[track_caller]
    pub fn expect_crash_for<T>(&self, limit: Duration, action: impl FnOnce() -> T) -> Result<()> {
        self.act(Act::ExpectCrash, UP)?;
        drop(action());
        let within = millis(limit);
        self.act(Act::AwaitCrash { within }, UP)
    }

    #[track_caller]
    pub(crate) fn act(&self, act: Act, limit: Duration) -> Result<()> {
        let (instance, limit) = (self.instance().to_owned(), millis(limit));
        let request = BrokerRequest::Act {
            instance,
            act,
            limit,
        };
        match self.client.ask(request)? {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    #[track_caller]
    pub(super) fn ask<T: DeserializeOwned>(&self, question: Question) -> Result<T> {
        let instance = self.instance().to_owned();
        match self.client.ask(BrokerRequest::Ask { instance, question })? {
            Reply::Answer { value } => serde_json::from_value(value)
                .map_err(|error| {
                    TargetError::new(
                        ErrorKind::Version,
                        format!("invalid reply of the broker: {error}"),
                    )
                })
                .placed(),
            other => Err(unexpected(other)),
        }
    }

    fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let mut found = || -> Result<_> { Ok(look()?.then_some(())) };
        let found = poll(limit, &mut found)?;
        found.ok_or_else(|| {
            let what = format!(
                "wait for {what} on `{}`: timed out after {limit:?}",
                self.instance()
            );
            TargetError::new(ErrorKind::Timeout, what)
        })
    }
}

pub(super) fn millis(limit: Duration) -> u64 {
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
}
