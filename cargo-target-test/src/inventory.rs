//! The inventory: which tests exist, and what each declares.
//!
//! Owns joining nextest's list with what the test binaries carry. Must not run anything, nor know
//! targets: what a declaration means for a run is the plan's affair.

mod effective;
mod section;

use std::{
    num::NonZero,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use camino::Utf8PathBuf;
use nextest_metadata::{BuildPlatform, RustTestBinaryKind, RustTestSuiteSummary, TestListSummary};
use target_fixtures::metadata::{Metadata, Record};

use crate::error::{Error, ErrorKind, Result};
use effective::Index;

pub use effective::effective;

/// All tests of a build.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The test binaries, by id.
    pub binaries: Vec<Binary>,
    /// The tests, by binary and name.
    pub tests: Vec<Test>,
}

/// One test binary.
#[derive(Clone, Debug)]
pub struct Binary {
    /// nextest's id: `hello`, `hello::net`, `hello::bin/tool`.
    pub id: String,
    /// Cargo's name of the target that it was built from: `hello`, `net`.
    pub name: String,
    /// nextest's kind: `lib`, `test`, `bin`, `proc-macro`, ...
    pub kind: String,
    /// Cargo's id of the package.
    pub package_id: String,
    /// The file, absolute.
    pub path: Utf8PathBuf,
    /// The folder its tests run in.
    pub cwd: Utf8PathBuf,
    /// Built for the host, whatever the target: a proc-macro crate's tests.
    pub host: bool,
}

/// One test, as Cargo lists it.
#[derive(Clone, Debug)]
pub struct Test {
    /// Its binary: an index into [`Inventory::binaries`].
    pub binary: usize,
    /// Its name within the binary: `net::smoke`.
    pub name: String,
    /// Whether it is `#[ignore]`d.
    pub ignored: bool,
    /// Whether it has `#[target_test]`.
    pub attribute: bool,
    /// What it declares, defaults of its modules included; `None`: nothing.
    pub metadata: Option<Metadata>,
}

/// Joins nextest's list with the metadata in its binaries. Every listed test is taken, whether or not
/// nextest's filters match it.
///
/// # Errors
/// When a binary cannot be read or carries a damaged record; the binary is named.
pub fn read(summary: &TestListSummary) -> Result<Inventory> {
    let suites: Vec<_> = summary.rust_suites.values().collect();
    let records = in_parallel(&suites, |suite| {
        if suite.test_cases.is_empty() {
            return Ok(Vec::new());
        }
        metadata_of(suite.binary.binary_path.as_std_path())
    });
    let mut inventory = Inventory::default();
    for (suite, records) in suites.into_iter().zip(records) {
        inventory.add(suite, &records?);
    }
    Ok(inventory)
}

/// What a test binary carries, in the order of its link section; empty where it carries nothing.
///
/// # Errors
/// When the file cannot be read or a record is damaged; the file is named.
pub fn metadata_of(binary: &Path) -> Result<Vec<Record>> {
    section::read(binary).map_err(|failure| {
        let message = format!(
            "cannot read the test metadata of `{}`: {failure}",
            binary.display()
        );
        Error::new(ErrorKind::Other, message).with_hint(
            "build the tests again; are `target-fixtures` and `cargo-target-test` of one version?",
        )
    })
}

/// The crate that a record's path starts with, for a binary of this name.
pub fn crate_name(binary_name: &str) -> String {
    binary_name.replace('-', "_")
}

impl Inventory {
    fn add(&mut self, suite: &RustTestSuiteSummary, records: &[Record]) {
        let binary = &suite.binary;
        let (index, crate_name) = (Index::new(records), crate_name(&binary.binary_name));
        let number = self.binaries.len();
        self.tests
            .extend(suite.test_cases.iter().map(|(name, case)| {
                let metadata = index.effective(&format!("{crate_name}::{name}"));
                Test {
                    binary: number,
                    name: name.as_str().to_owned(),
                    ignored: case.ignored,
                    attribute: metadata.is_some(),
                    metadata,
                }
            }));
        self.binaries.push(Binary {
            id: binary.binary_id.as_str().to_owned(),
            name: binary.binary_name.clone(),
            kind: binary.kind.as_str().to_owned(),
            package_id: binary.package_id.clone(),
            path: binary.binary_path.clone(),
            cwd: suite.cwd.clone(),
            host: binary.build_platform == BuildPlatform::Host
                || binary.kind == RustTestBinaryKind::PROC_MACRO,
        });
    }
}

/// Maps in parallel on as many threads as there are cores; results in the order of the items.
fn in_parallel<T: Sync, R: Send>(items: &[T], map: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let (next, map) = (AtomicUsize::new(0), &map);
    let work = || {
        let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let mine = numbers.map_while(|number| Some((number, map(items.get(number)?))));
        mine.collect::<Vec<_>>()
    };
    let mut results = thread::scope(|scope| {
        let others: Vec<_> = (1..cores.min(items.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let mut results = work();
        for other in others {
            match other.join() {
                Ok(more) => results.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    });
    results.sort_unstable_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
