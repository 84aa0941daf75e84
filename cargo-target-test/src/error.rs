//! The error type of the engine: its kinds, its exit codes, and its chain of causes.

// Must not print or redact: secrets are redacted where text leaves the process.

use std::{fmt, sync::Arc};

/// An error of one of a few kinds.
///
/// The message is a lower-case sentence without a full stop. Causes are available through
/// [`std::error::Error::source`]; [`Error::hint`] tells the user what to do.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    crash: bool,
    exit_code: Option<u8>,
    key: Option<String>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// Kinds of [`Error`]; each has one exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The command line or a request is invalid: exit code 2.
    Usage,
    /// The playbook is invalid or cannot be read: exit code 78. The message is a complete, rendered diagnostic.
    Playbook,
    /// A target could not be deployed, reached or deleted: exit code 69.
    Infra,
    /// No instance meets the needs of the request: exit code 69.
    Unfit,
    /// A command exceeded its timeout: exit code 69.
    Timeout,
    /// The pool is unusable (damaged, of a newer version, on a network file system, or read-only): exit code 73.
    Pool,
    /// cargo-nextest is missing, too old, or printed unexpected output: exit code 70.
    Nextest,
    /// The build failed: exit code 101, as in nextest.
    Build,
    /// Any other failure, for example of a system call: exit code 70.
    Other,
}

impl ErrorKind {
    /// Returns the process exit code for this kind.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Infra | Self::Unfit | Self::Timeout => 69,
            Self::Nextest | Self::Other => 70,
            Self::Pool => 73,
            Self::Playbook => 78,
            Self::Build => 101,
        }
    }
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Creates an error of this kind with this message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            hint: None,
            crash: false,
            exit_code: None,
            key: None,
            source: None,
        }))
    }

    /// Creates an [`ErrorKind::Infra`] error that says that the system under test crashed: a kernel panic, for example.
    /// A crash under a test is the test's finding.
    pub fn crash(message: impl Into<String>) -> Self {
        Self::infra(message).with_crash(true)
    }

    /// Sets whether the error says that the system under test crashed.
    pub(crate) fn with_crash(mut self, crash: bool) -> Self {
        self.0.crash = crash;
        self
    }

    /// Returns true if the error says that the system under test crashed.
    pub fn is_crash(&self) -> bool {
        self.0.crash
    }

    /// Creates an [`ErrorKind::Infra`] error.
    pub(crate) fn infra(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Infra, message)
    }

    /// Creates an [`ErrorKind::Usage`] error.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Creates an [`ErrorKind::Playbook`] error.
    pub(crate) fn playbook(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Playbook, message)
    }

    /// Creates an [`ErrorKind::Build`] error.
    pub(crate) fn build(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Build, message)
    }

    /// Creates an [`ErrorKind::Pool`] error.
    pub(crate) fn pool(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Pool, message)
    }

    /// Creates an [`ErrorKind::Other`] error.
    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Other, message)
    }

    /// Sets the hint: what the user can do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Takes over the hint of another error, if it has one.
    #[must_use]
    pub(crate) fn with_hint_of(mut self, other: &Self) -> Self {
        self.0.hint.clone_from(&other.0.hint);
        self
    }

    /// The error of a machine of an environment, with its name.
    pub(crate) fn in_role(&self, machine: &str) -> Self {
        let message = format!("role `{machine}`: {}", self.chain());
        let named = Self::new(self.kind(), message).with_hint_of(self);
        named.with_crash(self.is_crash())
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// Overrides the exit code of the kind, for example with the exit code of another program.
    #[must_use]
    pub fn with_exit_code(mut self, code: i32) -> Self {
        self.0.exit_code = u8::try_from(code).ok();
        self
    }

    /// Names the key of a target's table that the error is about.
    #[must_use]
    pub(crate) fn with_key(mut self, key: &str) -> Self {
        self.0.key = Some(key.to_owned());
        self
    }

    /// Returns the key of a target's table that the error is about, if any.
    pub(crate) fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// Returns the process exit code.
    pub fn exit_code(&self) -> u8 {
        self.0.exit_code.unwrap_or_else(|| self.0.kind.exit_code())
    }

    /// Returns the kind of this error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the hint, if any.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Returns the message and all causes, joined by `: `.
    pub fn chain(&self) -> String {
        let mut text = self.0.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// The start of a kernel's reason for its panic, in its console.
pub(crate) const PANIC: &str = "Kernel panic - not syncing";

/// Shortens a cause to one line: its first line and, if that ends in a colon, the line with the reason of a panic, or else
/// its last line.
///
/// The last line of a program's output usually is the reason of its failure. A kernel prints more after that.
#[must_use]
pub(crate) fn one_line(cause: &str) -> String {
    let mut lines = cause.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or(cause);
    let panic = lines.clone().find(|line| line.contains(PANIC));
    match panic.or(lines.next_back()).filter(|_| first.ends_with(':')) {
        Some(reason) => format!("{first} {}", reason.trim()),
        None => first.to_owned(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.chain())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new(ErrorKind::Other, error.to_string())
    }
}
