//! The one place that prints.
//!
//! Owns how our own lines look. Results go to standard output, everything else to standard error; a
//! closed pipe is not an error.

use std::io::Write;

use crate::error::Error;

/// A line of a result, to standard output.
pub fn out(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// A line for people, to standard error.
pub fn note(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "target-test: {text}");
}

/// Another program's text as it is, to standard error.
pub fn raw(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// The bytes of a test, or of its list, as they are and at once, to standard output.
pub fn bytes_out(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

/// The same to standard error.
pub fn bytes(bytes: &[u8]) {
    let _ = std::io::stderr().lock().write_all(bytes);
}

/// A warning.
pub fn warn(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "warning: {text}");
}

/// An error with its causes and its hint.
pub fn error(error: &Error) {
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "error: {}", error.chain());
    if let Some(hint) = error.hint() {
        let _ = writeln!(stderr, "hint: {hint}");
    }
}
