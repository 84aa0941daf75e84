//! Subtests: several results of one test, each reported on its own.
//!
//! A failed subtest fails the test after the others have run. Must not know how results are shown.

mod tap_output;

use std::{
    any::Any,
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    client::Client,
    error::{Error, ErrorKind, Placed, Result, TargetError, loss_in, skip, skipped},
    verdict::{SkipNow, TestEnd, panic_message},
    wire::{BrokerRequest, SubResult, VerdictKind},
};
use tap_output::{TapOutput, TapResult};

/// The maximum number of bytes of a result's message.
const MESSAGE: usize = 16 << 10;
/// The maximum number of failures that the message of a failed test lists.
const LISTED: usize = 20;

/// Returns the part of a text that is the message of a result. The test's output has the whole text.
pub(crate) fn message_of(text: &str) -> &str {
    let mut ends = (0..=text.len().min(MESSAGE)).rev();
    let end = ends.find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or_default()]
}

thread_local! {
    /// The subtests of the test that runs on this thread.
    static SUBTESTS: RefCell<Option<Subtests>> = const { RefCell::new(None) };
}

/// The subtests of one test.
struct Subtests {
    client: Arc<Client>,
    /// The names of the running subtests, the outermost first.
    path: Vec<String>,
    /// The number of results without subtests of their own.
    count: usize,
    /// The failed results, each with its path and its message.
    failed: Vec<String>,
    /// The losses of instances that failures reported.
    lost: Vec<String>,
}

/// The result of one subtest.
struct SubtestEnd {
    verdict: VerdictKind,
    message: Option<String>,
}

/// Runs a part of a test as a subtest, which has a result of its own in reports and run events. Returns the value, or
/// `None` if the subtest failed or [skipped](fn@crate::skip) itself.
///
/// An error or a panic ends only the subtest. The test fails at its end if one of its subtests failed. A subtest can have
/// subtests.
///
/// ```
/// use target_fixtures::subtest;
/// # target_fixtures::__private::example(|target| {
/// for folder in ["/etc", "/tmp"] {
///     subtest(folder, || {
///         assert!(target.exists(folder)?);
///         Ok(())
///     });
/// }
/// # Ok(()) });
/// ```
///
/// # Panics
/// If the subtest fails on a thread that the test started: only the test's own thread collects results.
pub fn subtest<T>(name: impl Into<String>, body: impl FnOnce() -> Result<T>) -> Option<T> {
    let (name, started) = (name.into(), Instant::now());
    let is_collected = enter(&name);
    let failed_before = with(|subtests| (subtests.count, subtests.failed.len()));
    // Unwind safe: the state of the body is not used after a panic.
    let ended = catch_unwind(AssertUnwindSafe(body));
    let (value, mut end) = end_of(ended);
    let (count, failed) = failed_before.unwrap_or_default();
    let (count, failed) =
        with(|own| (own.count - count, own.failed.len() - failed)).unwrap_or((0, 0));
    // A result that only sums up those below is not counted.
    let mut sums_up = count > 0 && end.verdict == VerdictKind::Pass;
    if failed > 0 && end.verdict != VerdictKind::Fail {
        sums_up = true;
        end = SubtestEnd::failed(format!("{failed} of {count} subtests failed"));
    }
    let value = value.filter(|_| end.verdict == VerdictKind::Pass);
    if is_collected {
        with(|subtests| {
            subtests.report(&[], &end, started.elapsed(), !sums_up);
            subtests.path.pop();
        });
    } else if end.verdict == VerdictKind::Fail {
        panic!(
            "subtest `{name}` failed: {}",
            end.message.unwrap_or_default()
        );
    }
    value
}

/// Reports each result of [TAP](https://testanything.org) output as a subtest, for example of a program that ran on a
/// target. The nested results of the kernel's KTAP have the names of their suites in their paths; time stamps of the kernel log are
/// allowed.
///
/// ```no_run
/// use target_fixtures::{prelude::*, tap};
///
/// #[target_test]
/// fn kunit(target: &Target) -> Result<()> {
///     tap(&target.cat("/sys/kernel/debug/kunit/list-test/results")?)?;
///     let selftest = target.command("/opt/selftests/run.sh").allow_failure().run()?;
///     tap(&selftest.stdout)?;
///     Ok(())
/// }
/// # fn main() {}
/// ```
///
/// Like a failed [`subtest`], a result that is not ok fails the test at its end, as do fewer results than planned and `Bail
/// out!`. A result with `# SKIP` is skipped; a failure with `# TODO` or `# XFAIL` is expected.
///
/// # Errors
/// [`ErrorKind::Request`] if the text has no result and no plan; a [skip](fn@crate::skip) if its plan skips everything.
///
/// # Panics
/// As [`subtest`].
#[track_caller]
pub fn tap(text: &str) -> Result<()> {
    let results = match TapOutput::parse(text) {
        TapOutput::Results(results) => results,
        TapOutput::Skipped(reason) => return Err(skip(reason)),
        TapOutput::None => {
            let message = "read TAP output: it has no result and no plan";
            return Err(TargetError::new(ErrorKind::Request, message)
                .placed()
                .into());
        }
    };
    for TapResult {
        path,
        verdict,
        message,
    } in results
    {
        let end = SubtestEnd { verdict, message };
        let told = with(|subtests| subtests.report(&path, &end, Duration::ZERO, true));
        if told.is_none() && verdict == VerdictKind::Fail {
            panic!(
                "subtest `{}` failed: {}",
                path.join("/"),
                end.message.unwrap_or_default()
            );
        }
    }
    Ok(())
}

