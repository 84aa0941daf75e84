//! Puts a program on an instance, once for each content.
//!
//! Must not know how a program is built.

use std::path::Path;

use super::{super::FileMode, Transfer, shell};
use crate::error::{Error, Result};

/// The number of digits of a hash in a path.
const DIGITS: usize = 16;

impl Transfer {
    /// Puts a program of this host with this SHA-256 on an instance, unless the program is there, and returns its absolute
    /// path.
    ///
    /// The instance keeps the program for later leases: the path depends on the content.
    ///
    /// # Errors
    /// The errors of [`Transfer::put`].
    pub(crate) async fn put_program(&self, from: &Path, hash: &str) -> Result<String> {
        let name = from.file_name().unwrap_or_default().to_string_lossy();
        let hash = hash.get(..DIGITS).unwrap_or(hash);
        let place = self.run(shell::program_place(&name, hash)?).await?;
        let said = String::from_utf8_lossy(&place.accepted()?.stdout).into_owned();
        match said.trim_end_matches('\n').split_at_checked(1) {
            Some(("+", path)) => Ok(path.to_owned()),
            Some(("-", path)) => {
                self.send_file(from, path, FileMode::Set(0o755)).await?;
                Ok(path.to_owned())
            }
            _ => Err(Error::other(format!("unexpected answer: `{said}`"))),
        }
    }
}
