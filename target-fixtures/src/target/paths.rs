//! The methods of [`Target`] for paths, named as in [`std::fs`], and temporary folders.
//!
//! Must not transfer content (see `files`).

use std::{fmt, path::Path};

use super::{File, Output, Result, Target, files::on_instance};
use crate::{
    error::{ErrorKind, Placed, TargetError},
    wire::Exit,
};

/// A temporary folder on an instance, from [`Target::temp_dir`]. Dropping it removes it, with its content.
#[derive(Debug)]
#[must_use = "dropping it removes the folder"]
pub struct TempDir {
    target: Target,
    path: String,
}

impl TempDir {
    /// The absolute path of the folder.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path of a file or folder in it.
    #[must_use]
    pub fn join(&self, name: impl fmt::Display) -> String {
        format!("{}/{name}", self.path)
    }
}

/// The path of the folder.
impl AsRef<Path> for TempDir {
    fn as_ref(&self) -> &Path {
        Path::new(&self.path)
    }
}

/// The path of the folder.
impl fmt::Display for TempDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // An instance that was lost has nothing left to remove.
        let _ = self.target.remove_dir_all(self.path.as_str());
    }
}

impl Target {
    /// True if there is a file of any kind at the path. Follows symbolic links.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] if the instance is lost.
    #[track_caller]
    pub fn exists(&self, path: impl AsRef<Path>) -> Result<bool> {
        let line = "[ -e \"$1\" ] || exit 9";
        match self.on_path("look for", path.as_ref(), line)? {
            Ok(_) => Ok(true),
            Err(Failed {
                exit: Exit::Code(9),
                ..
            }) => Ok(false),
            Err(failed) => Err(failed.error.placed()),
        }
    }

    /// Returns the file at the path, after following symbolic links. [`file`](Self::file) does not follow them.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if there is none.
    #[track_caller]
    pub fn metadata(&self, path: impl AsRef<Path>) -> Result<File> {
        let path = path.as_ref();
        let line = "[ -e \"$1\" ] || { echo 'no such file' >&2; exit 1; }; readlink -f \"$1\"";
        let found = self.on_path("read metadata of", path, line)?;
        let real = found.map_err(|failed| failed.error).placed()?.stdout;
        let real = real.strip_suffix('\n').unwrap_or(&real);
        self.file(real)?.ok_or_else(|| {
            let what = format!(
                "read metadata of `{}` on `{}`",
                path.display(),
                self.instance()
            );
            TargetError::new(ErrorKind::Request, format!("{what}: no such file"))
        })
    }

    /// Creates a folder, and the folders above it that are missing. A folder that exists is left as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if it cannot be created.
    #[track_caller]
    pub fn create_dir_all(&self, path: impl AsRef<Path>) -> Result<()> {
        self.done_on_path("create folder", path.as_ref(), "mkdir -p \"$1\"")
    }

    /// Removes a file or a symbolic link.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if there is none, or if it is a folder.
    #[track_caller]
    pub fn remove_file(&self, path: impl AsRef<Path>) -> Result<()> {
        self.done_on_path("remove", path.as_ref(), "rm \"$1\"")
    }

    /// Removes a folder with its content.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if there is none, or if something in it cannot be removed.
    #[track_caller]
    pub fn remove_dir_all(&self, path: impl AsRef<Path>) -> Result<()> {
        self.done_on_path("remove folder", path.as_ref(), "rm -r \"$1\"")
    }

    /// Returns the sorted names of what is in a folder.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if it is no folder, or cannot be read.
    #[track_caller]
    pub fn read_dir(&self, path: impl AsRef<Path>) -> Result<Vec<String>> {
        // Names can contain newlines.
        let line = "cd \"$1\" && [ -r . ] || exit 1; \
             for f in * .[!.]* ..?*; do if [ -e \"$f\" ] || [ -L \"$f\" ]; then printf '%s\\0' \"$f\"; fi; done";
        let found = self.on_path("list folder", path.as_ref(), line)?;
        let output = found.map_err(|failed| failed.error).placed()?;
        let names = output.stdout.split_terminator('\0');
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    /// Creates an empty temporary folder, which only the login user can use. It is removed when the value is dropped; if
    /// the test is killed, it stays.
    ///
    /// # Errors
    /// [`ErrorKind::Request`] if it cannot be created.
    #[track_caller]
    pub fn temp_dir(&self) -> Result<TempDir> {
        let made = self.on_path(
            "create a temporary folder in",
            Path::new("/tmp"),
            "mktemp -d",
        )?;
        let output = made.map_err(|failed| failed.error).placed()?;
        Ok(TempDir {
            target: self.clone(),
            path: output.stdout.trim_end().to_owned(),
        })
    }

    #[track_caller]
    fn done_on_path(&self, what: &str, path: &Path, line: &str) -> Result<()> {
        let done = self.on_path(what, path, line)?;
        done.map(drop).map_err(|failed| failed.error).placed()
    }

    /// Runs a line with the path as `"$1"`. A command that fails is the inner error.
    #[track_caller]
    fn on_path(
        &self,
        what: &str,
        path: &Path,
        line: &str,
    ) -> Result<std::result::Result<Output, Failed>> {
        let path = on_instance(path)?;
        if !path.starts_with('/') {
            let what = format!("{what} `{path}`: the path is not absolute");
            return Err(TargetError::new(ErrorKind::Request, what).placed());
        }
        let command = self.command(line).arg(path.as_str()).quiet();
        let output = command.allow_failure().run()?;
        if output.exit.success() {
            return Ok(Ok(output));
        }
        let said = output.stderr.trim();
        let why = match said.lines().last() {
            Some(line) => line.to_owned(),
            None => output.exit.to_string(),
        };
        let what = format!("{what} `{path}` on `{}`: {why}", self.instance());
        Ok(Err(Failed {
            exit: output.exit,
            error: TargetError::new(ErrorKind::Request, what),
        }))
    }
}

/// A command on a path that failed.
struct Failed {
    exit: Exit,
    error: TargetError,
}
