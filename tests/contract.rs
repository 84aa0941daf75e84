//! The contract of platforms: one list of checks that runs unchanged against every platform.
//!
//! A platform joins by a file in `contract/subject/` and a line below. Each check is a test of its own:
//! `contract::qemu::serves`. What exists is looked at from outside the tool, never in the pool.

/// The project whose tests look at an instance from inside.
mod author;
/// The checks.
mod checks;
/// The platforms.
mod subject;

use self::subject::Subject;

macro_rules! contract {
    ($($platform:ident: $subject:expr;)*) => {
        $(mod $platform {
            use super::{checks, subject, with};

            contract!(@ $subject; serves, deletes_what_is_half_made_or_gone, keeps_and_replaces,
                survives_a_death_at_every_point, restarts, shares_the_host_with_another_tool,
                names_a_wrong_parameter, shows_no_secret);
        })*
    };
    (@ $subject:expr; $($check:ident),*) => {
        $(#[test]
        fn $check() {
            with($subject, checks::$check);
        })*
    };
}

contract! {
    local: subject::local::new();
    ssh: subject::ssh::new();
    command: subject::command::new();
    programs: subject::programs::new();
    qemu: subject::qemu::new();
    container: subject::container::new();
}

/// Runs a check where the platform can run; says why where it cannot, which is a failure where `TARGET_TEST_NO_SKIP`
/// is set.
fn with<S: Subject>(subject: Result<S, String>, check: impl Fn(&S)) {
    match subject {
        Ok(subject) => check(&subject),
        Err(why) => {
            assert!(
                std::env::var_os("TARGET_TEST_NO_SKIP").is_none(),
                "the platform cannot run here: {why}"
            );
            eprintln!("skipped, since the platform cannot run here: {why}");
        }
    }
}
