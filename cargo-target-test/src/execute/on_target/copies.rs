//! The copies of test binaries and of the files of their packages on machines: sent once, and then what changed.
//!
//! Must not know how a machine shows them (`place`).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Once, Weak, atomic::Ordering},
};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::{
    package::TestPackage,
    place::{Layout, PlacedTest, TestPlace, WantedPaths},
};
use crate::{
    connect::{
        Transport,
        upload::{Transfer, Tree, TreePart, ViewBy, utf8},
    },
    digest::hex,
    error::{Error, Result},
    execute::programs::{BuiltProgram, has_constant},
    provision::Machine,
    sync::{self, lock},
    ui,
};

/// The packages of test binaries, by the paths of the binaries.
pub type TestPackages = BTreeMap<PathBuf, Arc<TestPackage>>;

/// The copies on all machines of a run.
pub(super) struct Copies {
    packages: TestPackages,
    /// The files of packages, by the packages' folders; each is read once.
    trees: Arc<Mutex<BTreeMap<PathBuf, Arc<Tree>>>>,
    /// By the names of machines. Locked while files are sent.
    machines: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<KnownLayouts>>>>,
    /// A file in Cargo's target directory, which shows that a machine has this folder.
    mark: Mutex<Option<NamedTempFile>>,
    /// Says once that set-uid programs do not work.
    said_limits: Once,
}

/// The layouts of packages on a machine, by the packages' folders.
#[derive(Default)]
struct KnownLayouts(BTreeMap<PathBuf, KnownLayout>);

struct KnownLayout {
    /// The connection at that time: another one means that the machine was restored or rebooted.
    transport: Weak<dyn Transport>,
    /// The folder of the tree.
    tree: String,
    layout: Layout,
}

/// A test that a machine can start.
pub(super) struct CopiedTest {
    pub(super) layout: Layout,
    pub(super) place: TestPlace,
    /// The path of the test binary in the machine's cache.
    pub(super) cached: String,
}

impl Copies {
    pub(super) fn new(packages: TestPackages) -> Self {
        Self {
            packages,
            trees: Arc::default(),
            machines: Mutex::default(),
            mark: Mutex::default(),
            said_limits: Once::new(),
        }
    }

    fn say_limits(&self, layout: Layout, machine: &Machine) {
        if let Layout::View(ViewBy::User | ViewBy::FakeRoot) = layout {
            self.said_limits.call_once(|| {
                let name = machine.name();
                ui::live(&format!(
                    "tests on `{name}` run in a user namespace, where set-uid programs such as `sudo` do not work"
                ));
            });
        }
    }

    /// Puts a test binary and the files of its package on a machine.
    pub(super) async fn put(&self, binary: &BuiltProgram, machine: &Machine) -> Result<CopiedTest> {
        let path = &binary.path;
        let package = self.packages.get(path);
        let package = package.ok_or_else(|| Error::other("its package is unknown".to_owned()))?;
        let known = Arc::clone(
            lock(&self.machines)
                .entry(machine.name().to_owned())
                .or_default(),
        );
        let mut known = known.lock().await;
        let (tree, key) = (
            short_digest(machine.name()),
            short_digest(utf8(&package.folder)?),
        );
        let transfer = machine.transfer();
        let found = transfer.find_places((path, &binary.hash), (&tree, &key));
        let (program, at) = found.await?;
        let roots = package.roots(path)?;
        let layout = match known.get(machine, &package.folder, &at.folder) {
            Some(layout) => layout,
            None => {
                let wanted = WantedPaths {
                    tree: &at.folder,
                    roots: &roots,
                    folders: &package.folders()?,
                    marks: &self.marks(package)?,
                };
                let layout = Layout::choose(machine, &wanted).await?;
                self.say_limits(layout, machine);
                known.set(machine, &package.folder, &at.folder, layout);
                layout
            }
        };
        if let Some(prefix) = layout.prefix(&at.folder) {
            transfer.send_program(path, &program).await?;
            let files = self.files(package).await?;
            if at.sent != files.id() {
                let part = TreePart {
                    key: &key,
                    files: &files,
                    inside: &package.folder,
                    outside: &package.target_directory,
                };
                let sent = transfer.put_tree(&part, &at, &prefix).await?;
                say_sent(sent, &transfer, machine);
            }
        }
        let test = PlacedTest {
            cached: &program.path,
            path: utf8(path)?,
            folder: utf8(&package.folder)?,
        };
        Ok(CopiedTest {
            layout,
            place: layout.place(&at.folder, &roots, &test),
            cached: program.path,
        })
    }

