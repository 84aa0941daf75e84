//! The files that nextest's calls read: Cargo's metadata, the binaries, and the runner's listing of each binary.
//!
//! The runner finds a listing by the binary's path alone, so that listing 100,000 cases reads one file per binary.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use nextest_metadata::{
    BinaryListSummary, BuildPlatform, RustBinaryId, RustTestBinaryKind, RustTestBinarySummary,
    TestListSummary,
};
use sha2::{Digest, Sha256};

use crate::{
    case::DEPLOY_BINARY,
    digest,
    error::{Error, Result},
};

/// The file that replaces the user's nextest configuration.
const USERS_CONFIG: &str = "users-nextest.toml";

/// The listing that the runner answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StagedListing {
    /// All cases; nextest chooses.
    All,
    /// The chosen cases and the deploy entries they need.
    Chosen,
}

/// The staged files of one run.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The folder of the files that all parts of a run share.
    shared: PathBuf,
    /// The folder of the files of this part.
    directory: PathBuf,
    runner: Vec<String>,
    triples: Vec<String>,
}

/// Listed tests by binary, as (name, ignored).
pub type Names = BTreeMap<PathBuf, Vec<(String, bool)>>;

impl Stage {
    /// Stages the built binaries. `runner` is the command line before the binary, without the listing.
    ///
    /// # Errors
    /// Fails if the files cannot be written.
    pub fn new(
        directory: &Path,
        cargo_metadata: &[u8],
        summary: &TestListSummary,
        runner: Vec<String>,
    ) -> Result<Self> {
        fs_err::write(directory.join("cargo-metadata.json"), cargo_metadata)?;
        let stage = Self {
            shared: directory.to_owned(),
            directory: directory.to_owned(),
            runner,
            triples: triples(summary),
        };
        stage.write_binaries(StagedListing::All, binaries(summary, |_| true))?;
        Ok(stage)
    }

    /// Returns the stage of one of several parallel nextest runs, and creates its folder.
    ///
    /// # Errors
    /// Fails if the folder cannot be created.
    pub fn part(&self, number: usize) -> Result<Self> {
        let directory = self.shared.join(format!("part-{number}"));
        fs_err::create_dir_all(&directory)?;
        Ok(Self {
            directory,
            ..self.clone()
        })
    }

