//! Builds binaries of the workspace with Cargo.
//!
//! Must not know tests or instances.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use cargo_metadata::Message;

use crate::{
    error::{Error, Result},
    process,
};

/// The folder below Cargo's target directory of builds that differ from those of the tests.
const APART: &str = "target-test-programs";
/// The maximum number of lines of Cargo's output in a message.
const LINES: usize = 20;

/// A binary of the workspace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BinaryId {
    /// The package id of Cargo.
    pub(super) package: String,
    /// The name of the binary.
    pub(super) name: String,
}

/// The form in which a binary is built.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum BuildForm {
    /// As the tests are.
    AsTests,
    /// For a triple, in a folder of its own.
    For(String),
    /// Linked statically for a triple, in a folder of its own: with the flags for it, Cargo would build everything anew.
    Static(String),
}

/// The options of Cargo that the tests are built with.
#[derive(Clone, Debug, Default)]
pub struct CargoBuild {
    /// The folder in which Cargo is started.
    pub directory: PathBuf,
    /// Cargo's target directory.
    pub target_directory: PathBuf,
    /// The options of `cargo build`, without `--target`.
    pub options: Vec<OsString>,
    /// The value of `--target`, if the tests are built with it.
    pub triple: Option<OsString>,
}

/// The destination of Cargo's messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Messages {
    /// Standard error.
    Shown,
    /// The error, if there is one.
    Kept,
}

impl CargoBuild {
    /// Builds binaries, and returns their paths.
    ///
    /// # Errors
    /// [`ErrorKind::Build`](crate::ErrorKind::Build) if Cargo fails.
    pub(super) fn build<'a>(
        &self,
        binaries: &[&'a BinaryId],
        form: &BuildForm,
        messages: Messages,
    ) -> Result<Vec<(&'a BinaryId, PathBuf)>> {
        let mut build = process::Spawn::new(self.command(binaries, form)?);
        if messages == Messages::Shown {
            build = build.shows_errors();
        }
        let output = build.output()?;
        if !output.status.success() {
            let names: Vec<_> = binaries.iter().map(|one| one.name.as_str()).collect();
            let said = String::from_utf8_lossy(&output.stderr);
            let lines: Vec<_> = said.trim_end().lines().collect();
            let end = lines[lines.len().saturating_sub(LINES)..].join("\n");
            let message = format!(
                "failed to build `{}`{}: cargo {}\n{end}",
                names.join("`, `"),
                form.shown(),
                process::ending(output.status),
            );
            return Err(Error::build(message.trim_end()));
        }
        let mut built = Vec::new();
        for message in Message::parse_stream(&output.stdout[..]) {
            let Message::CompilerArtifact(artifact) = message? else {
                continue;
            };
            let is_it = |one: &&&BinaryId| {
                one.name == artifact.target.name && one.package == artifact.package_id.repr
            };
            if let (Some(one), Some(path)) = (binaries.iter().find(is_it), artifact.executable) {
                built.push((*one, path.into_std_path_buf()));
            }
        }
        Ok(built)
    }

    fn command(&self, binaries: &[&BinaryId], form: &BuildForm) -> Result<Command> {
        let mut command = process::command(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        command.current_dir(&self.directory).stdin(Stdio::null());
        command.args(["build", "--message-format=json-render-diagnostics"]);
        command.args(&self.options);
        for binary in binaries {
            command.args(["--package", &binary.package, "--bin", &binary.name]);
        }
        let apart = self.target_directory.join(APART);
        match form {
            BuildForm::AsTests => {
                command.arg("--target-dir").arg(&self.target_directory);
                if let Some(triple) = &self.triple {
                    command.arg("--target").arg(triple);
                }
            }
            BuildForm::For(triple) => {
                command.arg("--target-dir").arg(apart.join("dynamic"));
                command.args(["--target", triple]);
            }
            BuildForm::Static(triple) => {
                command.arg("--target-dir").arg(apart.join("static"));
                command.args(["--target", triple]);
                command.env("CARGO_ENCODED_RUSTFLAGS", self.static_flags(triple)?);
            }
        }
        Ok(command)
    }

    /// Returns the user's flags for a triple with the one that links statically, encoded.
    fn static_flags(&self, triple: &str) -> Result<String> {
        let wrong = |error: cargo_config2::Error| {
            Error::build("failed to read Cargo's configuration").with_source(error)
        };
        let config = cargo_config2::Config::load_with_cwd(&self.directory).map_err(wrong)?;
        let flags = config.rustflags(triple).map_err(wrong)?;
        let mut flags = flags.map(|flags| flags.flags).unwrap_or_default();
        flags.push("-Ctarget-feature=+crt-static".to_owned());
        Ok(flags.join("\x1f"))
    }
}

impl BuildForm {
    /// The form in messages: ` for x86_64-unknown-linux-musl`.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::AsTests => String::new(),
            Self::For(triple) => format!(" for {triple}"),
            Self::Static(triple) => format!(" statically for {triple}"),
        }
    }
}

/// True if the standard library of a triple is installed, for the toolchain of a folder.
pub(super) fn has_std(triple: &str, directory: &Path) -> bool {
    let mut command = process::command(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
    command.args(["--print", "target-libdir", "--target", triple]);
    command.current_dir(directory);
    let output = process::Spawn::new(command).output();
    output.is_ok_and(|output| {
        let path = String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned();
        output.status.success() && Path::new(&path).is_dir()
    })
}