    /// Returns a path that is compiled into a test binary and that its machine cannot show, if any.
    pub(super) fn missing(&self, test: &CopiedTest, binary: &Path) -> Result<Option<String>> {
        let package = self.packages.get(binary);
        let Some(package) = package.filter(|_| test.layout == Layout::Moved) else {
            return Ok(None);
        };
        for folder in [&package.folder, &package.target_directory] {
            let folder = utf8(folder)?;
            if has_constant(binary, folder)? {
                return Ok(Some(folder.to_owned()));
            }
        }
        Ok(None)
    }

    /// Returns the folder of a test binary's package.
    pub(super) fn folder(&self, binary: &Path) -> PathBuf {
        let package = self.packages.get(binary);
        package
            .map(|package| package.folder.clone())
            .unwrap_or_default()
    }

    /// Returns the files of a package.
    async fn files(&self, package: &Arc<TestPackage>) -> Result<Arc<Tree>> {
        let (trees, package) = (Arc::clone(&self.trees), Arc::clone(package));
        sync::blocking(move || {
            let mut trees = lock(&trees);
            if let Some(known) = trees.get(&package.folder) {
                return Ok(Arc::clone(known));
            }
            let tree = Arc::new(package.read()?);
            trees.insert(package.folder.clone(), Arc::clone(&tree));
            Ok(tree)
        })
        .await
    }

    /// Returns the paths that a machine has only if it shares the folders of a package.
    fn marks(&self, package: &TestPackage) -> Result<[String; 2]> {
        let mut mark = lock(&self.mark);
        let file = match &mut *mark {
            Some(file) => file,
            none => none.insert(
                tempfile::Builder::new()
                    .prefix(".target-test-")
                    .tempfile_in(&package.target_directory)?,
            ),
        };
        let manifest = package.folder.join("Cargo.toml");
        Ok([file.path(), &manifest].map(|path| path.to_string_lossy().into_owned()))
    }
}

impl KnownLayouts {
    fn get(&self, machine: &Machine, package: &Path, tree: &str) -> Option<Layout> {
        let known = self.0.get(package)?;
        let transport = known.transport.upgrade()?;
        let is_same = Arc::ptr_eq(&transport, &machine.transport()) && known.tree == tree;
        is_same.then_some(known.layout)
    }

    fn set(&mut self, machine: &Machine, package: &Path, tree: &str, layout: Layout) {
        let known = KnownLayout {
            transport: Arc::downgrade(&machine.transport()),
            tree: tree.to_owned(),
            layout,
        };
        self.0.insert(package.to_owned(), known);
    }
}

/// Returns 16 hexadecimal digits for a name.
fn short_digest(name: &str) -> String {
    hex(&Sha256::digest(name)[..8])
}

/// Tells that files were sent.
fn say_sent(files: usize, transfer: &Transfer, machine: &Machine) {
    if files > 0 {
        let size = transfer.moved.load(Ordering::Relaxed).div_ceil(1024);
        let to = machine.name();
        let files = match files {
            1 => "1 file".to_owned(),
            more => format!("{more} files"),
        };
        ui::live(&format!("sent {files} ({size} KiB) to {to}"));
    }
}
