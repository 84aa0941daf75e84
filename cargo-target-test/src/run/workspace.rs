//! Finds the workspace that a command runs in, its playbook and the pool's folder.
//!
//! Must not build, lock or deploy: errors in the playbook are reported before any of that.

mod wanted;

use std::path::{Path, PathBuf};

use crate::{
    cli::{Global, NextestArgs},
    error::{Error, ErrorKind, Result, one_line},
    playbook::{self, PlatformSyntax, Playbook},
    process,
    provision::{platform::Platforms, pool},
    ui,
};

/// A workspace and its resolved playbook.
pub struct Workspace {
    /// The workspace's root folder.
    pub root: PathBuf,
    /// Cargo's target directory, absolute.
    pub target_directory: PathBuf,
    /// The playbook.
    pub playbook: Playbook,
    /// The path of the playbook on the command line, if it is there.
    pub typed_playbook: Option<PathBuf>,
    /// The unchanged output of `cargo metadata`.
    pub cargo_metadata: Vec<u8>,
    /// The tool's platforms.
    pub platforms: Platforms,
}

impl Workspace {
    /// Finds the workspace without its dependencies, and reads its playbook. Outside a workspace, the current folder
    /// takes its place.
    ///
    /// # Errors
    /// [`ErrorKind::Playbook`](crate::ErrorKind::Playbook) for an invalid playbook, [`ErrorKind::Build`](crate::ErrorKind::Build) for a workspace that Cargo rejects.
    pub fn find(platforms: &Platforms, global: &Global) -> Result<Self> {
        Self::find_by(platforms, global, playbook::load)
    }

    /// As [`Workspace::find`], but with the embedded playbook in place of an invalid one, of which only the path of the
    /// history is used. Warns of it.
    ///
    /// # Errors
    /// As [`Workspace::find`], except for an invalid playbook.
    pub fn find_for_history(platforms: &Platforms, global: &Global) -> Result<Self> {
        Self::find_by(platforms, global, load_for_history)
    }

    fn find_by(platforms: &Platforms, global: &Global, load: Load) -> Result<Self> {
        if !is_in_package()? {
            return Self::without_cargo(platforms, global, load);
        }
        let mut command = cargo_metadata::MetadataCommand::new();
        command.no_deps();
        let here = std::env::current_dir()?;
        Self::of(platforms, global, &command, &here, load)
    }

    /// Reads the playbook of the current folder, which is in no workspace.
    fn without_cargo(platforms: &Platforms, global: &Global, load: Load) -> Result<Self> {
        let root = std::env::current_dir()?;
        let path = playbook::find(
            global.playbook.as_deref(),
            &root,
            &root,
            &serde_json::Value::Null,
        )?;
        Ok(Self {
            playbook: load(path.as_deref(), &global.set, &platforms.syntax())?,
            target_directory: root.join("target"),
            cargo_metadata: Vec::new(),
            typed_playbook: global.typed_playbook().map(Path::to_owned),
            platforms: platforms.clone(),
            root,
        })
    }

    /// Finds the workspace for a build with these options: `cargo_metadata` includes its dependencies.
    ///
    /// # Errors
    /// See [`Workspace::find`].
    pub fn with_dependencies(
        platforms: &Platforms,
        global: &Global,
        nextest: &NextestArgs,
    ) -> Result<Self> {
        let here = std::env::current_dir()?;
        let manifest = nextest.value("manifest-path").map(|path| here.join(path));
        let folder = manifest.as_deref().and_then(Path::parent).unwrap_or(&here);
        let command = metadata_command(nextest);
        Self::of(platforms, global, &command, folder, playbook::load)
    }

    /// Finds the workspace of a package's folder without its dependencies.
    ///
    /// # Errors
    /// See [`Workspace::find`].
    pub fn of_package(platforms: &Platforms, global: &Global, directory: &Path) -> Result<Self> {
        // `TARGET_TEST_PLAYBOOK` names it, for a test that knows nothing of our command line.
        playbook::find(
            global.playbook.as_deref(),
            directory,
            directory,
            &serde_json::Value::Null,
        )?;
        let mut command = cargo_metadata::MetadataCommand::new();
        command.no_deps().current_dir(directory);
        Self::of(platforms, global, &command, directory, playbook::load)
    }

    /// Returns the parsed output of `cargo metadata`.
    ///
    /// # Errors
    /// [`ErrorKind::Build`](crate::ErrorKind::Build) outside a workspace.
    pub fn metadata(&self) -> Result<cargo_metadata::Metadata> {
        parsed(&self.cargo_metadata)
    }

