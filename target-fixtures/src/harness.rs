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
    verdict::{self, SkipNow},
    wire::{Request, TORN_DOWN},
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
    test: impl FnOnce(&Fixtures, &[Target]) -> Verdict,
) -> Verdict {
    // Refer to the record, so that the linker keeps it.
    black_box(record);
    if let Some(order) = lease::tear_down(path) {
        return order.map_or_else(Verdict::Fail, |order| tear_down(&order, path, fixtures));
    }
    let (targets, declared) = match lease::targets(path) {
        Ok(leased) => leased,
        Err(error) if error.kind() == ErrorKind::Skip => return Verdict::Skip(error.to_string()),
        Err(error) => return Verdict::Fail(format!("{error:?}")),
    };
    let Some(first) = targets.first() else {
        return Verdict::Fail("infra: the lease has no instance".to_owned());
    };
    let fixtures = Fixtures::new(Some(first.clone()));
    let ended = caught(|| test(&fixtures, &targets));
    // Tear down fixtures after a panic too, but not if the failed instance is kept for examination.
    let failed = !matches!(&ended, Ok(Verdict::Skip(_))) && !is_success(&ended);
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
        (Ok(Verdict::Exit(code)), Some(error)) if code == ExitCode::SUCCESS => Verdict::Fail(error),
        (ended, Some(error)) => {
            eprintln!("{error}");
            ended.unwrap_or_else(|panic| resume_unwind(panic))
        }
        (Err(panic), None) => resume_unwind(panic),
    };
    match verdict {
        Verdict::Skip(reason) => match first.skip(&reason) {
            Ok(()) => Verdict::Skip(reason),
            Err(error) => Verdict::Fail(format!("{error:?}")),
        },
        verdict => verdict,
    }
}

