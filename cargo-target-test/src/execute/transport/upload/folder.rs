//! What is in a folder of this host, as the archive in which it travels.
//!
//! Owns the walk: folders, files and symbolic links, with their modes; what is none of these is left out. Must not know
//! where the archive goes.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::same::{self, Known};
use crate::error::Result;

/// A folder to be sent.
pub(super) struct Folder {
    root: PathBuf,
    /// Relative paths, each folder before what is in it.
    entries: Vec<PathBuf>,
    files: u64,
}

impl Folder {
    /// Reads what is in it. Files that are there already stay out; folders and links, which cost nothing, do not.
    pub(super) fn read(root: &Path, there: &Known) -> Result<Self> {
        let mut folder = Self {
            root: root.to_owned(),
            entries: Vec::new(),
            files: 0,
        };
        folder.walk(Path::new(""), there)?;
        Ok(folder)
    }

    /// Its own mode.
    pub(super) fn mode(&self) -> Result<u32> {
        Ok(super::mode_of(&fs_err::metadata(&self.root)?))
    }

    /// How many files it sends.
    pub(super) fn count(&self) -> u64 {
        self.files
    }

    fn walk(&mut self, at: &Path, there: &Known) -> Result<()> {
        let mut entries = Vec::new();
        for entry in fs_err::read_dir(self.root.join(at))? {
            let entry = entry?;
            entries.push((at.join(entry.file_name()), entry.file_type()?));
        }
        // The same folder makes the same archive.
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (path, kind) in entries {
            if kind.is_dir() {
                self.entries.push(path.clone());
                self.walk(&path, there)?;
            } else if kind.is_symlink() {
                self.entries.push(path);
            } else if kind.is_file() && !same::is_known(&self.root, &path, there)? {
                self.files += 1;
                self.entries.push(path);
            }
        }
        Ok(())
    }

    /// Writes the archive.
    pub(super) fn pack<W: Write>(self, to: W) -> io::Result<()> {
        let mut archive = tar::Builder::new(to);
        archive.follow_symlinks(false);
        for path in &self.entries {
            archive.append_path_with_name(self.root.join(path), path)?;
        }
        archive.into_inner()?.flush()
    }
}
