//! The programs of the workspace that tests start on targets: which one a name means, and a build that an instance can
//! run.

// Must not send programs (see `connect`).

mod cargo_build;
mod elf;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use crate::{
    connect::upload::hash_file,
    error::{Error, Result},
    playbook::did_you_mean,
    provision::Machine,
    sync::{self, lock},
    ui,
};
pub use cargo_build::CargoBuild;
use cargo_build::{BinaryId, BuildForm, Messages, has_std};
pub(super) use elf::has_constant;
use elf::{Arch, ElfNeeds, NeededLibc};

/// The programs of a workspace.
#[derive(Debug)]
pub struct Programs {
    cargo: Arc<CargoBuild>,
    packages: Vec<ProgramPackage>,
    /// The programs that tests declare.
    declared: Mutex<BTreeMap<BinaryId, Arc<Program>>>,
}

/// A package of the workspace and its binaries.
#[derive(Debug)]
struct ProgramPackage {
    id: String,
    folder: PathBuf,
    binaries: Vec<String>,
}

/// A test that declares programs.
#[derive(Clone, Copy, Debug)]
pub struct DeclaringTest<'a> {
    /// The folder or the package id of the test's package.
    pub package: &'a str,
    /// The path of the test, for messages.
    pub name: &'a str,
    /// The names of the programs.
    pub programs: &'a [String],
    /// The key `triple` of the target.
    pub triple: Option<&'a str>,
}

/// The programs that a case can start.
#[derive(Clone, Debug, Default)]
pub struct CasePrograms {
    all: BTreeMap<String, Arc<Program>>,
    /// The key `triple` of the target.
    triple: Option<String>,
}

/// A program of the workspace.
#[derive(Debug)]
struct Program {
    binary: BinaryId,
    cargo: Arc<CargoBuild>,
    /// Locked during a build, so that each form is built once.
    builds: Mutex<BTreeMap<BuildForm, BuildResult>>,
}

/// The test binaries of a run, by their paths on this host; each is read once.
#[derive(Debug, Default)]
pub struct TestBinaries(Mutex<BTreeMap<PathBuf, Arc<BuiltProgram>>>);

/// The result of a build: the program, or the message.
type BuildResult = Result<Arc<BuiltProgram>, String>;

/// A built program.
#[derive(Debug)]
pub struct BuiltProgram {
    /// The path on this host.
    pub path: PathBuf,
    /// The SHA-256.
    pub hash: String,
    elf: Option<ElfNeeds>,
}

impl Programs {
    /// Reads the binaries of a workspace. They are built by `cargo`.
    #[must_use]
    pub fn new(workspace: &cargo_metadata::Metadata, cargo: CargoBuild) -> Self {
        let packages = workspace.workspace_packages().into_iter();
        let packages = packages.map(|package| ProgramPackage {
            id: package.id.repr.clone(),
            folder: package.manifest_path.with_file_name("").into(),
            binaries: (package.targets.iter())
                .filter(|target| target.is_bin())
                .map(|target| target.name.clone())
                .collect(),
        });
        Self {
            cargo: Arc::new(cargo),
            packages: packages.collect(),
            declared: Mutex::default(),
        }
    }

    /// Finds the programs that a test declares: binaries of its package, or else of the workspace.
    ///
    /// # Errors
    /// [`ErrorKind::Build`](crate::ErrorKind::Build) if the binary is unknown or ambiguous.
    pub fn of_test(&self, test: &DeclaringTest<'_>) -> Result<CasePrograms> {
        let mut all = BTreeMap::new();
        for name in test.programs {
            let binary = self.find(test, name)?;
            let mut declared = lock(&self.declared);
            let program = declared.entry(binary).or_insert_with_key(|binary| {
                Arc::new(Program {
                    binary: binary.clone(),
                    cargo: Arc::clone(&self.cargo),
                    builds: Mutex::default(),
                })
            });
            all.insert(name.clone(), Arc::clone(program));
        }
        Ok(CasePrograms {
            all,
            triple: test.triple.map(str::to_owned),
        })
    }

