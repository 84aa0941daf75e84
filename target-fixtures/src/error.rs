//! The error types for tests: errors of a target, and any error.

use std::{
    cell::RefCell,
    error::Error as StdError,
    fmt,
    panic::Location,
    sync::{Mutex, PoisonError},
};

use crate::wire::{Failure, FailureKind};

/// The result of a test; `E` is [`Error`] by default.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error, for `?` in a test: an error of the target, of the standard library or of another crate, or a string.
///
/// Like `anyhow::Error`, it does not implement [`std::error::Error`]. [`TargetError`], which the methods of
/// [`Target`](crate::Target) return, does, so that a test can also return `anyhow::Result` or `Box<dyn Error>`.
///
/// It records the place in the test where it came up: the call that failed, or the `?` that converted the error.
pub struct Error {
    error: Box<dyn StdError + Send + Sync>,
    place: Place,
}

impl Error {
    /// The kind of the error; [`ErrorKind::Other`] for errors from outside this crate.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.downcast_ref::<TargetError>()
            .map_or(ErrorKind::Other, TargetError::kind)
    }

    /// The error that was converted, if it is an `E`.
    #[must_use]
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.error.downcast_ref()
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for Error {
    #[track_caller]
    fn from(error: E) -> Self {
        let place = Place(Location::caller());
        let error = error.into();
        Self { error, place }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)
    }
}

/// Formats the error, its causes and its place for display, one per line. The test harness prints a returned error with `Debug`.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = self.downcast_ref::<TargetError>() {
            return error.fmt_for_people(f, Some(self.place));
        }
        write!(f, "{}", self.error)?;
        let mut cause = self.error.source();
        while let Some(error) = cause {
            write!(f, "\ncaused by: {error}")?;
            cause = error.source();
        }
        write!(f, "\n{}", self.place)
    }
}

/// An error of a target, of the connection to it, or of a request.
///
/// Its [source](std::error::Error::source) is the place of the call that failed, so that other error types show it too.
pub struct TargetError(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    place: Option<Place>,
}

/// A place in the code of a test.
#[derive(Clone, Copy, Debug)]
struct Place(&'static Location<'static>);

/// `at tests/net.rs:20:12`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}", self.0)
    }
}

impl StdError for Place {}

/// Records where a test called a method that failed.
pub(crate) trait Placed {
    /// Notes the caller's place in the error. Works through functions with `#[track_caller]`, but not through closures.
    fn placed(self) -> Self;
}

impl<T> Placed for Result<T, TargetError> {
    #[track_caller]
    fn placed(self) -> Self {
        match self {
            Err(error) => Err(error.placed()),
            ok => ok,
        }
    }
}

impl Placed for TargetError {
    #[track_caller]
    fn placed(mut self) -> Self {
        self.0.place = Some(Place(Location::caller()));
        self
    }
}

/// Kinds of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The instance or the broker is unavailable or was lost.
    Infra,
    /// The system under test crashed: its kernel panicked, for example.
    Crash,
    /// A command or transfer exceeded its timeout and was killed.
    Timeout,
    /// A command did not exit with code 0.
    Exit,
    /// The instance rejected the request: no such file, no such folder.
    Request,
    /// The broker uses another protocol version: crate and tool have different versions.
    Version,
    /// Nothing arrived in time: no packet was seen, no reply, no line.
    NoPacket,
    /// A server did not accept a connection.
    NoConnection,
    /// A local file could not be read or written.
    File,
    /// A metric is worse than in earlier runs.
    Metric,
    /// Not an error: the test skips itself.
    Skip,
    /// An error from outside this crate.
    Other,
}

impl TargetError {
    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// A suggestion to fix the error, if any.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        if matches!(kind, ErrorKind::Infra | ErrorKind::Crash) {
            note_loss(&message);
        }
        Self(Box::new(Inner {
            kind,
            message,
            hint: None,
            place: None,
        }))
    }

    pub(crate) fn infra(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Infra, message)
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Appends text to the message.
    pub(crate) fn with_more(mut self, more: &str) -> Self {
        self.0.message.push_str(more);
        self
    }

    /// Prepends the request that failed to the message, unless an instance was lost: that message stays as it is.
    pub(crate) fn with_request(mut self, request: &str) -> Self {
        if !matches!(self.0.kind, ErrorKind::Infra | ErrorKind::Crash) {
            self.0.message = format!("{request}: {}", self.0.message);
        }
        self
    }

    /// Formats the error with its own place, else with `place`.
    fn fmt_for_people(&self, f: &mut fmt::Formatter<'_>, place: Option<Place>) -> fmt::Result {
        let Inner {
            kind,
            message,
            hint,
            place: own,
        } = &*self.0;
        match kind {
            ErrorKind::Infra | ErrorKind::Version => write!(f, "infra: {message}")?,
            ErrorKind::Crash => write!(f, "crash: {message}")?,
            ErrorKind::Skip => return f.write_str(message),
            ErrorKind::Metric => f.write_str(message)?,
            _ => write!(f, "failed to {message}")?,
        }
        hint.iter()
            .try_for_each(|hint| write!(f, "\nhint: {hint}"))?;
        let place = own.or(place);
        place.iter().try_for_each(|place| write!(f, "\n{place}"))
    }
}

