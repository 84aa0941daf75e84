//! Verdicts that a test gives itself: `skip!` and `expect_fail`, and how they are passed to the test harness. Must not
//! know how the broker receives them.

use std::{
    any::Any,
    cell::RefCell,
    process::{ExitCode, Termination},
};

use crate::{env, wire::ExpectedFailure};

thread_local! {
    /// The failure given to [`expect_fail`] or [`expect_error`] on this thread.
    static EXPECTED: RefCell<Option<ExpectedFailure>> = const { RefCell::new(None) };
}

/// The unwind payload of [`skip_now`]: the reason of the skip.
pub(crate) struct SkipNow(pub(crate) String);

/// Skips the test by unwinding its thread.
#[doc(hidden)]
pub fn skip_now(reason: String) -> ! {
    // Unlike `panic!`, this prints nothing.
    std::panic::resume_unwind(Box::new(SkipNow(reason)))
}

/// Returns the message of a panic's payload, if it is text.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> Option<&str> {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}

/// Marks the running test as expected to fail. A failure is then reported as expected, with the reason, and a pass is a
/// failure. If the condition is known in advance, use the argument `expect_fail(..)` instead.
///
/// ```no_run
/// use target_fixtures::{expect_fail, prelude::*};
///
/// #[target_test]
/// fn offload(target: &Target) -> Result<()> {
///     if target.facts()?.kernel.starts_with("6.1.") {
///         expect_fail("bug 4711: no offload before 6.2");
///     }
///     target.run("ethtool -k eth0 | grep -q 'rx-checksumming: on'")?;
///     Ok(())
/// }
/// # fn main() {}
/// ```
pub fn expect_fail(reason: impl Into<String>) {
    EXPECTED.set(Some(ExpectedFailure {
        reason: reason.into(),
        error: None,
    }));
}

/// Like [`expect_fail`], but expects only a failure whose message contains `error`; any other failure counts.
pub fn expect_error(reason: impl Into<String>, error: impl Into<String>) {
    EXPECTED.set(Some(ExpectedFailure {
        reason: reason.into(),
        error: Some(error.into()),
    }));
}

/// The end of a test that did not panic.
#[derive(Debug)]
#[must_use]
pub enum TestEnd {
    /// The exit code of the author's return value.
    Exit(ExitCode),
    /// With an error, which is printed.
    Fail(String),
    /// Passes for the test harness; the broker knows that it is a skip.
    Skip(String),
}

impl TestEnd {
    /// Prints the error or the reason, for a test that must return nothing (`#[should_panic]`).
    pub fn print(self) {
        self.report();
    }
}

impl Termination for TestEnd {
    fn report(self) -> ExitCode {
        match self {
            Self::Exit(code) => code,
            Self::Fail(text) => {
                let lost = ["infra: ", "crash: "].iter();
                match lost.copied().find_map(|verdict| text.strip_prefix(verdict)) {
                    // Under a run, the runner tells the verdict.
                    Some(_) if std::env::var_os(env::LEASE).is_none() => eprintln!("{text}"),
                    cause => eprintln!("Error: {}", cause.unwrap_or(&text)),
                }
                ExitCode::FAILURE
            }
            Self::Skip(reason) => {
                eprintln!("skip: {reason}");
                ExitCode::SUCCESS
            }
        }
    }
}

/// Takes the failure given to [`expect_fail`] or [`expect_error`], if any.
pub(crate) fn expected() -> Option<ExpectedFailure> {
    EXPECTED.take()
}

/// Skips the test with a reason, from any function on the test's thread.
///
/// ```no_run
/// use target_fixtures::prelude::*;
///
/// fn needs_kvm(target: &Target) {
///     if target.run("ls /dev/kvm").is_err() {
///         target_fixtures::skip!("no /dev/kvm on {}", target.instance());
///     }
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {
        $crate::__private::skip_now(::std::format!($($reason)+))
    };
}