    fn find(&self, test: &DeclaringTest<'_>, name: &str) -> Result<BinaryId> {
        let has = |package: &&ProgramPackage| package.binaries.iter().any(|one| one == name);
        let is_own = |package: &&ProgramPackage| {
            package.id == test.package || package.folder == Path::new(test.package)
        };
        let own = self.packages.iter().find(is_own).filter(has);
        let found: Vec<_> = match own {
            Some(own) => vec![own],
            None => self.packages.iter().filter(has).collect(),
        };
        if let [package] = found.as_slice() {
            return Ok(BinaryId {
                package: package.id.clone(),
                name: name.to_owned(),
            });
        }
        let which = match found.len() {
            0 => "the workspace has no such binary",
            _ => {
                "several packages of the workspace have such a binary, and the test's package has none"
            }
        };
        let message = format!("test `{}` declares program `{name}`: {which}", test.name);
        let error = Error::build(message);
        let known = self.packages.iter().flat_map(|one| &one.binaries);
        let known: Vec<_> = known.map(String::as_str).collect();
        Err(match did_you_mean(name, &known) {
            Some(hint) if found.is_empty() => error.with_hint(hint),
            _ => error,
        })
    }

    /// Builds all programs that cases declare, as the tests are built, with one call of Cargo. Programs that `built`
    /// returns a path for (by package id and name) are not built again. Cargo's messages are printed.
    ///
    /// # Errors
    /// [`ErrorKind::Build`](crate::ErrorKind::Build) if Cargo fails.
    pub fn build_all<'a>(
        &self,
        cases: impl Iterator<Item = &'a CasePrograms>,
        built: impl Fn(&str, &str) -> Option<PathBuf>,
    ) -> Result<()> {
        let as_tests = cases.filter(|case| case.triple.is_none());
        let programs: BTreeMap<_, _> = as_tests
            .flat_map(|case| case.all.values())
            .map(|program| (&program.binary, program))
            .collect();
        let (mut paths, mut missing) = (Vec::new(), Vec::new());
        for binary in programs.keys().copied() {
            match built(&binary.package, &binary.name) {
                Some(path) => paths.push((binary, path)),
                None => missing.push(binary),
            }
        }
        if !missing.is_empty() {
            let cargo = &self.cargo;
            paths.extend(cargo.build(&missing, &BuildForm::AsTests, Messages::Shown)?);
        }
        for (binary, path) in paths {
            let built = BuiltProgram::read(path)?;
            lock(&programs[binary].builds).insert(BuildForm::AsTests, Ok(Arc::new(built)));
        }
        Ok(())
    }
}

impl CasePrograms {
    /// Builds the programs for the instances of a lease, so that the test does not wait for it. Errors are those of
    /// [`CasePrograms::for_machine`], and returned by it again.
    pub async fn build_for(&self, machines: impl Iterator<Item = &Machine>) {
        if self.all.is_empty() {
            return;
        }
        for machine in machines {
            for name in self.all.keys() {
                let _ = self.for_machine(name, machine).await;
            }
        }
    }

    /// Returns a build of the program that the machine can run.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the test does not declare the program, if it cannot be built, or if it is of another
    /// architecture.
    pub async fn for_machine(&self, name: &str, machine: &Machine) -> Result<Arc<BuiltProgram>> {
        let program = self.all.get(name).ok_or_else(|| undeclared(name))?;
        let facts = machine.facts().await?;
        let (program, triple) = (Arc::clone(program), self.triple.clone());
        let fact = |key| facts.get(key).cloned().unwrap_or_default();
        let (arch, libc) = (fact("arch"), fact("libc"));
        sync::blocking(move || program.for_facts(triple, &arch, &libc)).await
    }
}

fn undeclared(name: &str) -> Error {
    Error::usage("the test does not declare it").with_hint(format!(
        "write `#[target_test(programs = [{name:?}])]`, or `target_defaults! {{ programs = [{name:?}] }}` for all tests \
         of a module"
    ))
}

impl Program {
    /// Returns a build for a machine with this output of `uname -m` and this C library. Blocks.
    fn for_facts(
        &self,
        triple: Option<String>,
        arch: &str,
        libc: &str,
    ) -> Result<Arc<BuiltProgram>> {
        let form = triple.clone().map_or(BuildForm::AsTests, BuildForm::For);
        let built = self.built(form)?;
        let Some(elf) = &built.elf else {
            return Ok(built);
        };
        if !elf.fits_arch(arch) {
            let own = elf.arch.map_or("another architecture", |own| own.machine);
            let message = format!("it is built for {own}, and the instance is {arch}");
            let triple = Arch::of_machine(arch).map_or("...", |arch| arch.gnu);
            return Err(Error::usage(message).with_hint(format!(
                "set `triple = {triple:?}` for the target in the playbook"
            )));
        }
        match (elf.fits_libc(libc), triple, elf.arch) {
            (true, ..) | (_, None, None) => Ok(built),
            // The user has a linker for this triple.
            (false, Some(triple), _) => self.built(BuildForm::Static(triple)),
            (false, None, Some(arch)) => self.built(static_form(arch, &self.cargo.directory)),
        }
    }