impl From<Failure> for TargetError {
    fn from(failure: Failure) -> Self {
        let kind = match failure.kind {
            FailureKind::Infra => ErrorKind::Infra,
            FailureKind::Crash => ErrorKind::Crash,
            FailureKind::Timeout => ErrorKind::Timeout,
            FailureKind::Skip => ErrorKind::Skip,
            FailureKind::Request => ErrorKind::Request,
            FailureKind::Version => ErrorKind::Version,
        };
        let mut error = Self::new(kind, failure.message);
        error.0.hint = failure.hint;
        error
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

/// Formats the message as a sentence, the hint, and the place.
impl fmt::Debug for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_for_people(f, None)
    }
}

impl StdError for TargetError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.place.as_ref().map(|place| place as _)
    }
}

/// The messages of losses in this process. A test may fail by one on any thread, and as an error of any type.
static LOSSES: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// The maximum number of messages that are kept.
const MOST_LOSSES: usize = 64;

fn note_loss(message: &str) {
    let mut losses = LOSSES.lock().unwrap_or_else(PoisonError::into_inner);
    if losses.len() < MOST_LOSSES && !losses.iter().any(|known| known == message) {
        losses.push(message.to_owned());
    }
}

/// Returns the loss of an instance that the message of a failed test reports, if any.
pub(crate) fn loss_in(message: &str) -> Option<String> {
    let losses = LOSSES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = losses.iter().filter(|loss| message.contains(loss.as_str()));
    found.next().cloned()
}

thread_local! {
    /// The reason of the last [`skip`] on this thread.
    static SKIP: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Creates an error that skips the test if the test returns it. The test harness counts the test as passed; the summary
/// and reports of `cargo target-test` show a skip with the reason.
///
/// The error has any type that the test returns: [`Error`], [`TargetError`], `anyhow::Error`, `Box<dyn Error>`.
///
/// ```no_run
/// use target_fixtures::prelude::*;
///
/// #[target_test]
/// fn nested(target: &Target) -> Result<()> {
///     if target.run("ls /dev/kvm").is_err() {
///         return Err(skip("no /dev/kvm"));
///     }
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[must_use = "return it: `return Err(skip(\"...\"))`"]
pub fn skip<E: From<TargetError>>(reason: impl Into<String>) -> E {
    let reason = reason.into();
    let message = format!("skip: {reason}");
    SKIP.set(Some(reason));
    TargetError::new(ErrorKind::Skip, message).into()
}

/// Returns the reason if `error` was created by [`skip`] on this thread. Compares only the text, since the error may
/// have been converted to any type.
pub(crate) fn skipped(error: &dyn fmt::Debug) -> Option<String> {
    let reason = SKIP.take()?;
    format!("{error:?}")
        .contains(&format!("skip: {reason}"))
        .then_some(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_any_error_and_its_causes() {
        fn number(text: &str) -> Result<u32> {
            Ok(text.parse::<u32>()?)
        }
        let error = number("x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other);
        let line = line!() - 4;
        assert_eq!(
            format!("{error:?}"),
            format!("invalid digit found in string\nat {}:{line}:16", file!())
        );
        assert_eq!(Error::from("plain text").to_string(), "plain text");
    }

    #[test]
    fn prints_a_message_for_people() {
        let error = TargetError::infra("`a-0` was lost").with_hint("look at its console");
        assert_eq!(error.to_string(), "`a-0` was lost");
        assert_eq!(
            format!("{error:?}"),
            "infra: `a-0` was lost\nhint: look at its console"
        );
        assert_eq!(Error::from(error).kind(), ErrorKind::Infra);
        let error = TargetError::new(ErrorKind::Request, "read `/x` on `a-0`: no such file");
        assert_eq!(
            format!("{error:?}"),
            "failed to read `/x` on `a-0`: no such file"
        );
    }

    #[test]
    fn a_skip_is_known_by_its_text_in_any_type() {
        let error: Box<dyn StdError> = skip("no gpu");
        assert_eq!(skipped(&error).as_deref(), Some("no gpu"));
        assert_eq!(skipped(&error), None);
        let _swallowed: Error = skip("no gpu");
        assert_eq!(skipped(&Error::from("another")), None);
    }
}
