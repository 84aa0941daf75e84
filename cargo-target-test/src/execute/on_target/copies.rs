//! The copies of test binaries and of the files of their packages on machines: what changed is sent before the first test of
//! a binary.
//!
//! Must not know how a machine shows them (`place`, `view`).

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
    view::{KeptView, Views},
};
use crate::{
    connect::{
        Transport,
        upload::{Transfer, Tree, TreePart, TreeRoot, ViewBy, room_of, utf8},
    },
    digest::hex,
    error::{Error, Result},
    execute::programs::{BuiltProgram, has_constant},
    provision::{Machine, pool::label_of},
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
    machines: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Option<KnownMachine>>>>>,
    /// A file in Cargo's target directory, which shows that a machine has this folder.
    mark: Mutex<Option<NamedTempFile>>,
    /// Says once that set-uid programs do not work.
    said_limits: Once,
}

/// The copies on a machine. Known as long as its connection lasts: it may be restored or rebooted after that.
struct KnownMachine {
    transport: Weak<dyn Transport>,
    /// The connections that the transport had lost.
    losses: usize,
    /// The folder of the tree and the layout, by the packages' folders.
    layouts: BTreeMap<PathBuf, (String, Layout)>,
    /// By the paths of test binaries.
    tests: BTreeMap<PathBuf, SentTest>,
    views: Views,
}

/// A test binary that was sent with the files of its package.
#[derive(Clone)]
struct SentTest {
    layout: Layout,
    /// The folder of the tree.
    tree: String,
    roots: Vec<TreeRoot>,
    /// The path in the machine's cache.
    cached: String,
}

/// A test that a machine can start.
pub(super) struct CopiedTest {
    pub(super) layout: Layout,
    pub(super) place: TestPlace,
    /// The path of the test binary in the machine's cache.
    pub(super) cached: String,
    /// The view that the test enters.
    pub(super) view: Option<Arc<KeptView>>,
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

    /// Puts a test binary and the files of its package on a machine, unless that was done before.
    ///
    /// # Errors
    /// If the machine cannot run the binary, or does not answer.
    pub(super) async fn put(&self, binary: &BuiltProgram, machine: &Machine) -> Result<CopiedTest> {
        let path = &binary.path;
        let package = self.packages.get(path);
        let package = package.ok_or_else(|| Error::other("its package is unknown".to_owned()))?;
        let known = self.known(machine);
        let mut known = known.lock().await;
        known.take_if(|known| !known.is_of(machine));
        let known = known.get_or_insert_with(|| KnownMachine::of(machine));
        let sent = match known.tests.get(path) {
            Some(sent) => sent.clone(),
            None => {
                let sent = self.send(binary, package, (machine, known)).await?;
                known.tests.insert(path.clone(), sent.clone());
                sent
            }
        };
        let view = match sent.layout {
            Layout::View(by) => {
                let views = &mut known.views;
                views.get(machine, by, (&sent.tree, &sent.roots)).await?
            }
            _ => None,
        };
        let test = PlacedTest {
            cached: &sent.cached,
            path: utf8(path)?,
            folder: utf8(&package.folder)?,
            view: view.as_deref(),
        };
        Ok(CopiedTest {
            layout: sent.layout,
            place: sent.layout.place(&sent.tree, &sent.roots, &test),
            cached: sent.cached,
            view,
        })
    }

    /// Forgets that a test binary was sent: its next test checks the copies.
    pub(super) async fn doubt(&self, binary: &Path, machine: &Machine) {
        if let Some(known) = &mut *self.known(machine).lock().await {
            known.tests.remove(binary);
        }
    }

    fn known(&self, machine: &Machine) -> Arc<tokio::sync::Mutex<Option<KnownMachine>>> {
        let mut machines = lock(&self.machines);
        let known = machines.entry(machine.name().to_owned());
        Arc::clone(known.or_default())
    }

    /// Sends what a machine lacks of a test binary and of its package, and checks that it can run the binary.
    async fn send(
        &self,
        binary: &BuiltProgram,
        package: &Arc<TestPackage>,
        (machine, known): (&Machine, &mut KnownMachine),
    ) -> Result<SentTest> {
        let path = &binary.path;
        if let Some(why) = binary.misfit(&machine.facts().await?) {
            return Err(Error::usage(why));
        }
        let (tree, key) = (
            short_digest(&tree_name(machine)),
            short_digest(utf8(&package.folder)?),
        );
        let transfer = machine.transfer();
        let sized = Arc::clone(package);
        let room = room_of(path)? + sync::blocking(move || sized.size()).await?;
        let found = transfer.find_places((path, &binary.hash), room, (&tree, &key));
        let (program, at) = found.await?;
        let roots = package.roots(path)?;
        let layout = match known.layouts.get(&package.folder) {
            Some((tree, layout)) if *tree == at.folder => *layout,
            _ => {
                let wanted = WantedPaths {
                    tree: &at.folder,
                    roots: &roots,
                    folders: &package.folders()?,
                    room,
                    marks: &self.marks(package)?,
                };
                let layout = Layout::choose(machine, &wanted, &mut known.views).await?;
                self.say_limits(layout, machine);
                let layouts = &mut known.layouts;
                layouts.insert(package.folder.clone(), (at.folder.clone(), layout));
                layout
            }
        };
        if let Some(prefix) = layout.prefix(&at.folder) {
            let unsent = |to: &str, error| {
                Error::usage(format!("failed to write to `{to}`")).with_source(error)
            };
            let sent = transfer.send_program(path, &program).await;
            sent.map_err(|error| unsent(&program.path, error))?;
            let files = self.files(package).await?;
            let part = TreePart {
                key: &key,
                files: &files,
                inside: &package.folder,
                outside: &package.target_directory,
            };
            let sent = transfer.put_tree(&part, &at, &prefix).await;
            let sent = sent.map_err(|error| unsent(&format!("{prefix}/"), error))?;
            say_sent(sent, &transfer, machine);
            if let Some(loader) = binary.glibc_loader() {
                let checked = transfer.check_libraries(&program.path, loader).await;
                let missing = |error: Error| binary.without_libraries(&error.chain());
                checked.map_err(|error| Error::usage(missing(error)))?;
            }
        }
        Ok(SentTest {
            layout,
            tree: at.folder,
            roots,
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

impl KnownMachine {
    fn of(machine: &Machine) -> Self {
        let transport = machine.transport();
        Self {
            transport: Arc::downgrade(&transport),
            losses: transport.losses(),
            layouts: BTreeMap::new(),
            tests: BTreeMap::new(),
            views: Views::default(),
        }
    }

    /// True if a machine has the same connection.
    fn is_of(&self, machine: &Machine) -> bool {
        let is_same = |known: Arc<dyn Transport>| {
            Arc::ptr_eq(&known, &machine.transport()) && known.losses() == self.losses
        };
        self.transport.upgrade().is_some_and(is_same)
    }
}

/// The name of a machine's tree. Pools do not share leases: two of them may use an account of a host under one name.
fn tree_name(machine: &Machine) -> String {
    let record = machine.record();
    let pool = record.map_or(String::new(), |record| label_of(&record.id).to_owned());
    format!("{pool} {}", machine.name())
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
