//! Files of this host that an instance has at the same paths, below a folder; only what changed is sent.
//!
//! Must not know which files a test needs.

use std::{collections::BTreeMap, path::Path};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{Folder, Transfer, hash_file, mode_of, own_command, shell};
use crate::{
    connect::FileMode,
    digest::hex,
    error::{Error, Result},
};

/// Files and symbolic links of this host, by absolute path: mode and SHA-256, or the target of a link.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tree(BTreeMap<String, String>);

/// A file or folder of this host whose path a machine shows as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TreeRoot {
    /// The absolute path.
    pub(crate) path: String,
    /// True if it is a file.
    pub(crate) is_file: bool,
}

/// The user who can mount a new root on an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ViewBy {
    /// Root.
    Root,
    /// Any user, in a user namespace.
    User,
    /// Any user, in a user namespace in which the user's id is that of root.
    FakeRoot,
}

/// The place of a tree on an instance.
#[derive(Clone, Debug)]
pub(crate) struct TreePlace {
    /// The folder of the tree.
    pub(crate) folder: String,
    /// The id of the part that was sent; empty if the part is unknown or was changed.
    pub(crate) sent: String,
    pub(super) has_gzip: bool,
}

/// A part of a tree that is sent as a whole.
pub(crate) struct TreePart<'a> {
    /// The name of the part, for a file name.
    pub(crate) key: &'a str,
    pub(crate) files: &'a Tree,
    /// Folders of this host. Files in `inside` but not in `outside` that the part lacks are deleted from the tree.
    pub(crate) inside: &'a Path,
    pub(crate) outside: &'a Path,
}

impl Tree {
    /// Adds a file or a symbolic link.
    ///
    /// # Errors
    /// If it cannot be read, or if its path is not UTF-8.
    pub(crate) fn add(&mut self, path: &Path) -> Result<()> {
        let metadata = fs_err::symlink_metadata(path)?;
        let version = match metadata.is_symlink() {
            true => format!("-> {}", fs_err::read_link(path)?.display()),
            false => format!("{:o} {}", mode_of(&metadata), hash_file(path)?),
        };
        self.0.insert(utf8(path)?.to_owned(), version);
        Ok(())
    }

    /// Returns the id, which depends on all paths and versions.
    pub(crate) fn id(&self) -> String {
        let mut hash = Sha256::new();
        for (path, version) in &self.0 {
            hash.update(format!("{path}\0{version}\0"));
        }
        hex(hash.finalize())
    }

    /// Returns the paths of the files that another tree has in other versions, or not at all.
    fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a str> {
        let is_other = |(path, version): &(&String, &String)| other.0.get(*path) != Some(version);
        let differs = self.0.iter().filter(is_other);
        differs.map(|(path, _)| path.as_str())
    }
}

impl TreePart<'_> {
    /// Returns the paths of a tree that this part lacks.
    fn gone<'a>(&self, tree: &'a Tree) -> Vec<&'a str> {
        let is_gone = |path: &&String| {
            let place = Path::new(path);
            let is_own = place.starts_with(self.inside) && !place.starts_with(self.outside);
            is_own && !self.files.0.contains_key(*path)
        };
        tree.0.keys().filter(is_gone).map(String::as_str).collect()
    }
}

/// Returns a path as text.
///
/// # Errors
/// If it is not UTF-8.
pub(crate) fn utf8(path: &Path) -> Result<&str> {
    let error = || Error::usage(format!("path is not UTF-8: `{}`", path.display()));
    path.to_str().ok_or_else(error)
}

impl Transfer {
    /// Gives an instance the files of a part of a tree, below `prefix`, and deletes those that are gone. Returns the number of
    /// files sent.
    ///
    /// # Errors
    /// The errors of [`Transfer::put`].
    pub(crate) async fn put_tree(
        &self,
        part: &TreePart<'_>,
        place: &TreePlace,
        prefix: &str,
    ) -> Result<usize> {
        let mut tree = self.sent_tree(&place.folder).await?;
        let changed: Vec<_> = part.files.without(&tree).collect();
        let count = changed.len();
        let gone: Vec<_> = part.gone(&tree).into_iter().map(str::to_owned).collect();
        if !gone.is_empty() {
            let names = gone
                .iter()
                .flat_map(|path| [path.trim_start_matches('/'), "\0"]);
            let forget = own_command(shell::forget_files(&place.folder, prefix), None);
            let (send, stdin) = mpsc::channel(1);
            // Cannot fail: the channel is empty.
            let _ = send.try_send(names.collect::<String>().into_bytes());
            drop(send);
            let running = self.transport.exec(&forget, &self.lease, Some(stdin));
            running.finished().await?.accepted()?;
        }
        if count > 0 {
            let unpack = shell::unpack_tree(&place.folder, prefix, place.has_gzip);
            let files = Folder::of_root(changed.into_iter());
            self.send_archive(files, unpack, place.has_gzip).await?;
        }
        if count > 0 || !gone.is_empty() {
            tree.0.retain(|path, _| !gone.contains(path));
            tree.0.extend(part.files.0.clone());
            let list =
                serde_json::to_vec(&tree.0).map_err(|error| Error::other(error.to_string()))?;
            let (list, path) = (std::io::Cursor::new(list), shell::list_of(&place.folder));
            self.send(list, &path, FileMode::Set(0o600)).await?;
        }
        let note = shell::note_part(&place.folder, part.key, &part.files.id());
        self.run(note).await?.accepted()?;
        Ok(count)
    }

    /// Returns the tree that an instance has; an empty one if that is unknown, so that all is sent.
    async fn sent_tree(&self, folder: &str) -> Result<Tree> {
        let said = self.run(shell::show_list(folder)).await?;
        Ok(Tree(
            serde_json::from_slice(&said.stdout).unwrap_or_default(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_deletes_its_own_files_alone() {
        let tree = |paths: &[&str]| {
            let files = paths.iter().map(|path| ((*path).to_owned(), String::new()));
            Tree(files.collect())
        };
        let part = TreePart {
            key: "w",
            files: &tree(&["/w/a"]),
            inside: Path::new("/w"),
            outside: Path::new("/w/target"),
        };
        let before = tree(&["/w/a", "/w/b", "/w/target/app", "/other"]);
        assert_eq!(part.gone(&before), ["/w/b"]);
    }

    #[test]
    fn versions_of_files_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let read = || {
            let mut tree = Tree::default();
            tree.add(&path).unwrap();
            tree
        };
        std::fs::write(&path, "1").unwrap();
        let first = read();
        assert_eq!(first.id(), read().id());
        assert_eq!(first.without(&first).count(), 0);
        assert_eq!(
            first.without(&Tree::default()).collect::<Vec<_>>(),
            [path.to_str().unwrap()]
        );
        std::fs::write(&path, "2").unwrap();
        let second = read();
        assert_ne!(second.id(), first.id());
        assert_eq!(second.without(&first).count(), 1);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("b", &path).unwrap();
        assert_eq!(read().without(&second).count(), 1);
    }
}
