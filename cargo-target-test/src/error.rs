//! The engine's one error: what failed, why, what to do, and which exit code that is.
//!
//! Owns the kinds and their exit codes. Must not print; secrets are taken out where a text leaves the process.

use std::fmt;

/// What went wrong, in one of a few kinds.
///
/// The message is a lower-case fragment that completes "failed to ..." or stands alone; causes follow
/// through [`std::error::Error::source`]. [`Error::hint`] says what the user can do.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    exit_code: Option<u8>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Kinds of [`Error`]; each has one exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The command line is wrong: exit code 2.
    Usage,
    /// The playbook is wrong or cannot be read: exit code 78. The message is rendered whole.
    Playbook,
    /// A target could not be had, reached or deleted: exit code 69.
    Infra,
    /// No instance is what was asked for, which is no failure of any of them: exit code 69.
    Unfit,
    /// A command on an instance took longer than its timeout: exit code 69.
    Timeout,
    /// The pool cannot be used (damaged, newer, on a network file system, read-only): exit code 73.
    Pool,
    /// cargo-nextest is missing, too old, or said something unexpected: exit code 70.
    Nextest,
    /// The build failed; the exit code is nextest's own, 101.
    Build,
    /// Anything else, an operating system's refusal for instance: exit code 70.
    Other,
}

impl ErrorKind {
    /// The process exit code for this kind.
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

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind with this message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            hint: None,
            exit_code: None,
            source: None,
        }))
    }

    /// Adds what the user can do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Replaces the kind's exit code, by another program's for instance.
    #[must_use]
    pub fn with_exit_code(mut self, code: i32) -> Self {
        self.0.exit_code = u8::try_from(code).ok();
        self
    }

    /// The process exit code.
    pub fn exit_code(&self) -> u8 {
        self.0.exit_code.unwrap_or_else(|| self.0.kind.exit_code())
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The message and all causes, joined by `: `.
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

/// Returns a cause on one line: the first line, and after a colon the last one, which usually says why a program failed.
#[must_use]
pub(crate) fn one_line(cause: &str) -> String {
    let mut lines = cause.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or(cause);
    match lines.next_back().filter(|_| first.ends_with(':')) {
        Some(last) => format!("{first} {}", last.trim()),
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
