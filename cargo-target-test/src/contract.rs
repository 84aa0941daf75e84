//! The contract of platforms: one list of checks that runs unchanged against every platform.
//!
//! The checks are tests of the crate that calls [`contract_tests!`](crate::contract_tests). They look for instances
//! from outside the tool, never in the pool. Needs the feature `contract`.

mod checks;
mod place;
mod playbook;
mod run;
mod subject;

use self::place::Place;
pub use self::{playbook::PlaybookSubject, subject::Subject};

/// Declares the checks of the contract as tests, for a platform and a playbook.
///
/// The playbook is a file of the package, with one target `it` whose `count` is 2 and whose recipe has two steps. Call
/// the macro in an integration test (`tests/contract.rs`) of a package with a binary of the package's name, whose
/// `main` is [`Tool::main`](crate::Tool::main) with that platform:
///
/// ```ignore
/// cargo_target_test::contract_tests!(Lab, "tests/contract.toml");
/// ```
///
/// `contract_tests!(subject: ...)` takes a `Result<impl Subject, String>` instead; an error is the reason that the
/// platform cannot run on this host. Its checks are then skipped, unless `TARGET_TEST_NO_SKIP` is set.
///
/// An instance of the contract has a POSIX shell, `mktemp`, `/proc` and `busybox`.
#[macro_export]
macro_rules! contract_tests {
    ($platform:expr, $playbook:literal) => {
        $crate::contract_tests!(subject: $crate::contract::PlaybookSubject::new(
            $platform,
            concat!(env!("CARGO_MANIFEST_DIR"), "/", $playbook),
        ));
    };
    (subject: $subject:expr) => {
        $crate::contract_tests!(@ $subject; serves, deletes_what_is_half_made_or_gone, keeps_and_replaces,
            survives_a_death_at_every_point, restarts, shares_the_host_with_another_tool, names_a_wrong_parameter,
            shows_no_secret);
    };
    (@ $subject:expr; $($check:ident),*) => {
        $(#[test]
        fn $check() {
            let site = $crate::contract::Site {
                tool: env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME"))),
                package: env!("CARGO_MANIFEST_DIR"),
                folder: env!("CARGO_TARGET_TMPDIR"),
            };
            if let Some(contract) = $crate::contract::Contract::new(site, $subject) {
                contract.$check();
            }
        })*
    };
}

/// The crate whose tests the checks are.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// The tool's binary.
    pub tool: &'static str,
    /// The package's folder.
    pub package: &'static str,
    /// The folder for files of tests.
    pub folder: &'static str,
}

/// A platform under the contract. Its methods are the checks; they panic on a violation.
pub struct Contract<S> {
    site: Site,
    subject: S,
}

impl<S: Subject> Contract<S> {
    /// Creates the contract; `None`, with a note on standard error, if the platform cannot run here.
    ///
    /// # Panics
    /// If the platform cannot run here and `TARGET_TEST_NO_SKIP` is set.
    pub fn new(site: Site, subject: Result<S, String>) -> Option<Self> {
        match subject {
            Ok(subject) => Some(Self { site, subject }),
            Err(why) => {
                let must = std::env::var_os("TARGET_TEST_NO_SKIP").is_some();
                assert!(!must, "the platform cannot run here: {why}");
                crate::ui::note(format!(
                    "skipped, since the platform cannot run here: {why}"
                ));
                None
            }
        }
    }

    fn place(&self) -> Place<'_, S> {
        Place::new(self.site, &self.subject)
    }
}