    fn built(&self, form: BuildForm) -> Result<Arc<BuiltProgram>> {
        let mut builds = lock(&self.builds);
        let built = builds.entry(form).or_insert_with_key(|form| {
            let built = self.build(form);
            built.map(Arc::new).map_err(|error| error.chain())
        });
        built.clone().map_err(Error::usage)
    }

    fn build(&self, form: &BuildForm) -> Result<BuiltProgram> {
        let name = &self.binary.name;
        if *form != BuildForm::AsTests {
            ui::live(&format!("building `{name}`{}", form.shown()));
        }
        let mut built = self.cargo.build(&[&self.binary], form, Messages::Kept)?;
        let (_, path) = (built.pop())
            .ok_or_else(|| Error::other(format!("cargo reported no binary `{name}`")))?;
        BuiltProgram::read(path)
    }
}

/// Returns the form of a static build: with musl if its standard library is installed, else with glibc.
fn static_form(arch: &Arch, directory: &Path) -> BuildForm {
    let triple = match has_std(arch.musl, directory) {
        true => arch.musl,
        false => arch.gnu,
    };
    BuildForm::Static(triple.to_owned())
}

impl TestBinaries {
    /// Returns a test binary. Blocks while it is read for the first time.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn read(&self, path: &Path) -> Result<Arc<BuiltProgram>> {
        let mut read = lock(&self.0);
        if let Some(known) = read.get(path) {
            return Ok(Arc::clone(known));
        }
        let binary = Arc::new(BuiltProgram::read(path.to_owned())?);
        read.insert(path.to_owned(), Arc::clone(&binary));
        Ok(binary)
    }
}

impl BuiltProgram {
    /// Returns the reason that a machine with these facts cannot run the program, if they show one, and what to do.
    pub(super) fn misfit(&self, facts: &BTreeMap<String, String>) -> Option<String> {
        let elf = self.elf.as_ref()?;
        let fact = |key| facts.get(key).map(String::as_str).unwrap_or_default();
        let (arch, libc) = (fact("arch"), fact("libc"));
        if !elf.fits_arch(arch) {
            let own = elf.arch.map_or("another architecture", |own| own.machine);
            let triple = Arch::of_machine(arch).map_or("...", |arch| arch.gnu);
            return Some(format!(
                "it is built for {own}, and the instance is {arch}; `--target {triple}` builds tests for it"
            ));
        }
        // An unknown library is looked for by the loader.
        (!libc.is_empty() && !elf.fits_libc(libc)).then(|| {
            let why = format!("it needs {}, and the instance has {libc}", elf.libc);
            self.without_libraries(&why)
        })
    }

    /// Returns the reason that libraries are missing, and what to do.
    pub(super) fn without_libraries(&self, why: &str) -> String {
        let arch = self.elf.as_ref().and_then(|elf| elf.arch);
        let triple = arch.map_or("a musl triple", |arch| arch.musl);
        format!("{why}; `--target {triple}` builds tests that need no library")
    }

    /// Returns the dynamic loader of a program that needs glibc on its machine.
    pub(super) fn glibc_loader(&self) -> Option<&str> {
        let elf = self.elf.as_ref()?;
        let loader = elf.loader.as_deref();
        loader.filter(|_| matches!(elf.libc, NeededLibc::Glibc(..)))
    }

    fn read(path: PathBuf) -> Result<Self> {
        Ok(Self {
            hash: hash_file(&path)?,
            elf: ElfNeeds::read(&path)?,
            path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misfits_are_named() {
        let built = BuiltProgram {
            path: PathBuf::new(),
            hash: String::new(),
            elf: Some(ElfNeeds {
                arch: Arch::of_machine("x86_64"),
                libc: NeededLibc::Glibc(2, 39),
                loader: None,
            }),
        };
        let misfit = |facts: &[(&str, &str)]| {
            let facts = facts.iter();
            let facts = facts.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            built.misfit(&facts.collect())
        };
        assert_eq!(misfit(&[("arch", "x86_64"), ("libc", "glibc 2.39")]), None);
        assert_eq!(misfit(&[]), None);
        let old = misfit(&[("libc", "glibc 2.31")]);
        let said = "it needs glibc 2.39, and the instance has glibc 2.31; `--target x86_64-unknown-linux-musl` builds tests \
                    that need no library";
        assert_eq!(old.as_deref(), Some(said));
        let other = misfit(&[("arch", "s390x")]);
        let said = "it is built for x86_64, and the instance is s390x; `--target s390x-unknown-linux-gnu` builds tests for it";
        assert_eq!(other.as_deref(), Some(said));
    }
}
