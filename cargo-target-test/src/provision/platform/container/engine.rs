//! The container engine, called by its command line.
//!
//! Chooses the engine. Must not know parameters.

use std::{ffi::OsStr, net::IpAddr, path::Path, process::Command, time::Duration};

use super::{super::Provenance, ContainerSpec, PROVENANCE, STATES};
use crate::{
    connect::upload,
    error::{Error, Result},
    process::{self, ProgramVersion},
};

/// Engines to try, in this order.
const KNOWN: [&str; 2] = ["podman", "docker"];
/// The oldest supported versions.
const OLDEST_PODMAN: ProgramVersion = ProgramVersion(3, 0, 0);
const OLDEST_DOCKER: ProgramVersion = ProgramVersion(20, 10, 0);
/// The time limit for a probe.
const PROBE: Duration = Duration::from_secs(10);
/// The time limit for all other calls; images can be large.
pub(super) const LIMIT: Duration = Duration::from_secs(15 * 60);

/// The beginnings of the line with the engine's error.
const ERRORS: [&str; 3] = ["docker: ", "Error: ", "Error response from daemon: "];

/// The name of imported images; the tag is the hash of the content and the pool's label.
const IMPORTED: &str = "localhost/cargo-target-test";

/// An engine that answers.
#[derive(Clone, Debug)]
pub(in crate::provision) struct Engine(pub(in crate::provision) String);

impl Engine {
    /// Returns the requested engine, or the first one that answers.
    ///
    /// # Errors
    /// The error of each engine that was tried.
    pub(in crate::provision) fn choose(asked: Option<&str>) -> Result<Self> {
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
        Err(Error::infra(message).with_hint(hint))
    }

    /// Returns every known engine that answers.
    pub(in crate::provision) fn all() -> Vec<Self> {
        let known = KNOWN.map(|name| Self(name.to_owned()));
        known
            .into_iter()
            .filter(|engine| engine.probe().is_ok())
            .collect()
    }

    fn probe(&self) -> Result<()> {
        // Docker's client answers even without an engine.
        let server = self.command(["version", "--format", "{{.Server.Version}}"]);
        let said = self
            .within(PROBE, server)
            .or_else(|_| self.within(PROBE, self.command(["version"])))?;
        // Podman may be named `docker`. No docker has one of its versions.
        let is_podman = |version| version < ProgramVersion(10, 0, 0);
        let oldest = match ProgramVersion::find(&said).is_some_and(is_podman) {
            true => OLDEST_PODMAN,
            false => OLDEST_DOCKER,
        };
        process::warn_if_older(&self.0, oldest, || said);
        Ok(())
    }

    /// Runs the engine to its end; returns its trimmed output.
    ///
    /// # Errors
    /// The engine's own message.
    pub(in crate::provision) fn run<'a>(
        &self,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Result<String> {
        self.within(LIMIT, self.command(arguments))
    }

    /// As [`Engine::run`], with a time limit.
    pub(super) fn within(&self, limit: Duration, command: Command) -> Result<String> {
        self.finish(process::Spawn::new(command), limit)
    }

    /// As [`Engine::within`], for a deploy: the end of the run ends it, as it ends a deploy script. The run waits for
    /// restores and deletes.
    pub(super) fn deploying(&self, limit: Duration, command: Command) -> Result<String> {
        self.finish(process::Spawn::new(command).script(), limit)
    }

