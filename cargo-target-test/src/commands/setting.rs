//! Where a command runs: the workspace, its playbook, the platforms and the pool's folder.
//!
//! Owns how these are found. Must not build, lock or deploy anything: a mistake in the playbook shows
//! before any of that.

mod wanted;

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
};

use tempfile::TempDir;

use crate::{
    cli::{Global, NextestArgs},
    error::{Error, ErrorKind, Result},
    playbook::{self, Playbook},
    process,
    provision::{platform::Platforms, pool},
};

/// How the names of private folders start.
const PRIVATE: &str = "target-test-";
/// How many letters follow.
const RANDOM: usize = 6;

/// A workspace and its resolved playbook.
pub struct Setting {
    /// The workspace's root folder.
    pub workspace: PathBuf,
    /// The playbook.
    pub playbook: Playbook,
    /// The tool's platforms.
    pub platforms: Platforms,
}

impl Setting {
    /// Finds the workspace, finds and reads the playbook.
    ///
    /// # Errors
    /// [`ErrorKind::Playbook`] for whatever is wrong with the playbook, [`ErrorKind::Build`] for what Cargo
    /// refuses.
    pub fn find(platforms: &Platforms, global: &Global, nextest: &NextestArgs) -> Result<Self> {
        // An explicit playbook that is wrong is refused even where there is no workspace.
        if let Some(path) = &global.playbook {
            playbook::load(Some(path), &global.set, &platforms.syntax())?;
        }
        let mut command = metadata_command(nextest, None);
        command.no_deps();
        Self::of(platforms, global, &output(command)?)
    }

    /// The same, for a package's folder.
    ///
    /// # Errors
    /// As [`Setting::find`].
    pub fn of_package(platforms: &Platforms, global: &Global, directory: &Path) -> Result<Self> {
        let mut command = cargo_metadata::MetadataCommand::new();
        command.no_deps().current_dir(directory);
        Self::of(platforms, global, &output(command)?)
    }

    fn of(platforms: &Platforms, global: &Global, cargo_metadata: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(cargo_metadata);
        let metadata = cargo_metadata::MetadataCommand::parse(text).map_err(|error| {
            Error::new(ErrorKind::Build, "cannot read what `cargo metadata` says")
                .with_source(error)
        })?;
        let workspace = metadata.workspace_root.into_std_path_buf();
        let path = playbook::find(
            global.playbook.as_deref(),
            &workspace,
            &metadata.workspace_metadata,
        )?;
        let playbook = playbook::load(path.as_deref(), &global.set, &platforms.syntax())?;
        Ok(Self {
            workspace,
            playbook,
            platforms: platforms.clone(),
        })
    }
}

/// The pool's folder: `--pool`, or one for each user.
///
/// # Errors
/// When there is neither `--pool`, `XDG_STATE_HOME` nor `HOME`.
pub fn pool_directory(global: &Global) -> Result<PathBuf> {
    if let Some(pool) = &global.pool {
        return Ok(std::path::absolute(pool)?);
    }
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    pool::default_directory(variable("XDG_STATE_HOME"), variable("HOME"))
}

/// The workspace that the current folder belongs to, without asking Cargo: nothing may be readable.
pub fn workspace_by_lock_file() -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    let marked = |name: &str| here.ancestors().find(|folder| folder.join(name).is_file());
    let root = marked("Cargo.lock").or_else(|| marked("Cargo.toml"));
    Ok(root.unwrap_or(&here).to_owned())
}

/// The folder of one run's own files; gone with this value, or, where a run was killed, when a later one
/// starts.
pub struct Private {
    directory: TempDir,
    /// Held for as long as the run lives.
    _lock: std::fs::File,
}

impl Private {
    /// Its path.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// A private folder with a short path: a socket's path has at most 108 bytes.
///
/// # Errors
/// When it cannot be made.
pub fn private_directory() -> Result<Private> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let fits = |path: &PathBuf| path.is_dir() && path.as_os_str().len() < 60;
    let parent = runtime
        .filter(fits)
        .unwrap_or_else(|| PathBuf::from("/tmp"));
    sweep_private(&parent);
    let directory = tempfile::Builder::new()
        .prefix(PRIVATE)
        .rand_bytes(RANDOM)
        .tempdir_in(parent)?;
    let new = directory.path().join("lock.new");
    let lock = fs_err::File::create(&new)?.into_parts().0;
    lock.lock()?;
    // Only now may others find it: it is never seen unlocked while its run lives.
    fs_err::rename(new, directory.path().join("lock"))?;
    Ok(Private {
        directory,
        _lock: lock,
    })
}

/// Removes the private folders of runs that were killed.
fn sweep_private(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        if !is_private(&entry) {
            continue;
        }
        let lock = std::fs::File::open(entry.path().join("lock"));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether this is a folder of ours: anybody can put anything into `/tmp`, a pipe that never opens too.
fn is_private(entry: &std::fs::DirEntry) -> bool {
    let name = entry.file_name();
    let random = name.to_str().and_then(|name| name.strip_prefix(PRIVATE));
    random.is_some_and(|random| random.len() == RANDOM)
        && entry
            .metadata()
            .is_ok_and(|data| data.is_dir() && data.uid() == rustix::process::geteuid().as_raw())
}

/// Short, since it is part of every lease's mark, and unlike any other's.
pub fn run_id() -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    format!("{:x}-{:x}", now.as_micros(), std::process::id())
}

/// All that Cargo says of the workspace and its dependencies, asked while the caller does something else: to be
/// joined.
pub fn cargo_metadata(nextest: &NextestArgs) -> thread::JoinHandle<Result<Vec<u8>>> {
    let nextest = nextest.clone();
    thread::spawn(move || {
        let mut command = metadata_command(&nextest, triple(&nextest));
        command.features(cargo_metadata::CargoOpt::AllFeatures);
        output(command)
    })
}

/// For which nextest asks too: packages that only others need may not be here. `None`: it is not easily told.
fn triple(nextest: &NextestArgs) -> Option<String> {
    if nextest.has("config") {
        return None;
    }
    let target = nextest.value("target").and_then(|target| target.to_str());
    let config = cargo_config2::Config::load().ok()?;
    let triples = config.build_target_for_config(target).ok()?;
    let triple = triples.first().filter(|one| one.spec_path().is_none())?;
    Some(triple.triple().to_owned())
}

/// What [`cargo_metadata()`] came to.
///
/// # Errors
/// [`ErrorKind::Build`] for what Cargo refuses.
pub fn joined(asked: thread::JoinHandle<Result<Vec<u8>>>) -> Result<Vec<u8>> {
    let ended = |_| Error::new(ErrorKind::Other, "asking `cargo metadata` ended early");
    asked.join().map_err(ended)?
}

fn metadata_command(
    nextest: &NextestArgs,
    triple: Option<String>,
) -> cargo_metadata::MetadataCommand {
    let mut command = cargo_metadata::MetadataCommand::new();
    let flags = ["locked", "offline", "frozen"]
        .into_iter()
        .filter(|flag| nextest.has(flag))
        .map(|flag| format!("--{flag}"));
    let filter = triple.map(|triple| format!("--filter-platform={triple}"));
    command.other_options(flags.chain(filter).collect::<Vec<_>>());
    if let Some(path) = nextest.value("manifest-path") {
        command.manifest_path(path);
    }
    command
}

fn output(command: cargo_metadata::MetadataCommand) -> Result<Vec<u8>> {
    let output = process::output(command.cargo_command())?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let text = text.trim().trim_start_matches("error: ");
    Err(Error::new(
        ErrorKind::Build,
        format!("failed to read the workspace: {text}"),
    ))
}
