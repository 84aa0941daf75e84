//! Verdicts that a test gives itself while it runs.
//!
//! Owns `skip!` and `expect_fail`. Must not know how a verdict is reported: the harness does.

use std::cell::RefCell;

thread_local! {
    /// The reason given to [`expect_fail`] on this thread.
    static EXPECTED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The unwind payload of [`skip_now`]: the reason of the skip.
pub(crate) struct SkipNow(pub(crate) String);

/// Skips the test by unwinding its thread.
#[doc(hidden)]
pub fn skip_now(reason: String) -> ! {
    // Unlike `panic!`, this prints nothing.
    std::panic::resume_unwind(Box::new(SkipNow(reason)))
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
    EXPECTED.set(Some(reason.into()));
}

/// Takes the reason given to [`expect_fail`], if any.
pub(crate) fn expected() -> Option<String> {
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