    /// Replaces the user's nextest configuration.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn replace_users_config(&self, text: &str) -> Result<()> {
        Ok(fs_err::write(self.directory.join(USERS_CONFIG), text)?)
    }

    /// Returns the file that replaces the user's nextest configuration, if any.
    pub(super) fn users_config(&self) -> Option<PathBuf> {
        let file = self.directory.join(USERS_CONFIG);
        file.exists().then_some(file)
    }

    /// Stages the runner's listing for choosing.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub fn list_all(&self, names: &Names) -> Result<()> {
        self.write_listing(StagedListing::All, names)
    }

    /// Stages the runner's listing for the run: the chosen cases, and deploy entries as an additional binary of any
    /// package of the workspace.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub fn list_chosen(
        &self,
        summary: &TestListSummary,
        names: &Names,
        deploys: Vec<String>,
    ) -> Result<()> {
        let mut names = names.clone();
        let mut chosen = binaries(summary, |binary| {
            names.contains_key(binary.binary_path.as_std_path())
        });
        if let (false, Some(any)) = (deploys.is_empty(), summary.rust_suites.values().next()) {
            let mut binary = any.binary.clone();
            binary.binary_id = RustBinaryId::new(DEPLOY_BINARY);
            binary.binary_name = DEPLOY_BINARY.trim_start_matches('@').to_owned();
            binary.kind = RustTestBinaryKind::TEST;
            binary.build_platform = BuildPlatform::Target;
            binary.binary_path = self.deploy_binary()?.try_into().map_err(not_utf8)?;
            names.insert(
                binary.binary_path.clone().into(),
                deploys.into_iter().map(|name| (name, false)).collect(),
            );
            chosen
                .rust_binaries
                .insert(binary.binary_id.clone(), binary);
        }
        self.write_binaries(StagedListing::Chosen, chosen)?;
        self.write_listing(StagedListing::Chosen, &names)
    }

    /// Returns the file that stands for the binary of deploy entries, and creates the file on first use.
    ///
    /// # Errors
    /// Fails if the file cannot be created.
    pub fn deploy_binary(&self) -> Result<PathBuf> {
        let path = self.shared.join(DEPLOY_BINARY);
        if !path.exists() {
            fs_err::os::unix::fs::symlink(std::env::current_exe()?, &path)?;
        }
        Ok(path)
    }

    /// Returns the triple that tests are built for.
    pub fn triple(&self) -> &str {
        self.triples.last().map_or("", String::as_str)
    }

    /// Returns the path of the tool configuration.
    pub fn tool_config(&self) -> PathBuf {
        self.directory.join("nextest.toml")
    }

    /// Returns nextest's arguments for this stage.
    pub fn arguments(&self, listing: StagedListing) -> Vec<OsString> {
        let file = |name: &str| self.directory.join(name).into_os_string();
        let mut arguments = vec![
            "--cargo-metadata".into(),
            self.shared.join("cargo-metadata.json").into(),
            "--binaries-metadata".into(),
            file(&format!("binaries-{}.json", folder(listing))),
        ];
        let mut runner = self.runner.clone();
        runner.push(self.listing(listing).to_string_lossy().into_owned());
        let runner = toml::Value::from(runner);
        for triple in &self.triples {
            arguments.push("--config".into());
            arguments.push(format!("target.{triple}.runner={runner}").into());
        }
        if listing == StagedListing::Chosen {
            arguments.push("--tool-config-file".into());
            let mut value = OsString::from("target-test:");
            value.push(self.tool_config());
            arguments.push(value);
        }
        arguments
    }

    fn listing(&self, listing: StagedListing) -> PathBuf {
        self.directory.join(folder(listing))
    }

    fn write_listing(&self, listing: StagedListing, names: &Names) -> Result<()> {
        let folder = self.listing(listing);
        fs_err::create_dir_all(&folder)?;
        for (binary, names) in names {
            for ignored in [false, true] {
                let mut text = String::new();
                // The cases of the run are already chosen, so none of them is listed as ignored.
                let shown = |flag: bool| (listing == StagedListing::All && flag) == ignored;
                for (name, _) in names.iter().filter(|(_, flag)| shown(*flag)) {
                    let _ = writeln!(text, "{name}: test");
                }
                fs_err::write(folder.join(listing_file(binary, ignored)), text)?;
            }
        }
        Ok(())
    }

    fn write_binaries(&self, listing: StagedListing, summary: BinaryListSummary) -> Result<()> {
        let path = self
            .directory
            .join(format!("binaries-{}.json", folder(listing)));
        let text = serde_json::to_vec(&summary).map_err(|error| Error::other(error.to_string()))?;
        Ok(fs_err::write(path, text)?)
    }
}

/// Returns the name of a binary's file in a listing's folder.
pub fn listing_file(binary: &Path, ignored: bool) -> String {
    let digest = Sha256::digest(binary.as_os_str().as_encoded_bytes());
    let name = digest::hex(&digest[..12]);
    match ignored {
        true => format!("{name}-ignored"),
        false => name,
    }
}

fn folder(listing: StagedListing) -> &'static str {
    match listing {
        StagedListing::All => "all",
        StagedListing::Chosen => "chosen",
    }
}

fn binaries(
    summary: &TestListSummary,
    keep: impl Fn(&RustTestBinarySummary) -> bool,
) -> BinaryListSummary {
    let binaries = summary.rust_suites.values().map(|suite| &suite.binary);
    let kept = binaries.filter(|binary| keep(binary));
    BinaryListSummary {
        rust_build_meta: summary.rust_build_meta.clone(),
        rust_binaries: kept
            .map(|binary| (binary.binary_id.clone(), binary.clone()))
            .collect(),
    }
}

/// Returns the triples for which to set the runner. nextest uses the host's runner too.
fn triples(summary: &TestListSummary) -> Vec<String> {
    let mut triples = Vec::new();
    if let Some(platforms) = &summary.rust_build_meta.platforms {
        triples.push(platforms.host.platform.triple.clone());
        triples.extend(
            platforms
                .targets
                .iter()
                .map(|target| target.platform.triple.clone()),
        );
    }
    triples.dedup();
    triples
}

fn not_utf8(path: camino::FromPathBufError) -> Error {
    Error::other(format!("`{}` is not UTF-8", path.as_path().display()))
}
