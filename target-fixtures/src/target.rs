//! What a test holds: one leased instance, and what can be done on it.
//!
//! Owns the author's vocabulary. Must not know frames (the client does) nor how the lease was had.

use std::{
    fmt, fs,
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use serde_json::Value;

use crate::{
    client::{Call, Client, unexpected},
    error::{ErrorKind, TargetError},
    wire::{self, Instance, Reply, Request},
};

mod command;
mod output;
mod process;

pub use command::Command;
pub use output::Output;
pub use process::{Line, Process};

type Result<T> = std::result::Result<T, TargetError>;

/// One instance, leased to this test alone.
///
/// It may be used from any number of threads at once. Its lease ends with the test.
pub struct Target {
    pub(crate) client: Arc<Client>,
    instance: Instance,
}

impl Target {
    pub(crate) fn new(client: Arc<Client>, instance: Instance) -> Self {
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

    /// The target's parameters as the playbook resolved them, an object.
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
    /// [`ErrorKind::Exit`] unless it exits with 0: use [`command`](Self::command) to allow that.
    /// [`ErrorKind::Infra`] when the instance is lost.
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

    /// Copies a file of this side to an absolute path on the instance, with its permissions. The file
    /// there appears at once, when it is complete.
    ///
    /// # Errors
    /// [`ErrorKind::File`] when it cannot be read, [`ErrorKind::Request`] when it cannot be written.
    pub fn put(&self, local: impl AsRef<Path>, remote: impl Into<String>) -> Result<()> {
        let local = local.as_ref();
        let failed = |error: io::Error| file("read", local, &error);
        let mut content = fs::File::open(local).map_err(failed)?;
        let metadata = content.metadata().map_err(failed)?;
        if metadata.is_dir() {
            let error = TargetError::new(
                ErrorKind::File,
                format!("put `{}`: it is a folder", local.display()),
            );
            return Err(
                error.with_hint("put its files one by one, or an archive and unpack it there")
            );
        }
        self.upload(&mut content, remote.into(), mode(&metadata))
    }

    /// Writes a file on the instance, with permissions 0644. It appears at once, when it is complete.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] when it cannot be written.
    pub fn write(&self, remote: impl Into<String>, content: impl AsRef<[u8]>) -> Result<()> {
        self.upload(&mut content.as_ref(), remote.into(), 0o644)
    }

    /// Copies a file of the instance to this side. The file here appears at once, when it is complete.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] when it cannot be read, [`ErrorKind::File`] when it cannot be written.
    pub fn get(&self, remote: impl Into<String>, local: impl AsRef<Path>) -> Result<()> {
        let local = local.as_ref();
        let failed = |error: io::Error| file("write", local, &error);
        let part = part_of(local);
        let mut content = fs::File::create(&part).map_err(failed)?;
        let got = self
            .download(remote.into(), &mut |piece| content.write_all(piece))
            .and_then(|()| fs::rename(&part, local).map_err(failed));
        if got.is_err() {
            // The error that matters is the first.
            let _ = fs::remove_file(&part);
        }
        got
    }

    /// The text of a file on the instance; what is no UTF-8 is replaced by `U+FFFD`.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] when it cannot be read.
    pub fn cat(&self, remote: impl Into<String>) -> Result<String> {
        Ok(output::text(&self.read(remote)?))
    }

    /// The bytes of a file on the instance.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] when it cannot be read.
    pub fn read(&self, remote: impl Into<String>) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        self.download(remote.into(), &mut |piece| {
            content.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(content)
    }

    /// Proves that the instance answers; the time from asking to the answer.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] when it does not.
    pub fn ping(&self) -> Result<Duration> {
        match self.client.ask(Request::Ping {
            instance: self.instance.name.clone(),
        })? {
            Reply::Pong { micros } => Ok(Duration::from_micros(micros)),
            other => Err(unexpected(other)),
        }
    }

    fn upload(&self, content: &mut (dyn Read + Send), path: String, mode: u32) -> Result<()> {
        let request = Request::Put {
            instance: self.instance.name.clone(),
            path,
            mode,
        };
        let call = Call {
            request,
            upload: Some(content),
            piece: &mut |_, _| Ok(()),
        };
        match self.client.call(call)? {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    fn download(&self, path: String, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<()> {
        let request = Request::Get {
            instance: self.instance.name.clone(),
            path,
        };
        let call = Call {
            request,
            upload: None,
            piece: &mut |_, piece| take(piece),
        };
        match self.client.call(call)? {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.instance.name).finish()
    }
}

fn file(what: &str, path: &Path, error: &io::Error) -> TargetError {
    TargetError::new(
        ErrorKind::File,
        format!("{what} `{}`: {error}", path.display()),
    )
}

/// A name beside `path`, which no other process or thread uses.
fn part_of(path: &Path) -> std::path::PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(
        ".part-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    path.with_file_name(name)
}

fn mode(metadata: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o7777
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
