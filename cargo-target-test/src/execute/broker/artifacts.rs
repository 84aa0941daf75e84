//! Collects artifacts of an attempt from its instances into the run's folder: files, output of commands, the console.
//!
//! Must not know the reason that they are collected. Never fails: what cannot be taken is told.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read, Seek, Write as _},
    path::{Component, Path, PathBuf},
    time::Duration,
};

use target_fixtures::{
    metadata::{Artifact, CollectWhen, Metadata},
    wire::{Exit, Stream},
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::active_lease::ActiveLease;
use crate::{
    bounded,
    case::verdict::Verdict,
    connect::{CommandEvent, own_command, shell},
    error::one_line,
    execute::{health::CORES, plain_name},
    playbook::AroundTests,
    provision::Machine,
    run_event::CollectedArtifact,
    secret, sync, ui,
};

/// The maximum number of bytes per instance.
const SIZE: u64 = 64 << 20;
/// The time limit per instance; shorter than the wait for leases at the end of a run.
const TIME: Duration = Duration::from_secs(25);
/// The time limit for one artifact.
const ONE: Duration = Duration::from_secs(10);
/// The time limit for an instance to answer at all.
const ANSWER: Duration = Duration::from_secs(5);
/// The list of the artifacts, in their folder.
const LIST: &str = "collected.txt";

/// The artifacts of a case.
#[derive(Clone, Debug, Default)]
pub struct CaseArtifacts {
    /// Artifacts that are collected after every attempt.
    always: Vec<Artifact>,
    /// Artifacts that are collected after an attempt that did not pass.
    on_failure: Vec<Artifact>,
}

impl CaseArtifacts {
    /// The artifacts that a target and a test name.
    pub fn new(target: &AroundTests, test: &Metadata) -> Self {
        let mut all = Self::default();
        let test_when = test.collect_when.unwrap_or_default();
        let named = [
            (&target.collect, target.collect_when),
            (&test.collect, test_when),
        ];
        for (artifacts, when) in named {
            let list = match when {
                CollectWhen::Always => &mut all.always,
                CollectWhen::Failure => &mut all.on_failure,
            };
            list.extend(artifacts.iter().cloned());
        }
        all
    }

    /// Returns the artifacts to collect after an attempt with this verdict.
    pub(in crate::execute) fn after(&self, verdict: &Verdict) -> Vec<Artifact> {
        let on_failure = (!verdict.is_final()).then_some(&self.on_failure);
        let mut wanted = Vec::new();
        for artifact in self.always.iter().chain(on_failure.into_iter().flatten()) {
            if !wanted.contains(artifact) {
                wanted.push(artifact.clone());
            }
        }
        wanted
    }
}

/// Collects artifacts from all instances of a lease, in parallel, into a folder per instance, beside the captures of the
/// networks.
pub(super) async fn collect(
    held: &ActiveLease,
    wanted: &[Artifact],
    folder: &Path,
) -> Vec<CollectedArtifact> {
    let mut instances = JoinSet::new();
    let began = held
        .attempt
        .get()
        .map_or_else(Instant::now, |(_, began)| Instant::from_std(*began));
    // A capture is there already; without more, the machines are not asked.
    for machine in held.machines().filter(|_| !wanted.is_empty()) {
        let collecting = Collecting {
            machine: machine.clone(),
            folder: folder.join(machine.name()),
            began,
            deadline: Instant::now() + TIME,
            left: SIZE,
        };
        // In the list and in the folder, a file has the path that the test knows.
        let from = |artifact: &Artifact| match artifact {
            Artifact::Path(path) => held.path_on(machine.name(), path),
            Artifact::Command { command } => command.clone(),
        };
        let wanted: Vec<_> = wanted.iter().map(|one| (one.clone(), from(one))).collect();
        instances.spawn(async move { collecting.all(&wanted).await });
    }
    let mut collected = instances.join_all().await.concat();
    collected.extend(captures(held));
    collected.sort_by(|one, other| one.instance.cmp(&other.instance));
    let _ = std::fs::write(folder.join(LIST), list(&collected));
    for one in &collected {
        if let Some(error) = &one.error {
            let (instance, artifact) = (&one.instance, &one.artifact);
            ui::live(&format!("artifact `{artifact}` of {instance}: {error}"));
        }
    }
    collected
}

/// The files with the frames of networks.
fn captures(held: &ActiveLease) -> Vec<CollectedArtifact> {
    let said = held.said();
    let captures = said.captures.iter().map(|(network, file)| {
        let length = std::fs::metadata(file).map(|file| file.len());
        let name = file.file_name().unwrap_or_default();
        CollectedArtifact {
            instance: network.clone(),
            artifact: name.to_string_lossy().into_owned(),
            bytes: *length.as_ref().unwrap_or(&0),
            error: length.err().map(|error| error.to_string()),
        }
    });
    captures.collect()
}

/// Formats one line per artifact.
fn list(collected: &[CollectedArtifact]) -> String {
    let mut text = String::new();
    for one in collected {
        let (instance, artifact) = (&one.instance, &one.artifact);
        let _ = write!(text, "{instance}: {artifact}: {} bytes", one.bytes);
        let _ = match &one.error {
            Some(error) => writeln!(text, "; {error}"),
            None => writeln!(text),
        };
    }
    text
}

/// The collection from one instance.
struct Collecting {
    machine: Machine,
    folder: PathBuf,
    /// The start of the attempt.
    began: Instant,
    deadline: Instant,
    /// The number of bytes that may still be taken.
    left: u64,
}

/// The output of a command on the instance, in a file without a name.
struct Spooled {
    file: File,
    /// The reason that the output is incomplete, if it is.
    error: Option<String>,
}

impl Collecting {
    /// Takes artifacts, each with its path on the machine or its command.
    async fn all(mut self, wanted: &[(Artifact, String)]) -> Vec<CollectedArtifact> {
        let mut collected = Vec::new();
        if let Err(error) = fs_err::create_dir_all(&self.folder) {
            return vec![self.one("folder", Err(error.to_string()))];
        }
        if let Ok(text) = self.machine.console() {
            let written = fs_err::write(
                self.folder.join("console.log"),
                secret::redacted(&text).as_bytes(),
            );
            let written = written.map(|()| (text.len() as u64, None));
            collected.push(self.one("console", written.map_err(|error| error.to_string())));
        }
        let dead = self.machine.probe(ANSWER).await.err();
        for (artifact, from) in wanted {
            let taken = match (&dead, artifact) {
                (Some(dead), _) => Err(one_line(&dead.chain())),
                (None, Artifact::Path(path)) => self.path(from, path).await,
                (None, Artifact::Command { command }) => self.command(command).await,
            };
            let (Artifact::Path(text) | Artifact::Command { command: text }) = artifact;
            collected.push(self.one(text, taken));
        }
        if dead.is_none() {
            for core in self.cores().await {
                let taken = self.path(&core, &core).await;
                collected.push(self.one(&core, taken));
            }
        }
        collected
    }

    /// The paths of cores that were dumped since the attempt began, at most four.
    async fn cores(&mut self) -> Vec<String> {
        let minutes = self.began.elapsed().as_secs() / 60 + 1;
        let line = format!(
            "({CORES}) | while IFS= read -r f; do find \"$f\" -type f -mmin -{minutes}; done | head -n 4"
        );
        let Ok(Spooled { file, .. }) = self.spool(line, false).await else {
            return Vec::new();
        };
        let paths = bounded::read_all(file).unwrap_or_default();
        // A name that is no UTF-8 is not one of a core.
        let paths = String::from_utf8(paths).unwrap_or_default();
        paths.lines().map(str::to_owned).collect()
    }

    fn one(
        &self,
        artifact: &str,
        taken: Result<(u64, Option<String>), String>,
    ) -> CollectedArtifact {
        let (bytes, error) = taken.unwrap_or_else(|error| (0, Some(error)));
        let redacted = |text: &str| secret::redacted(text).into_owned();
        CollectedArtifact {
            instance: self.machine.name().to_owned(),
            artifact: redacted(artifact),
            bytes,
            error: error.as_deref().map(redacted),
        }
    }

    /// Takes a file, of which the end if it is too large, or the files below a folder. `path` is that in the folder.
    async fn path(&mut self, from: &str, path: &str) -> Result<(u64, Option<String>), String> {
        let quoted = shell::quote(from);
        // As root if that needs no password. The first letter of the output tells folders from files.
        let line = format!(
            "s=; [ \"$(id -u)\" = 0 ] || ! sudo -n true 2>/dev/null || s='sudo -n'\n\
             $s test -e {quoted} || {{ echo 'file or folder not found' >&2; exit 1; }}\n\
             if $s test -d {quoted}; then printf d; exec $s tar -cf - -C {quoted} .; fi\n\
             printf f; exec $s tail -c {} {quoted}",
            self.left
        );
        let Spooled { mut file, error } = self.spool(line, false).await?;
        let inside = Path::new(path).components();
        let inside = inside.filter(|part| matches!(part, Component::Normal(_)));
        let to = self.folder.join(inside.collect::<PathBuf>());
        let unpacked = sync::blocking(move || {
            let mut kind = [0];
            let filled = file.read(&mut kind)?;
            Ok(match (filled, kind) {
                (1, [b'd']) => unpack(file, &to),
                (1, _) => write_redacted(&mut file, &to),
                _ => (0, None),
            })
        });
        let (bytes, cut) = unpacked.await.map_err(|error| error.chain())?;
        match (bytes, error.or(cut)) {
            (0, Some(error)) => Err(error),
            (bytes, error) => Ok((bytes, error)),
        }
    }

    /// Takes the output of a command, both streams.
    async fn command(&mut self, command: &str) -> Result<(u64, Option<String>), String> {
        let Spooled { mut file, error } = self.spool(command.to_owned(), true).await?;
        let names = (1..).map(|number| match number {
            1 => format!("{}.txt", plain_name(command)),
            number => format!("{}-{number}.txt", plain_name(command)),
        });
        let mut paths = names.map(|name| self.folder.join(name));
        let Some(to) = paths.find(|path| !path.exists()) else {
            return Err("no free file name".to_owned());
        };
        let written = sync::blocking(move || Ok(write_redacted(&mut file, &to))).await;
        let (bytes, cut) = written.map_err(|error| error.chain())?;
        Ok((bytes, error.or(cut)))
    }

    /// Runs a command line and keeps what it writes until it ends or a limit is reached.
    async fn spool(&mut self, line: String, both: bool) -> Result<Spooled, String> {
        let now = Instant::now();
        let deadline = self.deadline.min(now + ONE);
        if deadline <= now || self.left == 0 {
            return Err("not collected: the instance's limit is reached".to_owned());
        }
        let file = tempfile::tempfile_in(&self.folder);
        let mut file = file.map_err(|error| error.to_string())?;
        let started = self.machine.start(&own_command(line, None), None).await;
        let mut running = started.map_err(|error| error.chain())?;
        let mut stderr = Vec::new();
        let error = loop {
            let bytes = match timeout_at(deadline, running.events.recv()).await {
                Err(_) => {
                    let limit = (deadline - now).as_secs_f32();
                    break Some(format!("stopped after {limit:.0} s"));
                }
                Ok(None) => break Some("its end is unknown".to_owned()),
                Ok(Some(CommandEvent::Lost(error))) => break Some(one_line(&error.chain())),
                Ok(Some(CommandEvent::Exited(Exit::Code(0)))) => break None,
                Ok(Some(CommandEvent::Exited(exit))) => {
                    let stderr = one_line(String::from_utf8_lossy(&stderr).trim());
                    break Some(match stderr.is_empty() {
                        true => exit.to_string(),
                        false => stderr,
                    });
                }
                Ok(Some(CommandEvent::Output(Stream::Stderr, bytes))) if !both => {
                    bounded::extend_tail(&mut stderr, &bytes);
                    continue;
                }
                Ok(Some(CommandEvent::Output(_, bytes))) => bytes,
            };
            let length = usize::try_from(self.left).unwrap_or(usize::MAX);
            let kept = &bytes[..bytes.len().min(length)];
            file.write_all(kept).map_err(|error| error.to_string())?;
            self.left -= kept.len() as u64;
            if self.left == 0 {
                break Some(format!("cut off: more than {} MiB", SIZE >> 20));
            }
        };
        file.rewind().map_err(|error| error.to_string())?;
        Ok(Spooled { file, error })
    }
}

/// Unpacks the files of a tar stream below a folder, without links and devices. Returns the number of bytes, and the
/// error that ended the stream, if any.
fn unpack(stream: File, folder: &Path) -> (u64, Option<String>) {
    let mut bytes = 0;
    let unpack = || -> io::Result<()> {
        for entry in tar::Archive::new(stream).entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            let is_inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
            if entry.header().entry_type().is_file() && path.components().all(is_inside) {
                let (written, error) = write_redacted(&mut entry, &folder.join(path));
                bytes += written;
                error.map_or(Ok(()), |error| Err(io::Error::other(error)))?;
            }
        }
        Ok(())
    };
    let error = unpack().err();
    (bytes, error.map(|error| error.to_string()))
}

