//! Prints: results to standard output, everything else to standard error, with secrets redacted and control characters
//! escaped.
//!
//! No other file prints. A closed pipe is not an error; any other failure to write to standard output is
//! [`stdout_error`].

mod printable;
mod style;
pub mod table;

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use printable::printable;

use crate::{
    error::{Error, ErrorKind},
    secret::redacted,
    sync,
};

pub use style::{Style, set_color};

/// The width of the words before lines, as in nextest's output.
pub const WORD_WIDTH: usize = 12;

/// The start of lines on the result of a run.
const RESULT: &str = "target-test: ";

/// The first failure to write to standard output.
static STDOUT_ERROR: Mutex<Option<io::Error>> = Mutex::new(None);

/// Prints a line of a result to standard output.
pub fn out(text: impl std::fmt::Display) {
    bytes_out(format!("{}\n", shown_on(&io::stdout(), text)).as_bytes());
}

/// Returns the error of a process whose standard output could not be written, for example on a full disk. A closed
/// pipe is not an error.
pub fn stdout_error() -> Option<Error> {
    let error = sync::lock(&STDOUT_ERROR).take()?;
    let message = "failed to write to standard output";
    Some(Error::new(ErrorKind::Other, message).with_source(error))
}

/// Notes the result of a write to standard output; returns true if it succeeded.
pub fn check_stdout(written: io::Result<()>) -> bool {
    match written {
        Ok(()) => true,
        Err(error) => {
            if error.kind() != io::ErrorKind::BrokenPipe {
                sync::lock(&STDOUT_ERROR).get_or_insert(error);
            }
            false
        }
    }
}

/// True after [`quiet`].
static QUIET: AtomicBool = AtomicBool::new(false);

/// Suppresses the lines of [`note`] from now on.
pub fn quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Prints a progress line to standard error, unless [`quiet`] was called.
pub fn note(text: impl std::fmt::Display) {
    if !QUIET.load(Ordering::Relaxed) {
        result(text);
    }
}

/// Prints a line on the result of a run to standard error.
pub fn result(text: impl std::fmt::Display) {
    plain(&format!("{RESULT}{text}\n"));
}

/// Prints a result like [`result`], which on a narrow terminal continues below after a comma.
pub fn result_list(text: impl std::fmt::Display) {
    let line = format!("{RESULT}{text}");
    let room = columns_err().unwrap_or(usize::MAX);
    plain(&format!("{}\n", broken_after_commas(&line, room)));
}

/// Breaks a line of a result that is wider than `room`.
fn broken_after_commas(line: &str, room: usize) -> String {
    let mut broken = String::new();
    let mut width = 0;
    for part in line.split_inclusive(", ") {
        if width + part.trim_end().chars().count() > room && width > RESULT.len() {
            broken.truncate(broken.trim_end().len());
            broken.push_str(&format!("\n{:1$}", "", RESULT.len()));
            width = RESULT.len();
        }
        broken.push_str(part);
        width += part.chars().count();
    }
    broken
}

/// Prints a line like nextest's to standard error: a word at the right of a column, and a text.
pub fn status(word: &str, style: Style, text: impl std::fmt::Display) {
    let word = style.paint(format!("{word:>WORD_WIDTH$}"));
    plain(&format!("{word} {text}\n"));
}

/// Prints lines without prefixes to standard error.
pub fn lines(lines: &[String]) {
    plain(&format!("{}\n", lines.join("\n")));
}

fn line(prefix: &str, style: Style, text: impl std::fmt::Display) {
    plain(&format!("{}: {text}\n", style.paint(prefix)));
}

/// Returns the text for standard error, without secrets and control characters.
fn shown(text: impl std::fmt::Display) -> String {
    shown_on(&io::stderr(), text)
}

/// Returns the text for a stream.
fn shown_on(stream: &impl IsTerminal, text: impl std::fmt::Display) -> String {
    let text = text.to_string();
    printable(&redacted(&text), style::is_wanted(stream)).into_owned()
}

/// Lines deferred while another program draws on the terminal; `None` if lines are printed at once.
static DEFERRED: Mutex<Option<Vec<String>>> = Mutex::new(None);

