//! The one place that prints.
//!
//! Owns how our own lines look, and that no secret is in any. Results go to standard output, everything else to
//! standard error; a closed pipe is not an error.

use std::{
    io::{IsTerminal, Write},
    sync::{Mutex, PoisonError},
};

use crate::{error::Error, secret::redacted};

/// A line of a result, to standard output.
pub fn out(text: impl std::fmt::Display) {
    let text = text.to_string();
    let _ = writeln!(std::io::stdout().lock(), "{}", redacted(&text));
}

/// A line for people, to standard error.
pub fn note(text: impl std::fmt::Display) {
    let text = text.to_string();
    let _ = writeln!(std::io::stderr().lock(), "target-test: {}", redacted(&text));
}

/// What is to be said when another program no longer draws on the terminal.
static HELD: Mutex<Option<Vec<String>>> = Mutex::new(None);

/// Until [`let_go`], what [`live`] says waits, if standard error is a terminal: lines between those of a progress
/// bar are overwritten, and leave parts of it behind.
pub fn hold() {
    if std::io::stderr().is_terminal() {
        *HELD.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }
}

/// Says what was held, and no longer holds.
pub fn let_go() {
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).take();
    held.into_iter().flatten().for_each(note);
}

/// A line for people while another program runs: at once, unless it is held.
pub fn live(text: &str) {
    match &mut *HELD.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(held) => held.push(text.to_owned()),
        None => note(text),
    }
}

/// A line that is worth nothing later: said at once or, where lines are held, not at all.
pub fn passing(text: &str) {
    if HELD
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_none()
    {
        note(text);
    }
}

/// Another program's text, to standard error.
pub fn raw(text: &str) {
    bytes(redacted(text).as_bytes());
}

/// The bytes of a test, or of its list, as they are and at once, to standard output. Secrets are the caller's affair,
/// who sees the whole stream.
pub fn bytes_out(bytes: &[u8]) {
    pass_on(bytes);
}

/// The same; whether somebody still reads them.
pub fn pass_on(bytes: &[u8]) -> bool {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.is_ok()
}

/// How many columns a terminal on standard output has.
pub fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Lines in place of what was shown before, from the top of the terminal; whether somebody still looks. What has no
/// room is counted.
pub fn redraw(lines: &[String]) -> bool {
    let rows = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| size.ws_row);
    // The last row stays free for the cursor, and for a `^C`.
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
    pass_on(text.as_bytes())
}

/// Takes everything off the terminal.
pub fn clear() {
    pass_on(b"\x1b[2J\x1b[H");
}

/// The same to standard error.
pub fn bytes(bytes: &[u8]) {
    let _ = std::io::stderr().lock().write_all(bytes);
}

/// A warning.
pub fn warn(text: impl std::fmt::Display) {
    let text = text.to_string();
    let _ = writeln!(std::io::stderr().lock(), "warning: {}", redacted(&text));
}

/// An error with its causes and its hint.
pub fn error(error: &Error) {
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "error: {}", redacted(&error.chain()));
    if let Some(hint) = error.hint() {
        let _ = writeln!(stderr, "hint: {}", redacted(hint));
    }
}