/// Tears down a fixture that another process set up.
fn tear_down(order: &TearDown, path: &str, fixtures: &[&'static dyn Registered]) -> Verdict {
    let Some(fixture) = fixture::find(fixtures, &order.name) else {
        return Verdict::Fail(format!("the test has no fixture `{}`", order.name));
    };
    let target = match &order.instance {
        None => None,
        Some(instance) => match lease::targets(path) {
            Ok((targets, _)) => targets
                .into_iter()
                .find(|target| target.instance() == instance),
            Err(error) => return Verdict::Fail(format!("{error:?}")),
        },
    };
    match fixture.tear_down(&Fixtures::new(target), &order.state) {
        // Exit immediately: the test harness may expect a panic.
        Ok(()) => std::process::exit(TORN_DOWN),
        Err(failure) => failure.verdict(),
    }
}

fn is_success(ended: &Result<Verdict, Panic>) -> bool {
    matches!(ended, Ok(Verdict::Exit(code)) if *code == ExitCode::SUCCESS)
}

type Panic = Box<dyn Any + Send>;

/// Runs a test and catches panics. [`skip!`](crate::skip!) becomes a verdict; other panics are returned.
fn caught(test: impl FnOnce() -> Verdict) -> Result<Verdict, Panic> {
    // Unwind safe: the state of the test is not used afterwards.
    match catch_unwind(AssertUnwindSafe(test)) {
        Err(panic) => match panic.downcast::<SkipNow>() {
            Ok(skip) => Ok(Verdict::Skip(skip.0)),
            Err(panic) => Err(panic),
        },
        ended => ended,
    }
}

/// Inverts the verdict of a test that is expected to fail: a failure or panic passes, a pass fails.
fn expected_to_fail(reason: &str, ended: Result<Verdict, Panic>) -> Result<Verdict, Panic> {
    Ok(match ended {
        Ok(Verdict::Skip(reason)) => Verdict::Skip(reason),
        Ok(Verdict::Exit(code)) if code == ExitCode::SUCCESS => {
            Verdict::Fail(format!("passed, but is expected to fail: {reason}"))
        }
        // A lost instance is not the expected failure.
        Ok(Verdict::Fail(text)) if text.starts_with("infra: ") => Verdict::Fail(text),
        ended => {
            if let Ok(failed @ Verdict::Fail(_)) = ended {
                failed.print();
            }
            eprintln!("failed as expected: {reason}");
            Verdict::Exit(ExitCode::SUCCESS)
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

/// How a test ended, short of a panic.
#[derive(Debug)]
#[must_use]
pub enum Verdict {
    /// As the author's value says.
    Exit(ExitCode),
    /// With an error, which is printed.
    Fail(String),
    /// It passes for the test harness; the broker knows why it is none.
    Skip(String),
}

impl Verdict {
    /// Prints what there is to say, for a test that must return nothing (`#[should_panic]`).
    pub fn print(self) {
        self.report();
    }
}

impl Termination for Verdict {
    fn report(self) -> ExitCode {
        match self {
            Self::Exit(code) => code,
            Self::Fail(text) if text.starts_with("infra: ") => {
                eprintln!("{text}");
                ExitCode::FAILURE
            }
            Self::Fail(text) => {
                eprintln!("Error: {text}");
                ExitCode::FAILURE
            }
            Self::Skip(reason) => {
                eprintln!("skip: {reason}");
                ExitCode::SUCCESS
            }
        }
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
    fn verdict(self) -> Verdict;
}

/// Converts any other value to a verdict. Method resolution prefers [`ViaResult`], since this trait takes a reference.
pub trait ViaTermination {
    /// The verdict.
    fn verdict(self) -> Verdict;
}

impl<T: Termination, E: fmt::Debug> ViaResult for Returned<Result<T, E>> {
    fn verdict(self) -> Verdict {
        match self.0 {
            Some(Err(error)) => match skipped(&error) {
                Some(reason) => Verdict::Skip(reason),
                None => Verdict::Fail(format!("{error:?}")),
            },
            Some(Ok(value)) => Verdict::Exit(value.report()),
            None => Verdict::Exit(ExitCode::SUCCESS),
        }
    }
}

impl<R: Termination> ViaTermination for &mut Returned<R> {
    fn verdict(self) -> Verdict {
        Verdict::Exit(self.0.take().map_or(ExitCode::SUCCESS, Termination::report))
    }
}

impl Target {
    /// Reports to the broker that the test failed as expected.
    fn tell_expected(&self, reason: &str, ended: Result<Verdict, Panic>) -> Result<Verdict, Panic> {
        if let Ok(Verdict::Exit(code)) = &ended
            && *code == ExitCode::SUCCESS
        {
            let reason = reason.to_owned();
            // Without a broker there is no report.
            let _ = self.client.ask(Request::ExpectFail { reason });
        }
        ended
    }

    fn skip(&self, reason: &str) -> Result<(), TargetError> {
        self.client
            .ask(Request::Skip {
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
        let passed = |verdict| matches!(verdict, Verdict::Exit(code) if code == ExitCode::SUCCESS);
        let of = |test: fn() -> Verdict| expected_to_fail("bug 7", caught(test)).expect("no panic");
        assert!(passed(of(|| Verdict::Fail("no".to_owned()))));
        assert!(passed(of(|| Verdict::Exit(ExitCode::FAILURE))));
        assert!(passed(of(|| panic!("as expected"))));
        assert!(matches!(
            of(|| Verdict::Exit(ExitCode::SUCCESS)),
            Verdict::Fail(text) if text.contains("bug 7")
        ));
        assert!(matches!(
            of(|| Verdict::Skip("x".to_owned())),
            Verdict::Skip(_)
        ));
    }

    #[test]
    fn any_termination_gives_a_verdict() {
        assert!(matches!(returned(()).verdict(), Verdict::Exit(code) if code == ExitCode::SUCCESS));
        assert!(
            matches!(returned(ExitCode::from(3)).verdict(), Verdict::Exit(code) if code == ExitCode::from(3))
        );
        assert!(matches!(
            returned(Ok::<(), String>(())).verdict(),
            Verdict::Exit(_)
        ));
        assert!(
            matches!(returned(Err::<(), _>("no")).verdict(), Verdict::Fail(text) if text == "\"no\"")
        );
        let skipping: crate::Result<()> = Err(crate::skip("not here"));
        assert!(
            matches!(returned(skipping).verdict(), Verdict::Skip(reason) if reason == "not here")
        );
    }
}
