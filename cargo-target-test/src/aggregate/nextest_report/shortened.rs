//! Shortens the long texts of an XML document while it is read: its outputs are never in memory as a whole.
//!
//! Must not know which elements the texts are in.

use std::io::{self, BufRead, BufReader, Read};

use crate::bounded;

/// The character before the end of a shortened text. XML does not allow it, so no other text has it.
const MARK: char = '\u{ffff}';

/// A reader of a document whose long texts are shortened to their ends: see [`end_of_shortened`].
pub(super) struct Shortened<R> {
    from: BufReader<R>,
    /// The maximum length of a text in bytes.
    most: usize,
    /// True between `<` and `>`.
    in_tag: bool,
    /// The end of the current text.
    text: Vec<u8>,
    /// True if the beginning of the current text was removed.
    is_shortened: bool,
    /// Bytes that can be read.
    ready: io::Cursor<Vec<u8>>,
    ended: bool,
}

impl<R: Read> Shortened<R> {
    pub(super) fn new(from: R, most: usize) -> Self {
        Self {
            from: BufReader::new(from),
            most,
            in_tag: false,
            text: Vec::new(),
            is_shortened: false,
            ready: io::Cursor::default(),
            ended: false,
        }
    }

    /// Reads up to the next end of a tag or of a text.
    fn advance(&mut self) -> io::Result<()> {
        let piece = self.from.fill_buf()?;
        self.ended = piece.is_empty();
        let end = if self.in_tag { b'>' } else { b'<' };
        let found = piece.iter().position(|byte| *byte == end);
        // `<` is read with its tag.
        let length = found.map_or(piece.len(), |at| at + usize::from(self.in_tag));
        match self.in_tag {
            true => self.ready.get_mut().extend_from_slice(&piece[..length]),
            false => self.text.extend_from_slice(&piece[..length]),
        }
        self.from.consume(length);
        if !self.in_tag && (self.ended || found.is_some()) {
            self.end_text();
        } else if self.text.len() / 2 > self.most {
            // With the byte before the end, which shows whether the end begins a line.
            self.text.drain(..self.text.len() - self.most - 1);
            self.is_shortened = true;
        }
        self.in_tag ^= found.is_some();
        Ok(())
    }

    fn end_text(&mut self) {
        let mut end = self.text.as_slice();
        if self.is_shortened || end.len() > self.most {
            end = after_reference(bounded::end(end, self.most));
            let ready = self.ready.get_mut();
            ready.extend(MARK.to_string().bytes());
        }
        self.ready.get_mut().extend_from_slice(end);
        self.text.clear();
        self.is_shortened = false;
    }
}

impl<R: Read> Read for Shortened<R> {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.ready.read(piece)?;
            if length > 0 || self.ended || piece.is_empty() {
                return Ok(length);
            }
            self.ready.get_mut().clear();
            self.ready.set_position(0);
            self.advance()?;
        }
    }
}

/// Returns a text without the end of a reference, such as `&quot;`, whose beginning was removed.
fn after_reference(text: &[u8]) -> &[u8] {
    let start = text.iter().take("quot;".len());
    let mut ends = start.enumerate().filter(|(_, byte)| b"&;".contains(byte));
    match ends.next() {
        Some((at, b';')) => &text[at + 1..],
        _ => text,
    }
}

/// Returns the end of a shortened text; `None` if the text is whole.
pub(crate) fn end_of_shortened(text: &str) -> Option<&str> {
    text.strip_prefix(MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortened(document: &str, most: usize) -> String {
        let mut text = String::new();
        let mut reader = Shortened::new(document.as_bytes(), most);
        reader.read_to_string(&mut text).expect("text");
        text
    }

    #[test]
    fn only_long_texts_are_shortened_from_their_beginning() {
        let lines = "0123456789\n".repeat(4000);
        let end = "0123456789\n".repeat(4);
        let (many, quotes) = ("é".repeat(20_000), "&quot;".repeat(10_000));
        for (document, expected) in [
            ("<a b='c'>text</a>\n".to_owned(), None),
            (
                format!("<a>{lines}</a>"),
                Some(format!("<a>\u{ffff}{end}</a>")),
            ),
            (format!("<a b='{lines}'/>"), None),
            (
                format!("<a>{many}</a><b>x</b>"),
                Some(format!("<a>\u{ffff}{}</a><b>x</b>", "é".repeat(24))),
            ),
            (
                format!("<a>{quotes}.</a>"),
                Some(format!("<a>\u{ffff}{}.</a>", "&quot;".repeat(8))),
            ),
            (format!("<a/>{lines}"), Some(format!("<a/>\u{ffff}{end}"))),
        ] {
            let expected = expected.unwrap_or_else(|| document.clone());
            assert_eq!(shortened(&document, 49), expected);
            assert_eq!(shortened(&document, usize::MAX), document);
        }
    }
}
