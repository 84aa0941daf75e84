//! The functions called by code that `#[target_test]` generates: they run a test function and return its verdict.

use std::{
    any::Any,
    fmt,
    hint::black_box,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::{ExitCode, Termination},
};

use crate::{
    Target, env,
    error::{ErrorKind, TargetError, skipped},
    fixture::{self, Fixtures, Registered},
    lease::{self, TearDown},
    verdict::{self, SkipNow, TestEnd},
    wire::{BrokerRequest, TORN_DOWN},
};

/// Converts a record to bytes at compile time.
#[must_use]
pub const fn bytes<const LENGTH: usize>(text: &str) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes.copy_from_slice(text.as_bytes());
    bytes
}

/// Runs a test on the targets of its lease. In a process started to tear down a fixture, tears down the fixture
/// instead.
pub fn run(
    record: &'static [u8],
    path: &str,
    fixtures: &[&'static dyn Registered],
    test: impl FnOnce(&Fixtures, &[Target]) -> TestEnd,
) -> TestEnd {
    // Refer to the record, so that the linker keeps it.
    black_box(record);
    if let Some(order) = lease::tear_down(path) {
        return order.map_or_else(TestEnd::Fail, |order| tear_down(&order, path, fixtures));
    }
    let (targets, declared) = match lease::targets(path) {
        Ok(leased) => leased,
        Err(error) if error.kind() == ErrorKind::Skip => return TestEnd::Skip(error.to_string()),
        Err(error) => return TestEnd::Fail(format!("{error:?}")),
    };
    let Some(first) = targets.first() else {
        return TestEnd::Fail("infra: the lease has no instance".to_owned());
    };
    let fixtures = Fixtures::new(Some(first.clone()));
    let ended = caught(|| test(&fixtures, &targets));
    // Tear down fixtures after a panic too, but not if the failed instance is kept for examination.
    let failed = !matches!(&ended, Ok(TestEnd::Skip(_))) && !is_success(&ended);
    let stays = failed && std::env::var_os(env::STAYS).is_some();
    let torn = if stays { None } else { fixtures.tear_down() };
    let said = verdict::expected();
    let ended = match (declared, &said) {
        (Some(reason), _) => expected_to_fail(&reason, ended),
        (None, Some(reason)) => first.tell_expected(reason, expected_to_fail(reason, ended)),
        (None, None) => ended,
    };
    let verdict = match (ended, torn) {
        (Ok(verdict), None) => verdict,
        (Ok(TestEnd::Exit(code)), Some(error)) if code == ExitCode::SUCCESS => TestEnd::Fail(error),
        (ended, Some(error)) => {
            eprintln!("{error}");
            ended.unwrap_or_else(|panic| resume_unwind(panic))
        }
        (Err(panic), None) => resume_unwind(panic),
    };
    match verdict {
        TestEnd::Skip(reason) => match first.skip(&reason) {
            Ok(()) => TestEnd::Skip(reason),
            Err(error) => TestEnd::Fail(format!("{error:?}")),
        },
        verdict => verdict,
    }
}

/// Tears down a fixture that another process set up.
fn tear_down(order: &TearDown, path: &str, fixtures: &[&'static dyn Registered]) -> TestEnd {
    let Some(fixture) = fixture::find(fixtures, &order.name) else {
        return TestEnd::Fail(format!("the test has no fixture `{}`", order.name));
    };
    let target = match &order.instance {
        None => None,
        Some(instance) => match lease::targets(path) {
            Ok((targets, _)) => targets
                .into_iter()
                .find(|target| target.instance() == instance),
            Err(error) => return TestEnd::Fail(format!("{error:?}")),
        },
    };
    match fixture.tear_down(&Fixtures::new(target), &order.state) {
        // Exit immediately: the test harness may expect a panic.
        Ok(()) => std::process::exit(TORN_DOWN),
        Err(failure) => failure.verdict(),
    }
}

fn is_success(ended: &Result<TestEnd, Panic>) -> bool {
    matches!(ended, Ok(TestEnd::Exit(code)) if *code == ExitCode::SUCCESS)
}

type Panic = Box<dyn Any + Send>;

/// Runs a test and catches panics. [`skip!`](crate::skip!) becomes a verdict; other panics are returned.
fn caught(test: impl FnOnce() -> TestEnd) -> Result<TestEnd, Panic> {
    // Unwind safe: the state of the test is not used afterwards.
    match catch_unwind(AssertUnwindSafe(test)) {
        Err(panic) => match panic.downcast::<SkipNow>() {
            Ok(skip) => Ok(TestEnd::Skip(skip.0)),
            Err(panic) => Err(panic),
        },
        ended => ended,
    }
}

/// Inverts the verdict of a test that is expected to fail: a failure or panic passes, a pass fails.
fn expected_to_fail(reason: &str, ended: Result<TestEnd, Panic>) -> Result<TestEnd, Panic> {
    Ok(match ended {
        Ok(TestEnd::Skip(reason)) => TestEnd::Skip(reason),
        Ok(TestEnd::Exit(code)) if code == ExitCode::SUCCESS => {
            TestEnd::Fail(format!("passed, but is expected to fail: {reason}"))
        }
        // A lost instance is not the expected failure.
        Ok(TestEnd::Fail(text)) if text.starts_with("infra: ") => TestEnd::Fail(text),
        ended => {
            if let Ok(failed @ TestEnd::Fail(_)) = ended {
                failed.print();
            }
            eprintln!("failed as expected: {reason}");
            TestEnd::Exit(ExitCode::SUCCESS)
        }
    })
}

/// Runs an `async` test.
#[cfg(feature = "tokio")]
pub fn block_on<T>(test: impl Future<Output = T>) -> T {
    // Two threads, since the methods of `Target` block.
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(test),
        Err(error) => panic!("cannot start tokio's runtime: {error}"),
    }
}

/// Runs an example of the documentation on platform `local`. Skips the example if the tool is not installed.
pub fn example(test: impl FnOnce(&Target) -> Result<(), crate::Error>) {
    match lease::targets("example::example") {
        Ok((targets, _)) => {
            let ended = targets.first().map(test);
            assert!(matches!(ended, Some(Ok(()))), "{ended:?}");
        }
        Err(error) if std::env::var_os("TARGET_TEST_NO_SKIP").is_some() => panic!("{error:?}"),
        Err(error) => eprintln!("skip: {error}"),
    }
}

/// The return value of a test function.
pub struct Returned<R>(Option<R>);

/// Wraps the return value of a test function. The compiler reports an unsupported type at this bound.
pub fn returned<R: Termination>(value: R) -> Returned<R> {
    Returned(Some(value))
}

/// Converts a `Result` to a verdict; an error can be a skip.
pub trait ViaResult {
    /// The verdict.
    fn verdict(self) -> TestEnd;
}

/// Converts any other value to a verdict. Method resolution prefers [`ViaResult`], since this trait takes a reference.
pub trait ViaTermination {
    /// The verdict.
    fn verdict(self) -> TestEnd;
}

impl<T: Termination, E: fmt::Debug> ViaResult for Returned<Result<T, E>> {
    fn verdict(self) -> TestEnd {
        match self.0 {
            Some(Err(error)) => match skipped(&error) {
                Some(reason) => TestEnd::Skip(reason),
                None => TestEnd::Fail(format!("{error:?}")),
            },
            Some(Ok(value)) => TestEnd::Exit(value.report()),
            None => TestEnd::Exit(ExitCode::SUCCESS),
        }
    }
}

impl<R: Termination> ViaTermination for &mut Returned<R> {
    fn verdict(self) -> TestEnd {
        TestEnd::Exit(self.0.take().map_or(ExitCode::SUCCESS, Termination::report))
    }
}

impl Target {
    /// Reports to the broker that the test failed as expected.
    fn tell_expected(&self, reason: &str, ended: Result<TestEnd, Panic>) -> Result<TestEnd, Panic> {
        if let Ok(TestEnd::Exit(code)) = &ended
            && *code == ExitCode::SUCCESS
        {
            let reason = reason.to_owned();
            // Without a broker there is no report.
            let _ = self.client.ask(BrokerRequest::ExpectFail { reason });
        }
        ended
    }

    fn skip(&self, reason: &str) -> Result<(), TargetError> {
        self.client
            .ask(BrokerRequest::Skip {
                reason: reason.to_owned(),
            })
            .map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expected_failure_passes_and_a_pass_fails() {
        let passed = |verdict| matches!(verdict, TestEnd::Exit(code) if code == ExitCode::SUCCESS);
        let of = |test: fn() -> TestEnd| expected_to_fail("bug 7", caught(test)).expect("no panic");
        assert!(passed(of(|| TestEnd::Fail("no".to_owned()))));
        assert!(passed(of(|| TestEnd::Exit(ExitCode::FAILURE))));
        assert!(passed(of(|| panic!("as expected"))));
        assert!(matches!(
            of(|| TestEnd::Exit(ExitCode::SUCCESS)),
            TestEnd::Fail(text) if text.contains("bug 7")
        ));
        assert!(matches!(
            of(|| TestEnd::Skip("x".to_owned())),
            TestEnd::Skip(_)
        ));
    }

    #[test]
    fn any_termination_gives_a_verdict() {
        assert!(matches!(returned(()).verdict(), TestEnd::Exit(code) if code == ExitCode::SUCCESS));
        assert!(
            matches!(returned(ExitCode::from(3)).verdict(), TestEnd::Exit(code) if code == ExitCode::from(3))
        );
        assert!(matches!(
            returned(Ok::<(), String>(())).verdict(),
            TestEnd::Exit(_)
        ));
        assert!(
            matches!(returned(Err::<(), _>("no")).verdict(), TestEnd::Fail(text) if text == "\"no\"")
        );
        let skipping: crate::Result<()> = Err(crate::skip("not here"));
        assert!(
            matches!(returned(skipping).verdict(), TestEnd::Skip(reason) if reason == "not here")
        );
    }
}
