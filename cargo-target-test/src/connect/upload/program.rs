//! Puts a program on an instance, once for each content.
//!
//! Must not know how a program is built.

use std::path::Path;

use flate2::{Compression, read::GzEncoder};

use super::{super::FileMode, Transfer, open, shell};
use crate::error::{Error, Result};

/// The number of digits of a hash in a path.
const DIGITS: usize = 16;

impl Transfer {
    /// Puts a program of this host with this SHA-256 on an instance, unless the program is there, and returns its absolute
    /// path. The program is sent compressed if the instance has `gzip`.
    ///
    /// The instance keeps the program for later leases: the path depends on the content.
    ///
    /// # Errors
    /// The errors of [`Transfer::put`]; if no folder of the instance can hold a program.
    pub(crate) async fn put_program(&self, from: &Path, hash: &str) -> Result<String> {
        let name = from.file_name().unwrap_or_default().to_string_lossy();
        let hash = hash.get(..DIGITS).unwrap_or(hash);
        let place = self.run(shell::program_place(&name, hash)?).await?;
        let said = String::from_utf8_lossy(&place.accepted()?.stdout).into_owned();
        let (how, path) = said
            .trim_end_matches('\n')
            .split_at_checked(1)
            .ok_or_else(|| Error::other("no answer".to_owned()))?;
        match how {
            "+" => {}
            "z" => self.send_compressed(from, path).await?,
            _ => self.send_file(from, path, FileMode::Set(0o755)).await?,
        }
        Ok(path.to_owned())
    }

    async fn send_compressed(&self, from: &Path, to: &str) -> Result<()> {
        let packed = GzEncoder::new(open(from)?, Compression::fast());
        self.send(packed, &format!("{to}.gz"), FileMode::Set(0o600))
            .await?;
        let unpacked = self.run(shell::unpack_program(to)?).await?;
        unpacked.accepted().map(drop)
    }

    /// Checks that an instance has the libraries that a program there loads. Only for programs that are linked with glibc.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) with the lines of the dynamic loader, unless it finds all.
    pub(crate) async fn check_libraries(&self, program: &str) -> Result<()> {
        let traced = self.run(shell::missing_libraries(program)?).await?;
        let missing = String::from_utf8_lossy(&traced.stdout);
        let missing: Vec<_> = missing.lines().map(str::trim).collect();
        match missing.as_slice() {
            [] => traced.accepted().map(drop),
            missing => Err(Error::usage(missing.join(", "))),
        }
    }
}
