//! Files of this host that an instance has at the same paths, below a folder; only what changed is sent.
//!
//! Must not know which files a test needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{Folder, Transfer, hash_file, mode_of, own_command, shell};
use crate::{
    connect::FileMode,
    digest::hex,
    error::{Error, Result},
};

/// Files and symbolic links of this host, by absolute path: size in bytes, mode and SHA-256, or the target of a link.
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
        let version = format!("{} {version}", metadata.len());
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

    /// Returns a line `SIZE PATH` for each file, with the path below a prefix.
    fn sizes(&self) -> impl Iterator<Item = (&String, String)> {
        self.0.iter().map(|(path, version)| {
            let size = version.split(' ').next().unwrap_or_default();
            (path, format!("{size} {}", below(path)))
        })
    }

    /// True if a file is in a folder with this path.
    fn has_folder(&self, path: &str) -> bool {
        let inside = format!("{path}/");
        let mut from = self.0.range(inside.clone()..);
        from.next()
            .is_some_and(|(path, _)| path.starts_with(&inside))
    }

    /// Returns the paths of the files that another tree has in other versions, or not at all.
    fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a str> {
        let is_other = |(path, version): &(&String, &String)| other.0.get(*path) != Some(version);
        let differs = self.0.iter().filter(is_other);
        differs.map(|(path, _)| path.as_str())
    }
}

impl TreePart<'_> {
    /// Returns the paths of a tree that this part lacks, and those that are folders in one of both and files in the other.
    fn gone(&self, tree: &Tree) -> BTreeSet<String> {
        let is_gone = |path: &&String| {
            let is_own = self.is_own(path) && !self.files.0.contains_key(*path);
            is_own || self.files.has_folder(path)
        };
        let replaced = self.files.0.keys().filter(|path| tree.has_folder(path));
        let gone = tree.0.keys().filter(is_gone);
        gone.chain(replaced).cloned().collect()
    }

    /// Returns the folders of deleted files in which this part has no file, the deepest first.
    fn gone_folders<'a>(&self, gone: &'a BTreeSet<String>) -> Vec<&'a str> {
        let above = gone
            .iter()
            .flat_map(|path| Path::new(path).ancestors().skip(1));
        let paths = above.filter_map(Path::to_str);
        let is_gone = |path: &&str| {
            self.is_own(path) && Path::new(path) != self.inside && !self.files.has_folder(path)
        };
        let folders: BTreeSet<_> = paths.filter(is_gone).collect();
        folders.into_iter().rev().collect()
    }

    fn is_own(&self, path: &str) -> bool {
        let path = Path::new(path);
        path.starts_with(self.inside) && !path.starts_with(self.outside)
    }
}

/// Returns an absolute path as one below a prefix.
fn below(path: &str) -> &str {
    path.trim_start_matches('/')
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
        let lost = self.lost(part, place, prefix).await?;
        if place.sent == part.files.id() && lost.is_empty() {
            return Ok(0);
        }
        let mut tree = self.sent_tree(&place.folder).await?;
        tree.0.retain(|path, _| !lost.contains(path));
        let changed: Vec<_> = part.files.without(&tree).collect();
        let count = changed.len();
        let gone = part.gone(&tree);
        if !gone.is_empty() {
            let forget = shell::forget_files(&place.folder, prefix);
            self.run_with_paths(forget, gone.iter().map(String::as_str))
                .await?;
            let folders = part.gone_folders(&gone);
            if !folders.is_empty() {
                let forget = shell::forget_folders(prefix);
                self.run_with_paths(forget, folders.into_iter()).await?;
            }
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
            self.send_list(list, &shell::list_of(&place.folder)).await?;
        }
        let mut note = part.files.id();
        for (_, line) in part.files.sizes() {
            note += "\n";
            note += &line;
        }
        let path = shell::note_of(&place.folder, part.key);
        self.send_list(note.into_bytes(), &path).await?;
        Ok(count)
    }

    /// Returns the files of a part that an instance had, and that it has no longer, or without their content.
    async fn lost(
        &self,
        part: &TreePart<'_>,
        place: &TreePlace,
        prefix: &str,
    ) -> Result<BTreeSet<String>> {
        if place.sent.is_empty() {
            return Ok(BTreeSet::new());
        }
        let check = shell::check_part(&place.folder, prefix, part.key);
        let said = self.run(check).await?.accepted()?.stdout;
        let said = String::from_utf8_lossy(&said);
        let mut lines = said.lines();
        if lines.next().is_none() {
            return Ok(BTreeSet::new());
        }
        // A file with another size was changed by a test, unless it is empty, as after a full disk or a power loss.
        let there: BTreeSet<_> = lines
            .filter_map(|line| line.split_once(' '))
            .filter(|(size, _)| *size != "0")
            .map(|(_, path)| path)
            .collect();
        let sizes = part.files.sizes();
        let lost =
            sizes.filter(|(path, line)| !line.starts_with("0 ") && !there.contains(below(path)));
        Ok(lost.map(|(path, _)| path.clone()).collect())
    }

    async fn run_with_paths(
        &self,
        script: String,
        paths: impl Iterator<Item = &str>,
    ) -> Result<()> {
        let names = paths.flat_map(|path| [below(path), "\0"]);
        let (send, stdin) = mpsc::channel(1);
        // Cannot fail: the channel is empty.
        let _ = send.try_send(names.collect::<String>().into_bytes());
        drop(send);
        let command = own_command(script, None);
        let running = self.transport.exec(&command, &self.lease, Some(stdin));
        running.finished().await?.accepted().map(drop)
    }

    async fn send_list(&self, list: Vec<u8>, path: &str) -> Result<()> {
        let list = std::io::Cursor::new(list);
        self.send(list, path, FileMode::Set(0o600)).await
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
        assert_eq!(part.gone(&before), set(&["/w/b"]));
        assert!(part.gone_folders(&set(&["/w/b"])).is_empty());
        let before = tree(&["/w/d/e/b", "/w/d/e/c", "/w/a"]);
        let gone = part.gone(&before);
        assert_eq!(gone, set(&["/w/d/e/b", "/w/d/e/c"]));
        assert_eq!(part.gone_folders(&gone), ["/w/d/e", "/w/d"]);
        // A file was a folder, or a folder was a file.
        assert_eq!(part.gone(&tree(&["/w/a/b"])), set(&["/w/a", "/w/a/b"]));
        let part = TreePart {
            files: &tree(&["/other/a/b", "/other/c"]),
            ..part
        };
        assert_eq!(
            part.gone(&tree(&["/other/a", "/other/c"])),
            set(&["/other/a"])
        );
    }

    fn set(paths: &[&str]) -> BTreeSet<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
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
