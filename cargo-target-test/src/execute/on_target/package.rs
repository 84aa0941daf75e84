//! The files of this host that the tests of a package find on their machine.
//!
//! Must not know machines.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use ignore::{DirEntry, WalkBuilder};

use crate::{
    connect::upload::{Tree, TreeRoot, utf8},
    error::{Error, Result},
    playbook::is_excluded,
    process,
};

/// The size of a block of a disk, in bytes.
const BLOCK: u64 = 4096;

/// A package whose tests run on machines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TestPackage {
    /// The folder of the package, in which its tests run.
    pub folder: PathBuf,
    /// Cargo's target directory.
    pub target_directory: PathBuf,
    /// The programs that Cargo built for the tests, and the output folder of the build script.
    pub built: Vec<PathBuf>,
    /// More files and folders that tests need.
    pub sync: Vec<PathBuf>,
    /// Patterns of paths in the package's folder that tests do not need.
    pub exclude: Vec<String>,
    /// The size of the files on a disk, in bytes, once it is known.
    pub size: OnceLock<u64>,
}

impl TestPackage {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(super) fn read(&self) -> Result<Tree> {
        let mut tree = Tree::default();
        self.files()?.iter().try_for_each(|path| tree.add(path))?;
        Ok(tree)
    }

    /// Returns the size of the files on a disk, in bytes. Blocks.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub(super) fn size(&self) -> Result<u64> {
        if let Some(known) = self.size.get() {
            return Ok(*known);
        }
        let files = self.files()?;
        // A file that is gone is not sent.
        let sizes = files.iter().filter_map(|path| path.symlink_metadata().ok());
        let size = sizes.map(|file| file.len().next_multiple_of(BLOCK)).sum();
        Ok(*self.size.get_or_init(|| size))
    }

    /// Returns the paths of the files: those in the package's folder that git knows or does not ignore, and what Cargo built.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let mut walk = WalkBuilder::new(&self.folder);
        walk.hidden(false).ignore(false);
        let (package, is_sent) = (self.clone(), |entry: &DirEntry| entry.file_name() != ".git");
        walk.filter_entry(move |entry| is_sent(entry) && !package.excludes(entry.path()));
        add_files(&mut files, &walk)?;
        let tracked = self.tracked().into_iter();
        files.extend(tracked.filter(|path| !self.excludes(path) && is_file(path)));
        for path in self.built.iter().chain(&self.sync) {
            let mut walk = WalkBuilder::new(path);
            add_files(&mut files, walk.standard_filters(false))?;
        }
        Ok(files)
    }

    /// True for Cargo's target directory, and for what the playbook excludes.
    fn excludes(&self, path: &Path) -> bool {
        let inside = path.strip_prefix(&self.folder);
        path == self.target_directory || inside.is_ok_and(|path| is_excluded(&self.exclude, path))
    }

    /// The files that git knows although its rules ignore them; none without git.
    fn tracked(&self) -> Vec<PathBuf> {
        let mut git = process::command("git");
        git.args([
            "ls-files",
            "-z",
            "--cached",
            "--ignored",
            "--exclude-standard",
        ]);
        git.current_dir(&self.folder);
        let output = process::Spawn::new(git).output();
        let output = output.map(|output| output.stdout).unwrap_or_default();
        let names = output
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty());
        let names = names.map(String::from_utf8_lossy);
        names.map(|name| self.folder.join(name.as_ref())).collect()
    }

    /// Returns the folders in which tests write: that of the package, and the one for files of integration tests.
    ///
    /// # Errors
    /// If a path is not UTF-8.
    pub(super) fn folders(&self) -> Result<[String; 2]> {
        let temporary = self.target_directory.join("tmp");
        Ok([utf8(&self.folder)?, utf8(&temporary)?].map(str::to_owned))
    }

    /// Returns the files and folders that the machine shows as a whole, for tests of this binary.
    ///
    /// # Errors
    /// If a path is not UTF-8.
    pub(super) fn roots(&self, binary: &Path) -> Result<Vec<TreeRoot>> {
        let root = |path: &Path| {
            Ok(TreeRoot {
                path: utf8(path)?.to_owned(),
                is_file: is_file(path),
            })
        };
        let folders = [self.folder.as_path(), &self.target_directory];
        let built = self.built.iter().filter(|path| path.is_dir());
        let beside = self.built.iter().map(PathBuf::as_path).chain([binary]);
        let all = folders.into_iter().chain(beside.filter_map(Path::parent));
        let all = all.chain(built.chain(&self.sync).map(PathBuf::as_path));
        let mut roots = all.map(root).collect::<Result<Vec<_>>>()?;
        roots.sort();
        // Sorted: a path comes after those that it is in.
        roots.dedup_by(|one, other| Path::new(&one.path).starts_with(&other.path));
        Ok(roots)
    }
}

fn is_file(path: &Path) -> bool {
    path.is_symlink() || path.is_file()
}

fn add_files(files: &mut Vec<PathBuf>, walk: &WalkBuilder) -> Result<()> {
    for entry in walk.build() {
        let entry = entry.map_err(|error| Error::usage(error.to_string()))?;
        if entry.file_type().is_some_and(|kind| !kind.is_dir()) && is_file(entry.path()) {
            files.push(entry.into_path());
        }
    }
    Ok(())
}
