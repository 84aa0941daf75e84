//! The functions called by code that `#[target_test]` generates: they run a test function and return its verdict.

use std::{
    any::Any,
    fmt,
    hint::black_box,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::{ExitCode, Termination},
    sync::Arc,
};

use crate::{
    Environment, Target, env,
    error::{ErrorKind, TargetError, loss_in, skipped},
    fixture::{self, Fixtures, Registered},
    lease::{self, TearDown},
    orchestration, subtest,
    verdict::{self, SkipNow, TestEnd, panic_message},
    wire::{BrokerRequest, ExpectedFailure, TORN_DOWN},
};

/// The maximum number of bytes of a failure's message that the broker gets.
const MESSAGE: usize = 64 << 10;

/// Converts a record to bytes at compile time.
#[must_use]
pub const fn bytes<const LENGTH: usize>(text: &str) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes.copy_from_slice(text.as_bytes());
    bytes
}

/// Gives a target the name of the parameter that takes it, for the test's log.
#[must_use]
pub fn labelled(target: &Target, label: &'static str) -> Target {
    target.labelled(label)
}

/// The environment that a test leases.
#[must_use]
pub fn environment(targets: &[Target]) -> Environment {
    Environment::new(targets)
}

/// Runs a test on the targets of its lease. In a process started to tear down a fixture, tears down the fixture
/// instead.
pub fn run(
    record: &'static [u8],
    path: &str,
    fixtures: &[&'static dyn Registered],
    test: impl FnOnce(&Arc<Fixtures>, &[Target]) -> TestEnd,
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
    let fixtures = Arc::new(Fixtures::new(Some(first.clone()), &targets));
    subtest::collect(&first.client);
    let ended = subtest::conclude(caught(|| test(&fixtures, &targets)));
    // Tear down fixtures after a panic too, but not if the failed instance is kept for examination.
    let failed = !matches!(&ended, Ok(TestEnd::Skip(_))) && !is_success(&ended);
    let stays = failed && std::env::var_os(env::STAYS).is_some();
    let torn = if stays { None } else { fixtures.tear_down() };
    first.tell_failure(&ended);
    let said: Vec<_> = verdict::expected().into_iter().collect();
    let ended = match (declared.as_slice(), said.as_slice()) {
        ([], []) => ended,
        ([], said) => {
            let (ended, reason) = expected_to_fail(said, ended);
            reason.iter().for_each(|reason| first.tell_expected(reason));
            ended
        }
        (declared, _) => expected_to_fail(declared, ended).0,
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

/// Runs the orchestration of the test at `path`.
pub fn orchestrate(record: &'static [u8], path: &str) -> TestEnd {
    if std::env::var_os(env::CHECK_EVENTS).is_some() {
        return orchestration::check_events();
    }
    run(record, path, &[], |fixtures, targets| {
        orchestration::run(fixtures, targets)
    })
}

/// Tears down a fixture that another process set up.
fn tear_down(order: &TearDown, path: &str, fixtures: &[&'static dyn Registered]) -> TestEnd {
    // The fixtures of an orchestration are known by the registry only.
    let registered = orchestration::FIXTURES.items();
    let found = fixture::find(fixtures, &order.name);
    let Some(fixture) = found.or_else(|| fixture::find(&registered, &order.name)) else {
        return TestEnd::Fail(format!("the test has no fixture `{}`", order.name));
    };
    let fixtures = match &order.instance {
        None => Fixtures::new(None, &[]),
        Some(instance) => match lease::targets(path) {
            Ok((targets, _)) => {
                let mut all = targets.iter();
                let target = all.find(|target| target.instance() == instance);
                Fixtures::new(target.cloned(), &targets)
            }
            Err(error) => return TestEnd::Fail(format!("{error:?}")),
        },
    };
    match fixture.tear_down(&fixtures, &order.state) {
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

/// Returns the message of a failed test; `None` if the test did not fail.
fn failure_of(ended: &Result<TestEnd, Panic>) -> Option<String> {
    match ended {
        Ok(TestEnd::Skip(_)) => None,
        Ok(TestEnd::Exit(code)) => (*code != ExitCode::SUCCESS).then(String::new),
        Ok(TestEnd::Fail(text)) => Some(text.clone()),
        Err(panic) => Some(panic_message(&**panic).unwrap_or_default().to_owned()),
    }
}

/// Inverts the verdict of a test that is expected to fail: an expected failure or panic passes, a pass fails. Returns
/// the reason too if the test failed as expected.
fn expected_to_fail(
    expected: &[ExpectedFailure],
    ended: Result<TestEnd, Panic>,
) -> (Result<TestEnd, Panic>, Option<String>) {
    let reasons = || {
        let reasons: Vec<_> = expected.iter().map(|one| one.reason.as_str()).collect();
        reasons.join(", ")
    };
    let Some(message) = failure_of(&ended) else {
        return match ended {
            Ok(TestEnd::Exit(_)) => {
                let text = format!("passed, but is expected to fail: {}", reasons());
                (Ok(TestEnd::Fail(text)), None)
            }
            ended => (ended, None),
        };
    };
    // A lost instance is not the expected failure.
    let covers = |one: &&ExpectedFailure| one.covers(&message) && loss_in(&message).is_none();
    let Some(ExpectedFailure { reason, .. }) = expected.iter().find(covers) else {
        eprintln!("failed, but not as expected: {}", reasons());
        return (ended, None);
    };
    if let Ok(failed @ TestEnd::Fail(_)) = ended {
        failed.print();
    }
    eprintln!("failed as expected: {reason}");
    (Ok(TestEnd::Exit(ExitCode::SUCCESS)), Some(reason.clone()))
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
    /// Reports a failure of the test before its end.
    pub(crate) fn tell_failure_now(&self, message: &str) {
        self.tell_failure(&Ok(TestEnd::Fail(message.to_owned())));
    }

    /// Reports the failure of the test, if it failed, to the broker.
    fn tell_failure(&self, ended: &Result<TestEnd, Panic>) {
        if let Some(mut message) = failure_of(ended) {
            let lost = loss_in(&message);
            let end = MESSAGE.min(message.len());
            let end = (0..=end).rev().find(|end| message.is_char_boundary(*end));
            message.truncate(end.unwrap_or_default());
            // Without a broker there is no report.
            let _ = self.client.ask(BrokerRequest::Failed { message, lost });
        }
    }

    /// Reports to the broker that the test failed as expected.
    fn tell_expected(&self, reason: &str) {
        let reason = reason.to_owned();
        // Without a broker there is no report.
        let _ = self.client.ask(BrokerRequest::ExpectFail { reason });
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
        let bug = [ExpectedFailure {
            reason: "bug 7".to_owned(),
            error: None,
        }];
        let of = |test: fn() -> TestEnd| expected_to_fail(&bug, caught(test)).0.expect("no panic");
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
    fn only_the_expected_failure_is_expected() {
        let bug = |reason: &str, error: &str| ExpectedFailure {
            reason: reason.to_owned(),
            error: Some(error.to_owned()),
        };
        let bugs = [bug("bug 7", "timed out"), bug("bug 8", "no route")];
        let of = |test: fn() -> TestEnd| expected_to_fail(&bugs, caught(test)).1;
        let fails = |text: &str| TestEnd::Fail(text.to_owned());
        assert_eq!(
            of(|| panic!("timed out after {}", 3)).as_deref(),
            Some("bug 7")
        );
        assert_eq!(of(|| panic!("no route")).as_deref(), Some("bug 8"));
        let ended = |text: &str| expected_to_fail(&bugs, Ok(fails(text)));
        assert_eq!(ended("no route to host").1.as_deref(), Some("bug 8"));
        assert!(matches!(ended("refused"), (Ok(TestEnd::Fail(text)), None) if text == "refused"));
        assert!(matches!(
            expected_to_fail(&bugs, caught(|| panic!("other"))),
            (Err(_), None)
        ));
        let exits = expected_to_fail(&bugs, Ok(TestEnd::Exit(ExitCode::FAILURE)));
        assert!(matches!(exits, (Ok(TestEnd::Exit(code)), None) if code == ExitCode::FAILURE));
        // A lost machine is not the expected failure, even if the text matches.
        let lost = crate::TargetError::infra("no route to `lost-0`");
        assert_eq!(ended(&format!("caused by: {lost}")).1, None);
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