    fn of(
        platforms: &Platforms,
        global: &Global,
        command: &cargo_metadata::MetadataCommand,
        folder: &Path,
        load: Load,
    ) -> Result<Self> {
        let load = |path: Option<&Path>| load(path, &global.set, &platforms.syntax());
        // An invalid explicit playbook is rejected even outside a workspace.
        let explicit = global.playbook.as_deref();
        let explicit = explicit.map(|path| load(Some(path))).transpose()?;
        let cargo_metadata = output(command)?;
        let metadata = parsed(&cargo_metadata)?;
        let root = metadata.workspace_root.into_std_path_buf();
        let target_directory = metadata.target_directory.into_std_path_buf();
        let playbook = match explicit {
            Some(playbook) => playbook,
            None => {
                let path = playbook::find(None, folder, &root, &metadata.workspace_metadata)?;
                load(path.as_deref())?
            }
        };
        Ok(Self {
            root,
            target_directory,
            playbook,
            typed_playbook: global.typed_playbook().map(Path::to_owned),
            cargo_metadata,
            platforms: platforms.clone(),
        })
    }
}

/// A function as [`playbook::load`].
type Load = fn(Option<&Path>, &[String], &[&dyn PlatformSyntax]) -> Result<Playbook>;

/// Loads a playbook of which only the path of the history must be valid.
fn load_for_history(
    path: Option<&Path>,
    sets: &[String],
    platforms: &[&dyn PlatformSyntax],
) -> Result<Playbook> {
    playbook::load(path, sets, platforms).or_else(|error| {
        let (Some(path), ErrorKind::Playbook) = (path, error.kind()) else {
            return Err(error);
        };
        let error = one_line(&error.chain());
        ui::warn(format!(
            "the playbook is invalid, only its path of the history is used: {error}"
        ));
        let mut embedded = playbook::load(None, &[], platforms)?;
        embedded.history.path = playbook::history_path(path);
        Ok(embedded)
    })
}

fn parsed(cargo_metadata: &[u8]) -> Result<cargo_metadata::Metadata> {
    let text = String::from_utf8_lossy(cargo_metadata);
    cargo_metadata::MetadataCommand::parse(text).map_err(|error| {
        let message = "failed to read the output of `cargo metadata`";
        Error::build(message).with_source(error)
    })
}

/// Returns the pool's folder: `--pool`, or the user's default.
///
/// # Errors
/// Fails if none of `--pool`, `XDG_STATE_HOME` and `HOME` is set.
pub fn pool_directory(global: &Global) -> Result<PathBuf> {
    if let Some(pool) = &global.pool {
        return Ok(std::path::absolute(pool)?);
    }
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    pool::default_directory(variable("XDG_STATE_HOME"), variable("HOME"))
}

/// Returns Cargo's target directory of the current folder's workspace, without reading a playbook.
///
/// # Errors
/// [`ErrorKind::Build`](crate::ErrorKind::Build) for a workspace that Cargo rejects.
pub fn target_directory() -> Result<PathBuf> {
    if !is_in_package()? {
        return Ok(std::env::current_dir()?.join("target"));
    }
    let mut command = cargo_metadata::MetadataCommand::new();
    let metadata = parsed(&output(command.no_deps())?)?;
    Ok(metadata.target_directory.into_std_path_buf())
}

/// True if the current folder or a folder above has a manifest.
fn is_in_package() -> Result<bool> {
    let here = std::env::current_dir()?;
    Ok(here
        .ancestors()
        .any(|folder| folder.join("Cargo.toml").exists()))
}

/// Finds the workspace of the current folder without Cargo, in case manifests cannot be read.
pub fn workspace_by_lock_file() -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    let marked = |name: &str| here.ancestors().find(|folder| folder.join(name).is_file());
    let root = marked("Cargo.lock").or_else(|| marked("Cargo.toml"));
    Ok(root.unwrap_or(&here).to_owned())
}

/// Returns the triple that nextest filters dependencies by: dependencies of other triples may not be downloaded.
/// `None` if the triple is not easily determined.
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

fn metadata_command(nextest: &NextestArgs) -> cargo_metadata::MetadataCommand {
    let mut command = cargo_metadata::MetadataCommand::new();
    let flags = ["locked", "offline", "frozen"]
        .into_iter()
        .filter(|flag| nextest.has(flag))
        .map(|flag| format!("--{flag}"));
    let filter = triple(nextest).map(|triple| format!("--filter-platform={triple}"));
    command.other_options(flags.chain(filter).collect::<Vec<_>>());
    command.features(cargo_metadata::CargoOpt::AllFeatures);
    if let Some(path) = nextest.value("manifest-path") {
        command.manifest_path(path);
    }
    command
}

fn output(command: &cargo_metadata::MetadataCommand) -> Result<Vec<u8>> {
    let output = process::Spawn::new(command.cargo_command()).output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let text = text.trim().trim_start_matches("error: ");
    Err(Error::build(format!(
        "failed to read the workspace: {text}"
    )))
}
