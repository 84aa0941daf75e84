//! The inventory: joins nextest's list of tests with the metadata in the test binaries.
//!
//! Must not run programs or know targets: the plan interprets the declarations.

mod binary_digest;
mod effective;
mod section;

use std::{
    num::NonZero,
    path::Path,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use camino::Utf8PathBuf;
use nextest_metadata::{BuildPlatform, RustTestBinaryKind, RustTestSuiteSummary, TestListSummary};
use target_fixtures::metadata::{Metadata, MetadataRecord, RecordKind};

use crate::{
    error::{Error, Result},
    playbook::KnownEvents,
};
use effective::Index;

pub use binary_digest::binary_digest;
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
    /// The binary id of nextest: `hello`, `hello::net`, `hello::bin/tool`.
    pub id: String,
    /// The name of the Cargo target: `hello`, `net`.
    pub name: String,
    /// The binary kind of nextest: `lib`, `test`, `bin`, `proc-macro`, ...
    pub kind: String,
    /// The package id of Cargo.
    pub package_id: String,
    /// The absolute path.
    pub path: Utf8PathBuf,
    /// The working directory of the tests.
    pub cwd: Utf8PathBuf,
    /// True if the binary is built for the host even in a cross build, for example the tests of a proc-macro crate.
    pub host: bool,
    /// The events and fixtures that it contains.
    pub known: KnownEvents,
}

/// One test, as Cargo lists it.
#[derive(Clone, Debug)]
pub struct Test {
    /// The index of the test's binary in [`Inventory::binaries`].
    pub binary: usize,
    /// The name within the binary: `net::smoke`.
    pub name: String,
    /// True if the test has `#[ignore]`.
    pub ignored: bool,
    /// True if the test has `#[target_test]`.
    pub attribute: bool,
    /// The declarations of the test, merged with the defaults of its modules; `None` without `#[target_test]`.
    pub metadata: Option<Metadata>,
}

/// Joins nextest's list with the metadata in the test binaries, including tests that nextest's filters exclude.
///
/// # Errors
/// If a binary cannot be read or contains a damaged record.
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

/// Reads the metadata records of a test binary, in the order of its link section.
///
/// # Errors
/// If the file cannot be read or a record is damaged.
pub fn metadata_of(binary: &Path) -> Result<Vec<MetadataRecord>> {
    section::read(binary).map_err(|failure| {
        let message = format!(
            "failed to read the test metadata of `{}`: {failure}",
            binary.display()
        );
        Error::other(message).with_hint(
            "use the same version of `target-fixtures` and `cargo-target-test`, and rebuild the tests",
        )
    })
}

/// Returns the events and fixtures among the records of a binary.
pub fn known_events(records: &[MetadataRecord]) -> KnownEvents {
    let mut known = KnownEvents::default();
    for record in records {
        let name = record.path.rsplit("::").next().unwrap_or_default();
        match record.kind {
            RecordKind::Event => {
                let params = record.params.iter().map(|param| param.name.clone());
                known.events.insert(name.to_owned(), params.collect());
            }
            RecordKind::Fixture => {
                known.fixtures.push(name.to_owned());
                known.fixtures.push(record.path.clone());
            }
            RecordKind::Test | RecordKind::Module => {}
        }
    }
    known
}

/// Returns the crate name at the start of the record paths of the binary with this name.
pub fn crate_name(binary_name: &str) -> String {
    binary_name.replace('-', "_")
}

impl Test {
    /// Returns the declarations, which are empty without `#[target_test]`.
    pub fn declared(&self) -> &Metadata {
        static NOTHING: LazyLock<Metadata> = LazyLock::new(Metadata::default);
        self.metadata.as_ref().unwrap_or(&NOTHING)
    }
}

impl Inventory {
    /// Returns the binary of a test.
    pub fn binary_of(&self, test: usize) -> &Binary {
        &self.binaries[self.tests[test].binary]
    }

    fn add(&mut self, suite: &RustTestSuiteSummary, records: &[MetadataRecord]) {
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
            known: known_events(records),
        });
    }
}

/// Maps items on one thread per core and returns the results in the order of the items.
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
