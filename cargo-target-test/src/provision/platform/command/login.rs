//! The password and the private key in the answer of `deploy`.
//!
//! Values are kept in files that only the user can read, in the instance's folder, which is removed with the instance.
//! The pool records the paths.

use std::{
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::CommandSpec;
use crate::{
    error::Result,
    secret::{Bound, Reference, Text},
};

/// Returns the password as the pool records it.
pub(super) fn password(spec: &CommandSpec, answered: &Text) -> Result<Bound> {
    let Text::Plain(value) = answered else {
        return Ok(spec.bound("password", answered));
    };
    let file = write(spec, "password", value)?;
    Ok(spec.bound("password", &Text::Secret(Reference::File(file))))
}

/// Returns the file with the private key.
pub(super) fn identity(spec: &CommandSpec, answered: &str) -> Result<PathBuf> {
    match answered.contains("PRIVATE KEY-----") {
        true => write(spec, "identity", &format!("{}\n", answered.trim_end())),
        false => Ok(spec.path(Path::new(answered))),
    }
}

/// Writes a file that only the user can read.
fn write(spec: &CommandSpec, name: &str, content: &str) -> Result<PathBuf> {
    let file = spec.scratch.join(name);
    fs_err::create_dir_all(&spec.scratch)?;
    // An earlier deploy may have left one.
    let _ = fs_err::remove_file(&file);
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create_new(true);
    options.options_mut().mode(0o600);
    options.open(&file)?.write_all(content.as_bytes())?;
    Ok(file)
}
