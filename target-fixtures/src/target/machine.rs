//! An instance as a machine: is it there, what is it, have it reboot.
//!
//! Owns the author's calls. Must not know how anything is found out.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;

mod kinds;

pub use kinds::{Facts, File, FileKind, Service, User};

use super::{Result, Target};
use crate::{
    client::unexpected,
    error::{ErrorKind, TargetError},
    wire::{Act, Question, Reply, Request},
};

/// For how long a ping is tried.
const PING: Duration = Duration::from_secs(10);
/// How long a machine may take to come up again.
pub(crate) const UP: Duration = Duration::from_secs(300);
/// How long an installation may take.
const INSTALL: Duration = Duration::from_secs(600);
/// The first pause between two looks, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

impl Target {
    /// Finds out whether the instance can be reached: by an ICMP echo where that is allowed and there is a network between,
    /// else by what its way in answers. Tried for 10 s, with growing pauses. Returns how long the answer took.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] when it cannot.
    pub fn ping(&self) -> Result<Duration> {
        self.ping_for(PING)
    }

    /// The same, tried for another time.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] when it cannot.
    pub fn ping_for(&self, limit: Duration) -> Result<Duration> {
        let instance = self.instance().to_owned();
        let limit = millis(limit);
        match self.client.ask(Request::Ping { instance, limit })? {
            Reply::Pong { micros } => Ok(Duration::from_micros(micros)),
            other => Err(unexpected(other)),
        }
    }

    /// What the machine is, found out now.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] when the instance is lost.
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

    /// The version of a package that is installed, whatever the package manager: dpkg, rpm, apk or pacman.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] where there is no package manager.
    pub fn package(&self, name: impl Into<String>) -> Result<Option<String>> {
        self.ask(Question::Package { name: name.into() })
    }

    /// A service, whatever the service manager: systemd, OpenRC or init scripts.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] where there is no service manager.
    pub fn service(&self, name: impl Into<String>) -> Result<Option<Service>> {
        self.ask(Question::Service { name: name.into() })
    }

    /// A user, by login name or number.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] when the instance is lost.
    pub fn user_named(&self, name: impl Into<String>) -> Result<Option<User>> {
        self.ask(Question::User { name: name.into() })
    }

    /// What is at an absolute path; a symbolic link is not followed.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] for a path that is not absolute.
    pub fn file(&self, path: impl Into<String>) -> Result<Option<File>> {
        self.ask(Question::File { path: path.into() })
    }

    /// What its console has said since the machine started, the last mebibyte of it.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] where the platform has none.
    pub fn console(&self) -> Result<String> {
        self.ask(Question::Console)
    }

    /// Installs packages, as root, by whatever package manager there is: apt, dnf, yum, zypper, apk or pacman.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] with what the package manager said.
    pub fn install(&self, packages: &[&str]) -> Result<()> {
        let packages = packages.iter().map(|name| (*name).to_owned()).collect();
        self.act(Act::Install { packages }, INSTALL)
    }

    /// Waits until something on the instance listens on a TCP port.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] when nothing does within `limit`.
    pub fn wait_for_port(&self, port: u16, limit: Duration) -> Result<()> {
        self.wait_for(&format!("port {port}"), limit, || {
            self.ask(Question::Listens { port })
        })
    }

    /// Waits until there is something at an absolute path.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] when there is not within `limit`.
    pub fn wait_for_file(&self, path: impl Into<String>, limit: Duration) -> Result<()> {
        let path = path.into();
        self.wait_for(&format!("`{path}`"), limit, || {
            Ok(self.file(path.clone())?.is_some())
        })
    }

    /// Runs a command line again and again, with growing pauses, until it exits with 0.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] when it does not within `limit`; the last try's output is shown.
    pub fn wait_for_command(&self, line: impl Into<String>, limit: Duration) -> Result<()> {
        let line = line.into();
        let mut last = String::new();
        let waited = self.wait_for(&format!("`{line}`"), limit, || {
            let tried = self.command(&line).quiet().timeout(limit).run();
            match tried {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == ErrorKind::Infra => Err(error),
                Err(error) => {
                    last = format!("\nlast: {error}");
                    Ok(false)
                }
            }
        });
        waited.map_err(|error| match error.kind() {
            ErrorKind::Timeout => error.with_more(&last),
            _ => error,
        })
    }

    /// Has the machine reboot by itself, and waits until it is up again, which another boot id proves; at most 5 minutes.
    /// What runs on it is lost.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] where it shares its host's kernel, [`ErrorKind::Infra`] when it does not come up.
    pub fn reboot(&self) -> Result<()> {
        self.act(Act::Reboot, UP)
    }

    /// Has the platform restart the machine from outside, as by its power button, and waits until it is up again; at most 5
    /// minutes. Works on a machine that hangs.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] where the platform cannot do that, or when it does not come up.
    pub fn restart(&self) -> Result<()> {
        self.act(Act::Restart, UP)
    }

    pub(crate) fn act(&self, act: Act, limit: Duration) -> Result<()> {
        let (instance, limit) = (self.instance().to_owned(), millis(limit));
        let request = Request::Act {
            instance,
            act,
            limit,
        };
        match self.client.ask(request)? {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    fn ask<T: DeserializeOwned>(&self, question: Question) -> Result<T> {
        let instance = self.instance().to_owned();
        match self.client.ask(Request::Ask { instance, question })? {
            Reply::Answer { value } => serde_json::from_value(value).map_err(|error| {
                TargetError::new(
                    ErrorKind::Version,
                    format!("broker not understood: {error}"),
                )
            }),
            other => Err(unexpected(other)),
        }
    }

    fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut() -> Result<bool>,
    ) -> Result<()> {
        let (started, mut pause) = (Instant::now(), PAUSES.0);
        while !look()? {
            if started.elapsed() >= limit {
                let what = format!(
                    "wait for {what} on `{}`: not within {limit:?}",
                    self.instance()
                );
                return Err(TargetError::new(ErrorKind::Timeout, what));
            }
            thread::sleep(pause.min(limit.saturating_sub(started.elapsed())));
            pause = (pause * 2).min(PAUSES.1);
        }
        Ok(())
    }
}

pub(super) fn millis(limit: Duration) -> u64 {
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
}