    /// A command of the engine.
    pub(super) fn command<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = process::command(&self.0);
        command.args(arguments);
        command
    }

    fn finish(&self, spawn: process::Spawn, limit: Duration) -> Result<String> {
        let finished = spawn.dies_with_parent().run(b"", limit, &|_| {})?;
        let text = finished.text().map_err(|words| {
            let words = error_first(&words);
            let words = ERRORS
                .iter()
                .fold(&*words, |words, mark| words.trim_start_matches(mark));
            Error::infra(match words {
                "" => format!("`{}`: {}", self.0, process::ending(finished.status)),
                words => format!("`{}`: {words}", self.0),
            })
        })?;
        Ok(text.trim().to_owned())
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

    /// The id of an image, which is a digest; `None` if the image does not exist.
    pub(super) fn image_id(&self, image: &str) -> Option<String> {
        self.run(["image", "inspect", "--format", "{{.Id}}", image])
            .ok()
    }

    /// The first address of a container on the engine's networks, if any.
    pub(super) fn address(&self, container: &str) -> Result<Option<IpAddr>> {
        let format =
            "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}} {{end}}";
        let inspect = [
            "inspect",
            "--type",
            "container",
            "--format",
            format,
            container,
        ];
        let found = self.run(inspect)?;
        Ok(found
            .split_whitespace()
            .find_map(|address| address.parse().ok()))
    }

    /// The provenance of a container, or of its snapshot if it does not exist; empty if it has none.
    pub(super) fn provenance(&self, unique: &str) -> Provenance {
        let format = format!("{{{{index .Config.Labels {PROVENANCE:?}}}}}");
        let text = |object: &str| self.run(["inspect", "--format", &format, object]);
        let text = text(unique).or_else(|_| text(&format!("{STATES}:{unique}")));
        text.ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default()
    }

    /// Returns the image of this archive for the pool with this label; imports it if it does not exist.
    pub(super) fn import(&self, archive: &Path, label: &str) -> Result<String> {
        let hash = upload::hash_file(archive)?;
        let image = format!("{IMPORTED}:{}-{label}", &hash[..16]);
        if !self.has_image(&image) {
            let archive = archive.to_string_lossy();
            self.deploying(LIMIT, self.command(["import", &archive, &image]))?;
        }
        Ok(image)
    }

    /// Removes the images that were imported for the pool with this label.
    pub(super) fn remove_imported(&self, label: &str) -> Result<()> {
        let format = "{{.Repository}}:{{.Tag}}";
        let images = self.run(["images", "--format", format, IMPORTED])?;
        let ours = format!("-{label}");
        let mut images = images.lines().filter(|image| image.ends_with(&ours));
        images.try_for_each(|image| self.run(["rmi", image]).map(drop))
    }

    /// The last lines that a container's first process printed, to either stream.
    pub(super) fn output(&self, container: &str, lines: u32) -> Result<String> {
        let lines = lines.to_string();
        let mut shell = process::command("/bin/sh");
        shell.args(["-c", "exec \"$0\" logs --tail \"$1\" \"$2\" 2>&1", &self.0]);
        shell.args([&lines, container]);
        self.within(PROBE, shell)
    }

    /// The process id of the container's first process.
    ///
    /// # Errors
    /// Fails if the process has ended, with its exit status and its last output.
    pub(super) fn main_process(&self, spec: &ContainerSpec) -> Result<i32> {
        let name = &spec.instance;
        let format = "{{.State.Running}} {{.State.Pid}} {{.State.ExitCode}} {{.State.OOMKilled}}";
        let unique = spec.unique.as_str();
        let inspect = ["inspect", "--type", "container", "--format", format, unique];
        let state = self.run(inspect).map_err(|error| {
            let message = format!("the container of `{name}` does not exist any more");
            Error::infra(message).with_source(error)
        })?;
        let words: Vec<_> = state.split_whitespace().collect();
        if let ["true", pid, ..] = words.as_slice() {
            let none = |_| Error::infra(format!("`{}` reported no process of `{name}`", self.0));
            return pid.parse().map_err(none);
        }
        let why = match words.as_slice() {
            [_, _, _, "true"] => "was killed: out of memory".to_owned(),
            [_, _, code, ..] => format!("ended with exit code {code}"),
            _ => "is not running".to_owned(),
        };
        let last = match self.output(unique, 15) {
            Ok(last) if !last.is_empty() => format!("; its last output:\n{last}"),
            _ => String::new(),
        };
        let message = format!("the container of `{name}` {why}{last}");
        Err(Error::infra(message))
    }
}

/// Returns the engine's words with its error first: progress and warnings of a pull precede it.
fn error_first(words: &str) -> String {
    let is_error = |line: &str| ERRORS.iter().any(|mark| line.starts_with(mark));
    process::error_first(words, is_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headline_is_the_engines_error() {
        let pull = "Trying to pull localhost:9/none:latest...\n\
                    level=warning msg=\"failed, retrying in 1s ... (1/3)\"\n\
                    Error: initializing source: connection refused";
        let docker = "Unable to find image 'none' locally\n\
                      docker: Error response from daemon: no such host.\nSee 'docker run --help'.";
        for (words, first) in [
            (pull, "Error: initializing source: connection refused"),
            (docker, "docker: Error response from daemon: no such host."),
        ] {
            assert_eq!(error_first(words), format!("{first}\n{words}"));
        }
        for words in ["Error: no such container", "killed", ""] {
            assert_eq!(error_first(words), words);
        }
    }
}