/// Writes a stream to a file, without secrets. Returns the number of bytes, and the error that ended it, if any.
fn write_redacted(from: &mut impl Read, path: &Path) -> (u64, Option<String>) {
    let mut bytes = 0;
    let mut write = || -> io::Result<()> {
        fs_err::create_dir_all(path.parent().unwrap_or(path))?;
        let mut file = fs_err::File::create(path)?;
        let (mut redacted, mut piece) = (secret::stream(), vec![0; 64 << 10]);
        loop {
            let length = from.read(&mut piece)?;
            let shown = match length {
                0 => redacted.finish().into(),
                length => redacted.push(&piece[..length]),
            };
            file.write_all(&shown)?;
            bytes += shown.len() as u64;
            if length == 0 {
                return Ok(());
            }
        }
    };
    let error = write().err();
    (bytes, error.map(|error| error.to_string()))
}

#[cfg(test)]
mod tests {
    use target_fixtures::metadata::Metadata;

    use super::*;

    #[test]
    fn a_test_and_its_target_name_artifacts() {
        let path = |path: &str| Artifact::Path(path.to_owned());
        let target = AroundTests {
            collect: vec![path("/a"), path("/b")],
            ..AroundTests::default()
        };
        let test = Metadata {
            collect: vec![path("/b"), path("/c")],
            collect_when: Some(CollectWhen::Always),
            ..Metadata::default()
        };
        let all = CaseArtifacts::new(&target, &test);
        assert_eq!(all.after(&Verdict::Pass), [path("/b"), path("/c")]);
        assert_eq!(
            all.after(&Verdict::Fail),
            [path("/b"), path("/c"), path("/a")]
        );
        let nothing = CaseArtifacts::new(&target, &Metadata::default());
        assert!(nothing.after(&Verdict::Pass).is_empty());
    }

    #[test]
    fn a_tar_stream_leaves_its_folder_by_no_path_and_no_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut archive = tar::Builder::new(tempfile::tempfile().expect("a file"));
        let mut add = |name: &[u8], kind, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name);
            header.set_entry_type(kind);
            header.set_mode(0);
            header.set_size(content.len() as u64);
            if kind == tar::EntryType::Symlink {
                header.set_link_name("/etc").expect("a link");
            }
            header.set_cksum();
            archive.append(&header, content).expect("an entry");
        };
        add(b"./in/a", tar::EntryType::Regular, b"content");
        add(b"../out", tar::EntryType::Regular, b"content");
        add(b"./etc", tar::EntryType::Symlink, b"");
        let mut stream = archive.into_inner().expect("an archive");
        stream.rewind().expect("the start");
        let to = folder.path().join("to");
        let (bytes, error) = unpack(stream, &to);
        assert_eq!((bytes, error), (7, None));
        let text = std::fs::read_to_string(to.join("in/a"));
        assert_eq!(text.expect("a file"), "content");
        assert!(!folder.path().join("out").exists() && !to.join("etc").exists());
    }
}