/// Defers the lines of [`live`] until [`flush`] is called, if standard error is a terminal.
///
/// A progress bar would overwrite lines that are printed while it is shown.
pub fn defer() {
    if io::stderr().is_terminal() {
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

/// Prints text without a prefix to standard error.
pub fn plain(text: &str) {
    bytes(shown(text).as_bytes());
}

/// Prints text of another program to standard error, with its colours.
pub fn raw(text: &str) {
    bytes(redacted(text).as_bytes());
}

/// Writes bytes to standard output unchanged and flushes them. The caller redacts secrets, across the whole stream.
pub fn bytes_out(bytes: &[u8]) {
    try_bytes_out(bytes);
}

/// Writes bytes to standard error unchanged. The caller redacts secrets, across the whole stream.
pub fn bytes_err(text: &[u8]) {
    bytes(text);
}

/// Writes bytes to standard output like [`bytes_out`]; returns false if standard output is closed or cannot be written.
pub fn try_bytes_out(bytes: &[u8]) -> bool {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    check_stdout(written)
}

/// Returns standard output as a file, for data that another program reads. A reader that blocks or goes away affects
/// nothing else.
///
/// # Errors
/// Fails if standard output is closed.
pub fn stdout_file() -> io::Result<std::fs::File> {
    use std::os::fd::AsFd;
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

/// Returns standard error as a file, for another program.
///
/// # Errors
/// Fails if standard error is closed.
pub fn stderr_file() -> io::Result<std::fs::File> {
    use std::os::fd::AsFd;
    Ok(io::stderr().as_fd().try_clone_to_owned()?.into())
}

/// Prints lines of a result to standard output; returns false if standard output is closed or cannot be written.
pub fn try_lines_out(lines: &[String]) -> bool {
    try_bytes_out(format!("{}\n", shown_on(&io::stdout(), lines.join("\n"))).as_bytes())
}

/// Returns the number of columns of the terminal on standard output.
pub fn columns() -> Option<usize> {
    columns_of(io::stdout())
}

/// Returns the number of columns of the terminal on standard error.
pub fn columns_err() -> Option<usize> {
    columns_of(io::stderr())
}

fn columns_of(stream: impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Replaces the content of the terminal by these lines; returns false if standard output is closed.
///
/// Lines that do not fit are counted in a last line.
pub fn redraw(lines: &[String]) -> bool {
    let rows = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_row);
    // The last row is left for the cursor and for a `^C`.
    let room = match rows {
        0 => usize::MAX,
        rows => usize::from(rows).saturating_sub(1).max(1),
    };
    let more = lines.len().saturating_sub(room);
    let kept = lines.len() - if more > 0 { more + 1 } else { 0 };
    let mut text = "\x1b[H\x1b[J".to_owned();
    for line in &lines[..kept] {
        text.push_str(&shown_on(&io::stdout(), line));
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
    let _ = io::stderr().lock().write_all(bytes);
}

/// Prints a warning.
pub fn warn(text: impl std::fmt::Display) {
    line("warning", Style::Remarkable, text);
}

/// Prints an error with its causes and its hint.
pub fn error(error: &Error) {
    line("error", Style::Bad, error.chain());
    if let Some(text) = error.hint() {
        hint(text);
    }
}

/// Prints a hint.
pub fn hint(text: impl std::fmt::Display) {
    line("hint", Style::Bold, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_line_continues_after_a_comma() {
        let line = "target-test: 12 cases: 7 passed, 2 skipped, 3 failed";
        for room in [line.len(), usize::MAX] {
            assert_eq!(broken_after_commas(line, room), line);
        }
        let broken = "target-test: 12 cases: 7 passed, 2 skipped,\n             3 failed";
        for room in [line.len() - 1, 43] {
            assert_eq!(broken_after_commas(line, room), broken);
        }
        let narrow =
            "target-test: 12 cases: 7 passed,\n             2 skipped,\n             3 failed";
        assert_eq!(broken_after_commas(line, 25), narrow);
    }
}
