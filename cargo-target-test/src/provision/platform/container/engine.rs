//! The container engine, called by its command line.
//!
//! Chooses the engine. Must not know parameters.

use std::{path::Path, process::Command, time::Duration};

use sha2::{Digest, Sha256};

use super::InstanceSpec;
use crate::{
    error::{Error, ErrorKind, Result},
    process,
};

/// Engines to try, in this order.
const KNOWN: [&str; 2] = ["podman", "docker"];
/// The time limit for a probe.
const PROBE: Duration = Duration::from_secs(10);
/// The time limit for all other calls; images can be large.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// An engine that answers.
#[derive(Clone, Debug)]
pub(super) struct Engine(pub(super) String);

impl Engine {
    /// Returns the requested engine, or the first one that answers.
    ///
    /// # Errors
    /// The error of each engine that was tried.
    pub(super) fn choose(asked: Option<&str>) -> Result<Self> {
        let mut said = Vec::new();
        for name in asked.map_or(KNOWN.to_vec(), |name| vec![name]) {
            let engine = Self(name.to_owned());
            match engine.probe() {
                Ok(()) => return Ok(engine),
                Err(error) => said.push(error.chain()),
            }
        }
        let message = format!("no container engine answers: {}", said.join("; "));
        let hint =
            "install podman (Debian, Ubuntu, Fedora: package `podman`), or start docker's service";
        Err(Error::new(ErrorKind::Infra, message).with_hint(hint))
    }

    /// Returns every known engine that answers.
    pub(super) fn all() -> Vec<Self> {
        let known = KNOWN.map(|name| Self(name.to_owned()));
        known
            .into_iter()
            .filter(|engine| engine.probe().is_ok())
            .collect()
    }

    fn probe(&self) -> Result<()> {
        // Docker's client answers even without an engine.
        self.within(
            PROBE,
            ["version", "--format", "{{.Server.Version}}"],
            |command| command,
        )
        .or_else(|_| self.within(PROBE, ["version"], |command| command))
        .map(drop)
    }

    /// Runs the engine to its end; returns its trimmed output.
    ///
    /// # Errors
    /// The engine's own message.
    pub(super) fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
        self.within(LIMIT, arguments, |command| command)
    }

    /// As [`Engine::run`], with a time limit and a changed command.
    pub(super) fn within<'a>(
        &self,
        limit: Duration,
        arguments: impl IntoIterator<Item = &'a str>,
        change: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Result<String> {
        let mut command = process::command(&self.0);
        command.args(arguments);
        change(&mut command);
        let finished = process::Spawn::new(command)
            .dies_with_parent()
            .run(b"", limit, &|_| {})?;
        if finished.status.success() {
            return Ok(String::from_utf8_lossy(&finished.stdout).trim().to_owned());
        }
        let words = String::from_utf8_lossy(&finished.stderr);
        let words = words
            .trim()
            .trim_start_matches("Error: ")
            .trim_start_matches("Error response from daemon: ");
        let words = match words {
            "" => process::ending(finished.status),
            words => words.to_owned(),
        };
        Err(Error::new(
            ErrorKind::Infra,
            format!("`{}`: {words}", self.0),
        ))
    }

    /// True if a container of this name exists.
    pub(super) fn has(&self, container: &str) -> Result<bool> {
        let filter = format!("name=^{container}$");
        let found = self.run(["ps", "--all", "--quiet", "--filter", &filter])?;
        Ok(!found.is_empty())
    }

    /// True if an image of this name exists.
    pub(super) fn has_image(&self, image: &str) -> bool {
        let inspect = ["image", "inspect", "--format", "x", image];
        self.run(inspect).is_ok()
    }

    /// Returns the image of this archive; imports it if it does not exist.
    pub(super) fn import(&self, archive: &Path) -> Result<String> {
        let mut file = fs_err::File::open(archive)?;
        let mut hasher = Sha256::new();
        let mut bytes = vec![0; 128 << 10];
        loop {
            match std::io::Read::read(&mut file, &mut bytes)? {
                0 => break,
                read => hasher.update(&bytes[..read]),
            }
        }
        let hex: String = hasher
            .finalize()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let image = format!("localhost/cargo-target-test:{hex}");
        if !self.has_image(&image) {
            let archive = archive.to_string_lossy();
            self.run(["import", &archive, &image])?;
        }
        Ok(image)
    }

    /// The process id of the container's first process.
    ///
    /// # Errors
    /// Fails if the process has ended, with its exit status and its last output.
    pub(super) fn main_process(&self, spec: &InstanceSpec) -> Result<i32> {
        let name = &spec.instance;
        let format = "{{.State.Running}} {{.State.Pid}} {{.State.ExitCode}} {{.State.OOMKilled}}";
        let state = self
            .run([
                "inspect",
                "--type",
                "container",
                "--format",
                format,
                &spec.unique,
            ])
            .map_err(|error| {
                let message = format!("the container of `{name}` does not exist any more");
                Error::new(ErrorKind::Infra, message).with_source(error)
            })?;
        let words: Vec<_> = state.split_whitespace().collect();
        if let ["true", pid, ..] = words.as_slice() {
            return pid.parse().map_err(|_| {
                let message = format!("`{}` reported no process of `{name}`", self.0);
                Error::new(ErrorKind::Infra, message)
            });
        }
        let why = match words.as_slice() {
            [_, _, _, "true"] => "was killed: out of memory".to_owned(),
            [_, _, code, ..] => format!("ended with exit code {code}"),
            _ => "is not running".to_owned(),
        };
        let last = self
            .run(["logs", "--tail", "15", &spec.unique])
            .unwrap_or_default();
        let last = if last.is_empty() {
            last
        } else {
            format!("; its last output:\n{last}")
        };
        Err(Error::new(
            ErrorKind::Infra,
            format!("the container of `{name}` {why}{last}"),
        ))
    }
}