/// Starts to collect the subtests of a test on this thread.
pub(crate) fn collect(client: &Arc<Client>) {
    SUBTESTS.set(Some(Subtests {
        client: Arc::clone(client),
        path: Vec::new(),
        count: 0,
        failed: Vec::new(),
        lost: Vec::new(),
    }));
}

/// A time in microseconds since 1970, as in reports.
pub(crate) fn micros_since_1970(time: SystemTime) -> u64 {
    micros(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Stops to collect subtests. A test that did not fail by itself fails if one of its subtests did.
pub(crate) fn conclude<P>(
    ended: std::result::Result<TestEnd, P>,
) -> std::result::Result<TestEnd, P> {
    let failure = SUBTESTS.take().and_then(Subtests::failure);
    match (failure, &ended) {
        (Some(failure), Ok(TestEnd::Skip(_))) => Ok(TestEnd::Fail(failure)),
        (Some(failure), Ok(TestEnd::Exit(code))) if *code == ExitCode::SUCCESS => {
            Ok(TestEnd::Fail(failure))
        }
        _ => ended,
    }
}

/// Calls `act` with the subtests of this thread's test, if any.
fn with<T>(act: impl FnOnce(&mut Subtests) -> T) -> Option<T> {
    SUBTESTS.with_borrow_mut(|subtests| subtests.as_mut().map(act))
}

/// Returns the connection of this thread's test, if any.
pub(crate) fn client() -> Option<Arc<Client>> {
    with(|subtests| Arc::clone(&subtests.client))
}

/// Begins a subtest; false on a thread without a test.
fn enter(name: &str) -> bool {
    with(|subtests| subtests.path.push(name.to_owned())).is_some()
}

type Panic = Box<dyn Any + Send>;

fn end_of<T>(ended: std::result::Result<Result<T>, Panic>) -> (Option<T>, SubtestEnd) {
    let skips = |reason| SubtestEnd {
        verdict: VerdictKind::Skip,
        message: Some(reason),
    };
    match ended {
        Ok(Ok(value)) => {
            let end = SubtestEnd {
                verdict: VerdictKind::Pass,
                message: None,
            };
            (Some(value), end)
        }
        Ok(Err(error)) => match skipped(&error) {
            Some(reason) => (None, skips(reason)),
            None => (None, SubtestEnd::of(&error)),
        },
        Err(panic) => match panic.downcast::<SkipNow>() {
            Ok(skip) => (None, skips(skip.0)),
            Err(panic) => {
                let message = panic_message(&*panic).unwrap_or_default();
                (None, SubtestEnd::failed(message.to_owned()))
            }
        },
    }
}

impl SubtestEnd {
    fn of(error: &Error) -> Self {
        Self::failed(format!("{error:?}"))
    }

    fn failed(message: String) -> Self {
        Self {
            verdict: VerdictKind::Fail,
            message: Some(message),
        }
    }
}

impl Subtests {
    /// Reports the result of the running subtest, or of one below it. `counts` is false if it sums up others.
    fn report(&mut self, below: &[String], end: &SubtestEnd, took: Duration, counts: bool) {
        let path = [&self.path[..], below].concat();
        let name = path.join("/");
        let text = end.message.as_deref().unwrap_or_default();
        match end.verdict {
            VerdictKind::Pass => eprintln!("subtest {name} ... ok"),
            VerdictKind::Skip => eprintln!("subtest {name} ... skipped: {text}"),
            // The test's failure has the rest.
            _ => eprintln!(
                "subtest {name} ... FAILED: {}",
                text.trim().lines().next().unwrap_or_default()
            ),
        }
        let lost = loss_in(text);
        if counts {
            self.count += 1;
            if end.verdict == VerdictKind::Fail {
                self.failed
                    .push(format!("{name}: {}", text.trim().replace('\n', "\n    ")));
                self.lost.extend(lost.clone());
            }
        }
        let message = message_of(text);
        let result = SubResult {
            path,
            lane: None,
            verdict: match lost {
                Some(_) if end.verdict == VerdictKind::Fail => VerdictKind::Infra,
                _ => end.verdict,
            },
            started: micros_since_1970(SystemTime::now().checked_sub(took).unwrap_or(UNIX_EPOCH)),
            took: micros(took),
            message: (!message.is_empty()).then(|| message.to_owned()),
        };
        // Without a broker there is no report.
        let _ = self.client.ask(BrokerRequest::SubResult(result));
    }

    /// The message of the test's failure, if a subtest failed.
    fn failure(self) -> Option<String> {
        let (failed, count) = (self.failed.len(), self.count);
        if failed == 0 {
            return None;
        }
        let mut text = format!("{failed} of {count} subtests failed:");
        let more = failed.saturating_sub(LISTED);
        let lines = self.failed.iter().take(LISTED);
        lines.for_each(|line| text.push_str(&format!("\n  {line}")));
        if more > 0 {
            text.push_str(&format!("\n  and {more} more"));
        }
        // A lost instance is not a failure of the test: the harness looks for the loss in the message.
        if let Some(lost) = self.lost.first() {
            text.push_str(&format!("\n{lost}"));
        }
        Some(text)
    }
}
