//! Packs the folders, files and symbolic links in a folder of this host into a tar archive.
//!
//! Pipes and devices are skipped. Must not know where the archive is sent.

use std::{
    io::{self, Read, Write},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use super::same::{self, RemoteFiles};
use crate::{error::Result, playbook::is_excluded};

/// The maximum number of bytes read from a file whose length is 0, as the files in `/proc`.
const MAX_UNSIZED: u64 = 1 << 20;
/// Holes of at most this number of bytes in all are sent as zeros. Linkers leave some in programs, and the `tar` of BusyBox
/// does not unpack files with holes.
const MAX_HOLES: u64 = 64 << 20;

/// A folder to be sent.
pub(super) struct Folder {
    root: PathBuf,
    /// Relative paths, each folder before its content.
    entries: Vec<Entry>,
}

/// A file, link or folder to be sent.
struct Entry {
    path: PathBuf,
    is_file: bool,
}

impl Folder {
    /// Lists the folder, without what a pattern of `exclude` matches.
    pub(super) fn read(root: &Path, exclude: &[String]) -> Result<Self> {
        let mut folder = Self {
            root: root.to_owned(),
            entries: Vec::new(),
        };
        folder.walk(Path::new(""), exclude)?;
        Ok(folder)
    }

    /// The files and links with these absolute paths, as a part of `/`.
    pub(super) fn of_root<'a>(paths: impl Iterator<Item = &'a str>) -> Self {
        let entry = |path: &str| Entry {
            path: path.trim_start_matches('/').into(),
            is_file: true,
        };
        Self {
            root: "/".into(),
            entries: paths.map(entry).collect(),
        }
    }

    pub(super) fn mode(&self) -> Result<u32> {
        Ok(super::mode_of(&fs_err::metadata(&self.root)?))
    }

    /// Returns the relative paths of the files to send.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let files = self.entries.iter().filter(|entry| entry.is_file);
        files.map(|entry| entry.path.as_path())
    }

    /// Removes the files that exist on the instance, and returns those with another content. Folders and links stay.
    pub(super) fn take_existing(&mut self, there: &RemoteFiles) -> Result<Vec<PathBuf>> {
        let mut existing = Vec::new();
        for entry in std::mem::take(&mut self.entries) {
            match there.get(entry.path.as_os_str().as_bytes()) {
                Some(hash) if entry.is_file => {
                    if *hash != Some(same::hash_file(&self.root.join(&entry.path))?) {
                        existing.push(entry.path);
                    }
                }
                _ => self.entries.push(entry),
            }
        }
        Ok(existing)
    }

    fn walk(&mut self, at: &Path, exclude: &[String]) -> Result<()> {
        let mut entries = Vec::new();
        for entry in fs_err::read_dir(self.root.join(at))? {
            let entry = entry?;
            entries.push((at.join(entry.file_name()), entry.file_type()?));
        }
        entries.retain(|(path, _)| !is_excluded(exclude, path));
        // Sorted, so that equal folders make equal archives.
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (path, kind) in entries {
            let is_file = kind.is_file();
            if is_file || kind.is_dir() || kind.is_symlink() {
                self.entries.push(Entry {
                    path: path.clone(),
                    is_file,
                });
            }
            if kind.is_dir() {
                self.walk(&path, exclude)?;
            }
        }
        Ok(())
    }

    /// Writes the archive.
    pub(super) fn pack<W: Write>(self, to: W) -> io::Result<()> {
        let mut archive = tar::Builder::new(to);
        archive.follow_symlinks(false);
        for Entry { path, .. } in &self.entries {
            append(&mut archive, &self.root.join(path), path)?;
        }
        archive.into_inner()?.flush()
    }
}

/// Adds an entry. A file that grows meanwhile is sent with the length that it had when it was opened.
fn append<W: Write>(archive: &mut tar::Builder<W>, file: &Path, name: &Path) -> io::Result<()> {
    let metadata = fs_err::symlink_metadata(file)?;
    let holes = metadata.len().saturating_sub(metadata.blocks() * 512);
    if !metadata.is_file() || holes > MAX_HOLES {
        return archive.append_path_with_name(file, name);
    }
    let content = fs_err::File::open(file)?;
    let metadata = content.metadata()?;
    let mut header = tar::Header::new_gnu();
    header.set_metadata(&metadata);
    if metadata.len() == 0 {
        // Files in `/proc` have length 0 and content.
        let mut bytes = Vec::new();
        content.take(MAX_UNSIZED).read_to_end(&mut bytes)?;
        header.set_size(bytes.len() as u64);
        return archive.append_data(&mut header, name, bytes.as_slice());
    }
    let mut content = content.take(metadata.len());
    archive.append_data(&mut header, name, &mut content)?;
    match content.limit() {
        0 => Ok(()),
        _ => {
            let text = format!("`{}` was truncated while it was read", file.display());
            Err(io::Error::other(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use tar::EntryType;

    use super::*;

    #[test]
    fn small_holes_are_sent_as_zeros() {
        let folder = tempfile::tempdir().unwrap();
        let lengths = [("a", 1 << 20), ("b", 2 * MAX_HOLES)];
        for (name, length) in lengths {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_len(length).unwrap();
        }
        let (mut packed, all) = (Vec::new(), Folder::read(folder.path(), &[]).unwrap());
        all.pack(&mut packed).unwrap();
        let mut archive = tar::Archive::new(packed.as_slice());
        let entries = archive.entries().unwrap().map(Result::unwrap);
        let sent: Vec<_> = entries
            .map(|entry| (entry.header().entry_type(), entry.size()))
            .collect();
        let [(_, small), (_, large)] = lengths;
        let expected = [(EntryType::Regular, small), (EntryType::GNUSparse, large)];
        assert_eq!(sent, expected);
    }
}
