//! Puts a program on an instance, once for each content.
//!
//! Must not know how a program is built.

use std::{borrow::Cow, path::Path};

use flate2::{Compression, read::GzEncoder};

use super::{super::FileMode, Transfer, TreePlace, open, shell};
use crate::error::{Error, Result};

/// The number of digits of a hash in a path.
const DIGITS: usize = 16;

/// The place of a program on an instance.
#[derive(Debug)]
pub(crate) struct ProgramPlace {
    /// The absolute path.
    pub(crate) path: String,
    /// The form in which it is sent; `None` if it is there.
    missing: Option<Sent>,
}

/// The form in which a program is sent.
#[derive(Clone, Copy, Debug)]
enum Sent {
    Compressed,
    Plain,
}

impl ProgramPlace {
    /// Reads the line of [`shell::program_place`].
    fn read(line: &str) -> Result<Self> {
        let answer = line.split_at_checked(1);
        let (how, path) = answer.ok_or_else(|| Error::other("no answer".to_owned()))?;
        let missing = match how {
            "+" => None,
            "z" => Some(Sent::Compressed),
            _ => Some(Sent::Plain),
        };
        Ok(Self {
            path: path.to_owned(),
            missing,
        })
    }
}

/// Returns the name and the folder of a program in the cache, and its size, for its path on this host and its SHA-256.
fn in_cache<'a>((from, hash): (&'a Path, &'a str)) -> Result<(Cow<'a, str>, &'a str, u64)> {
    let name = from.file_name().unwrap_or_default().to_string_lossy();
    let size = fs_err::metadata(from)?.len();
    Ok((name, hash.get(..DIGITS).unwrap_or(hash), size))
}

/// Returns the number of bytes that a program of this host needs on an instance: compressed, it is there twice for a moment.
pub(crate) fn room_of(from: &Path) -> Result<u64> {
    Ok(2 * fs_err::metadata(from)?.len())
}

impl Transfer {
    /// Puts a program of this host with this SHA-256 on an instance, unless the program is there, and returns its absolute
    /// path. The program is sent compressed if the instance has `gzip`.
    ///
    /// The instance keeps the program for later leases: the path depends on the content.
    ///
    /// # Errors
    /// The errors of [`Transfer::put`]; if no folder of the instance can hold a program.
    pub(crate) async fn put_program(&self, from: &Path, hash: &str) -> Result<String> {
        let (name, hash, size) = in_cache((from, hash))?;
        let place = shell::program_place((&name, hash, size), room_of(from)?)?;
        let place = self.run(place).await?;
        let said = String::from_utf8_lossy(&place.accepted()?.stdout).into_owned();
        let place = ProgramPlace::read(said.trim_end_matches('\n'))?;
        self.send_program(from, &place).await?;
        Ok(place.path)
    }

    /// Finds the place of a program of this host with this SHA-256, with room for so many bytes, the place of a tree, and the
    /// id of what the tree's list `key` names.
    ///
    /// # Errors
    /// If no folder of the instance can hold a program, or the connection is lost.
    pub(crate) async fn find_places(
        &self,
        program: (&Path, &str),
        room: u64,
        tree: (&str, &str),
    ) -> Result<(ProgramPlace, TreePlace)> {
        let (name, hash, size) = in_cache(program)?;
        let place = shell::tree_place((&name, hash, size), room, tree)?;
        let place = self.run(place).await?;
        let said = String::from_utf8_lossy(&place.accepted()?.stdout).into_owned();
        let mut lines = said.lines();
        let mut line = || lines.next().unwrap_or_default().to_owned();
        let (program, folder) = (ProgramPlace::read(&line())?, line());
        let place = TreePlace {
            folder,
            has_gzip: !line().is_empty(),
            sent: line(),
        };
        Ok((program, place))
    }

    /// Sends a program of this host to its place, unless it is there.
    ///
    /// # Errors
    /// The errors of [`Transfer::put`].
    pub(crate) async fn send_program(&self, from: &Path, to: &ProgramPlace) -> Result<()> {
        match to.missing {
            None => Ok(()),
            Some(Sent::Compressed) => self.send_compressed(from, &to.path).await,
            Some(Sent::Plain) => self.send_file(from, &to.path, FileMode::Set(0o755)).await,
        }
    }

    async fn send_compressed(&self, from: &Path, to: &str) -> Result<()> {
        let packed = GzEncoder::new(open(from)?, Compression::fast());
        self.send(packed, &format!("{to}.gz"), FileMode::Set(0o600))
            .await?;
        let unpacked = self.run(shell::unpack_program(to)?).await?;
        unpacked.accepted().map(drop)
    }

    /// Checks that an instance has the dynamic loader of a program there, one of glibc, and the libraries that it loads.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) with what is missing.
    pub(crate) async fn check_libraries(&self, program: &str, loader: &str) -> Result<()> {
        let trace = shell::missing_libraries(program, loader)?;
        let traced = self.run(trace).await?;
        let missing = String::from_utf8_lossy(&traced.stdout);
        let missing: Vec<_> = missing.lines().map(str::trim).collect();
        match missing.as_slice() {
            [] => traced.accepted().map(drop),
            missing => Err(Error::usage(missing.join(", "))),
        }
    }
}
