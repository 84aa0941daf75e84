//! Prints: results to standard output, everything else to standard error, with secrets redacted.
//!
//! No other file prints. A closed pipe is not an error.

use std::{
    io::{IsTerminal, Write},
    sync::{Mutex, MutexGuard},
};

use crate::{error::Error, secret::redacted, sync};

/// Prints a line of a result to standard output.
pub fn out(text: impl std::fmt::Display) {
    let text = text.to_string();
    let _ = writeln!(std::io::stdout().lock(), "{}", redacted(&text));
}

/// Prints a progress line to standard error.
pub fn note(text: impl std::fmt::Display) {
    let text = text.to_string();
    let _ = writeln!(std::io::stderr().lock(), "target-test: {}", redacted(&text));
}

/// Lines deferred while another program draws on the terminal; `None` if lines are printed at once.
static DEFERRED: Mutex<Option<Vec<String>>> = Mutex::new(None);

/// Defers the lines of [`live`] until [`flush`] is called, if standard error is a terminal.
///
/// A progress bar would overwrite lines that are printed while it is shown.
pub fn defer() {
    if std::io::stderr().is_terminal() {
        *deferred() = Some(Vec::new());
    }
}

/// Prints the deferred lines and stops deferring.
pub fn flush() {
    let lines = deferred().take();
    lines.into_iter().flatten().for_each(note);
}

/// Prints a progress line while another program runs; deferred after [`defer`].
pub fn live(text: &str) {
    match &mut *deferred() {
        Some(lines) => lines.push(text.to_owned()),
        None => note(text),
    }
}

/// Prints a transient line, dropped after [`defer`].
pub fn transient(text: &str) {
    if deferred().is_none() {
        note(text);
    }
}

fn deferred() -> MutexGuard<'static, Option<Vec<String>>> {
    sync::lock(&DEFERRED)
}

/// Prints text of another program to standard error.
pub fn raw(text: &str) {
    bytes(redacted(text).as_bytes());
}

/// Writes bytes to standard output unchanged and flushes them. The caller redacts secrets, across the whole stream.
pub fn bytes_out(bytes: &[u8]) {
    try_bytes_out(bytes);
}

/// Writes bytes to standard output like [`bytes_out`]; returns false if standard output is closed.
pub fn try_bytes_out(bytes: &[u8]) -> bool {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.is_ok()
}

/// Returns the number of columns of the terminal on standard output.
pub fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Replaces the content of the terminal by these lines; returns false if standard output is closed.
///
/// Lines that do not fit are counted in a last line.
pub fn redraw(lines: &[String]) -> bool {
    let rows = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| size.ws_row);
    // The last row is left for the cursor and for a `^C`.
    let room = match rows {
        0 => usize::MAX,
        rows => usize::from(rows).saturating_sub(1).max(1),
    };
    let more = lines.len().saturating_sub(room);
    let shown = lines.len() - if more > 0 { more + 1 } else { 0 };
    let mut text = "\x1b[H\x1b[J".to_owned();
    for line in &lines[..shown] {
        text.push_str(line);
        text.push_str("\r\n");
    }
    if more > 0 {
        text.push_str(&format!("... and {} more\r\n", more + 1));
    }
    try_bytes_out(text.as_bytes())
}

/// Clears the terminal.
pub fn clear() {
    bytes_out(b"\x1b[2J\x1b[H");
}

/// Writes bytes to standard error unchanged.
pub fn bytes(bytes: &[u8]) {
    let _ = std::io::stderr().lock().write_all(bytes);
}

/// Prints a warning.
pub fn warn(text: impl std::fmt::Display) {
    let text = text.to_string();
    let _ = writeln!(std::io::stderr().lock(), "warning: {}", redacted(&text));
}

/// Prints an error with its causes and its hint.
pub fn error(error: &Error) {
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "error: {}", redacted(&error.chain()));
    if let Some(hint) = error.hint() {
        let _ = writeln!(stderr, "hint: {}", redacted(hint));
    }
}
