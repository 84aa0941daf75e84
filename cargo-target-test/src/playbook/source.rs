//! The texts that a playbook is made of: the file and every `--set`.
//!
//! Owns reading the file, and positions that are unique over all texts: they lie one after the other
//! in one string. Must not know TOML.

use std::{ops::Range, path::Path};

use super::diagnostic::{Problem, Problems};
use crate::error::{Error, ErrorKind, Result};

/// All texts, in one string, with their names.
pub(super) struct Sources {
    text: String,
    parts: Vec<Part>,
}

struct Part {
    name: String,
    range: Range<usize>,
    /// The text after as many spaces as there is text before it: what is parsed in it has positions in all texts.
    padded: String,
}

impl Sources {
    /// The first text: the file, shown as `name`.
    pub(super) fn new(name: String, text: &str) -> Self {
        let mut sources = Self {
            text: String::new(),
            parts: Vec::new(),
        };
        sources.add_file(name, text);
        sources
    }

    /// One more text; returns where it lies.
    pub(super) fn add(&mut self, name: impl Into<String>, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        let range = start..self.text.len();
        self.text.push('\n');
        self.parts.push(Part {
            name: name.into(),
            range: range.clone(),
            padded: String::new(),
        });
        range
    }

    /// One more file; returns its number.
    pub(super) fn add_file(&mut self, name: String, text: &str) -> usize {
        let start = self.add(name, text).start;
        let number = self.parts.len() - 1;
        self.parts[number].padded = " ".repeat(start) + text;
        number
    }

    /// A file's text, to be parsed: positions in it are positions in all texts.
    pub(super) fn padded(&self, file: usize) -> &str {
        &self.parts[file].padded
    }

    /// The text at these positions.
    pub(super) fn slice(&self, range: Range<usize>) -> &str {
        self.text.get(range).unwrap_or_default()
    }

    /// The name and text that these positions lie in, and the positions within that text, on
    /// character boundaries.
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

/// Reads a file that is included.
///
/// # Errors
/// Why it cannot be read, a fragment.
pub(super) fn text(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| plain(&error))?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// What the system says, without its number.
pub(super) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let plain = text.split(" (os error").next().unwrap_or(&text);
    plain.to_lowercase()
}

/// Reads the playbook file; it is shown under the path as given.
///
/// # Errors
/// When it cannot be read or is not UTF-8 (with the line of the first bad byte).
pub(super) fn read(path: &Path) -> Result<Sources> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "`--playbook` or `TARGET_TEST_PLAYBOOK` names it, relative to the current folder"
            }
            std::io::ErrorKind::IsADirectory => "a playbook is one TOML file",
            _ => "",
        };
        let failed = Error::new(
            ErrorKind::Playbook,
            format!("failed to read playbook `{name}`"),
        );
        let failed = failed.with_source(error);
        if hint.is_empty() {
            failed
        } else {
            failed.with_hint(hint)
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
        let more = sources.add_file("b.toml".to_owned(), "b");
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
