//! The texts of a playbook (its files and each `--set`), with positions that are unique over all of them.
//!
//! Must not know TOML.

use std::{ops::Range, path::Path};

use super::diagnostic::{Problem, Problems};
use crate::{
    bounded,
    error::{Error, Result},
};

/// All texts, concatenated, with their names. A position is an offset into the concatenation.
#[derive(Debug, PartialEq)]
pub(super) struct Sources {
    text: String,
    parts: Vec<Source>,
}

#[derive(Debug, PartialEq)]
struct Source {
    name: String,
    range: Range<usize>,
    /// The text of a file, preceded by spaces so that offsets into it are positions in [`Sources`].
    padded: String,
}

impl Sources {
    /// Starts with one file, shown as `name`.
    pub(super) fn new(name: String, text: &str) -> Self {
        let mut sources = Self {
            text: String::new(),
            parts: Vec::new(),
        };
        sources.add_file(name, text);
        sources
    }

    /// Adds a text; returns its range.
    pub(super) fn add(&mut self, name: impl Into<String>, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        let range = start..self.text.len();
        self.text.push('\n');
        self.parts.push(Source {
            name: name.into(),
            range: range.clone(),
            padded: String::new(),
        });
        range
    }

    /// Adds a file, without the byte order mark at its start, if any; returns its number.
    pub(super) fn add_file(&mut self, name: String, text: &str) -> usize {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let start = self.add(name, text).start;
        let number = self.parts.len() - 1;
        self.parts[number].padded = " ".repeat(start) + text;
        number
    }

    /// All texts.
    pub(super) fn all(&self) -> &str {
        &self.text
    }

    /// The text of a file for the parser; offsets into it are positions in all texts.
    pub(super) fn padded(&self, file: usize) -> &str {
        &self.parts[file].padded
    }

    /// The text in a range of positions.
    pub(super) fn slice(&self, range: Range<usize>) -> &str {
        self.text.get(range).unwrap_or_default()
    }

    /// The name and text that contain a range of positions, and the range within that text, widened to character
    /// boundaries.
    pub(super) fn locate(&self, span: &Range<usize>) -> (&str, &str, Range<usize>) {
        let part = self
            .parts
            .iter()
            .rfind(|part| part.range.start <= span.start);
        let part = part.unwrap_or(&self.parts[0]);
        let text = self.slice(part.range.clone());
        let within = |position: usize| position.saturating_sub(part.range.start).min(text.len());
        let start = (0..=within(span.start))
            .rfind(|&at| text.is_char_boundary(at))
            .unwrap_or(0);
        let end = within(span.end).max(start);
        let end = (end..=text.len())
            .find(|&at| text.is_char_boundary(at))
            .unwrap_or(text.len());
        (&part.name, text, start..end)
    }
}

/// Reads an included file.
///
/// # Errors
/// The cause, without the path, if the file cannot be read or is not UTF-8.
pub(super) fn read_included(path: &Path) -> Result<String, String> {
    let bytes = bounded::read(path).map_err(|error| plain(&error))?;
    String::from_utf8(bytes).map_err(|_| "the file is not UTF-8".to_owned())
}

/// The message of an operating system error, with a small first letter and without the error number.
pub(super) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let plain = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = plain.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// Reads the playbook file. Problems show the path as given.
///
/// # Errors
/// If the file cannot be read or is not UTF-8 (with the line of the first invalid byte).
pub(super) fn read(path: &Path) -> Result<Sources> {
    let name = path.display().to_string();
    let bytes = bounded::read(path).map_err(|error| {
        let failed = |message: String| Error::playbook(message);
        match error.kind() {
            std::io::ErrorKind::NotFound => failed(format!("playbook `{name}` does not exist"))
                .with_hint(
                    "the path given by `--playbook` or `TARGET_TEST_PLAYBOOK` is relative to the current folder",
                ),
            std::io::ErrorKind::IsADirectory => failed(format!("failed to read playbook `{name}`"))
                .with_source(error)
                .with_hint("a playbook is a single TOML file"),
            _ => failed(format!("failed to read playbook `{name}`")).with_source(error),
        }
    })?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Sources::new(name, text)),
        Err(error) => {
            let start = error.valid_up_to();
            let sources = Sources::new(name, &String::from_utf8_lossy(&bytes));
            let mut problems = Problems::new(&sources);
            let replaced = start..start + char::REPLACEMENT_CHARACTER.len_utf8();
            problems.add(
                Problem::new("the playbook is not UTF-8", replaced)
                    .label(format!(
                        "byte {:#04x}",
                        bytes.get(start).copied().unwrap_or_default()
                    ))
                    .hint("save the file as UTF-8"),
            );
            Err(problems.error())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_find_their_text() {
        let mut sources = Sources::new("a.toml".to_owned(), "aä");
        let set = sources.add("--set", "x=1");
        let more = sources.add_file("b.toml".to_owned(), "\u{feff}b");
        assert_eq!(
            (sources.padded(0), sources.padded(more)),
            ("aä", "        b")
        );
        assert_eq!(sources.locate(&(0..1)), ("a.toml", "aä", 0..1));
        assert_eq!(
            sources.locate(&(2..2)),
            ("a.toml", "aä", 1..3),
            "within a character"
        );
        assert_eq!(
            sources.locate(&(set.start + 2..900)),
            ("--set", "x=1", 2..3)
        );
    }
}
