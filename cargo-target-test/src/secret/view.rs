//! Views of a text in which values are searched: as it is, with escapes undone, and without white space.
//!
//! A view knows the place of each of its bytes in the text. Must not know values.

use std::{borrow::Cow, ops::Range};

/// A form of a text.
pub(super) struct TextView<'t> {
    bytes: Cow<'t, [u8]>,
    /// The part of the text that each byte stands for; empty if the view is the text.
    places: Vec<Range<usize>>,
    /// The start of an escape that the end of the text cuts off.
    cut: Option<usize>,
}

/// An escape at the start of some bytes.
enum Escape {
    /// No escape.
    None,
    /// The character it stands for, and its length in bytes.
    Char(char, usize),
    /// The byte it stands for, and its length in bytes.
    Byte(u8, usize),
    /// It may be an escape if more bytes follow.
    Cut,
}

/// The longest escape with a closing character, `&#x10FFFF;` or `\u{10ffff}`, in bytes.
const LONGEST: usize = 10;

impl<'t> TextView<'t> {
    /// The text as it is.
    pub(super) fn plain(text: &'t [u8]) -> Self {
        Self {
            bytes: Cow::Borrowed(text),
            places: Vec::new(),
            cut: None,
        }
    }

    /// The text with the escapes of JSON, Rust, URLs and XML undone; `None` if it has none.
    pub(super) fn unescaped(text: &'t [u8]) -> Option<Self> {
        let starts = |byte: &u8| matches!(byte, b'\\' | b'%' | b'&');
        text.iter().any(starts).then(|| {
            let (mut bytes, mut places) = (Vec::new(), Vec::new());
            let (mut at, mut cut) = (0, None);
            while at < text.len() {
                let (length, from) = (bytes.len(), at);
                at += match escape(&text[at..]) {
                    Escape::Char(one, taken) => {
                        bytes.extend_from_slice(one.encode_utf8(&mut [0; 4]).as_bytes());
                        taken
                    }
                    Escape::Byte(byte, taken) => {
                        bytes.push(byte);
                        taken
                    }
                    escape => {
                        if matches!(escape, Escape::Cut) {
                            cut = cut.or(Some(at));
                        }
                        bytes.push(text[at]);
                        1
                    }
                };
                places.resize(places.len() + bytes.len() - length, from..at);
            }
            Self {
                bytes: bytes.into(),
                places,
                cut,
            }
        })
    }

    /// The text without white space, also where that is escaped (`\n`): base64 and hex are wrapped and spaced.
    pub(super) fn unwrapped(text: &'t [u8]) -> Option<Self> {
        let breaks = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'\\';
        text.iter().any(breaks).then(|| {
            let (mut bytes, mut places) = (Vec::new(), Vec::new());
            let mut at = 0;
            while at < text.len() {
                at += match &text[at..] {
                    [b'\\', b'n' | b'r' | b't', ..] => 2,
                    // The next byte is not known yet.
                    [b'\\'] => 1,
                    [byte, ..] if byte.is_ascii_whitespace() => 1,
                    _ => {
                        bytes.push(text[at]);
                        places.push(at..at + 1);
                        1
                    }
                };
            }
            Self {
                bytes: bytes.into(),
                places,
                cut: None,
            }
        })
    }

    /// The bytes of the view.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The part of the text that these bytes of the view stand for; they are at least one.
    pub(super) fn place(&self, bytes: &Range<usize>) -> Range<usize> {
        match self.places.is_empty() {
            true => bytes.clone(),
            false => self.places[bytes.start].start..self.places[bytes.end - 1].end,
        }
    }

    /// The first byte of the view that stands for a part of the text at or after `at`.
    pub(super) fn from(&self, at: usize) -> usize {
        match self.places.is_empty() {
            true => at,
            false => self.places.partition_point(|place| place.start < at),
        }
    }

    /// The end of what is known for certain: the first byte of an escape that is cut off, else the end of the view.
    pub(super) fn certain(&self) -> usize {
        self.cut.map_or(self.bytes.len(), |cut| self.from(cut))
    }

    /// True if an escape is cut off.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.is_some()
    }
}

fn escape(bytes: &[u8]) -> Escape {
    match bytes {
        [b'%', rest @ ..] => match hex(rest, 2) {
            Ok(value) => u8::try_from(value).map_or(Escape::None, |byte| Escape::Byte(byte, 3)),
            Err(cut) => none_or(cut),
        },
        [b'\\', b'x', rest @ ..] => match hex(rest, 2) {
            Ok(value) => u8::try_from(value).map_or(Escape::None, |byte| Escape::Byte(byte, 4)),
            Err(cut) => none_or(cut),
        },
        [b'\\', b'u', b'{', ..] => closed(bytes, b'}', 3, |digits| number(digits, 16)),
        [b'\\', b'u'] => Escape::Cut,
        [b'\\', b'u', ..] => json(bytes),
        [b'&', ..] => closed(bytes, b';', 1, entity),
        [b'\\'] => Escape::Cut,
        [b'\\', letter, ..] => match letter {
            b'n' => Escape::Char('\n', 2),
            b'r' => Escape::Char('\r', 2),
            b't' => Escape::Char('\t', 2),
            b'b' => Escape::Char('\u{8}', 2),
            b'f' => Escape::Char('\u{c}', 2),
            b'0' => Escape::Char('\0', 2),
            b'"' | b'\'' | b'\\' | b'/' => Escape::Byte(*letter, 2),
            _ => Escape::None,
        },
        _ => Escape::None,
    }
}

fn none_or(cut: bool) -> Escape {
    if cut { Escape::Cut } else { Escape::None }
}

/// Reads digits of a number in hex; fails with true if bytes are missing.
fn hex(bytes: &[u8], digits: usize) -> Result<u32, bool> {
    let present = &bytes[..digits.min(bytes.len())];
    if !present.iter().all(u8::is_ascii_hexdigit) {
        return Err(false);
    }
    if present.len() < digits {
        return Err(true);
    }
    let text = std::str::from_utf8(present).unwrap_or_default();
    u32::from_str_radix(text, 16).map_err(|_| false)
}

/// Reads `\uXXXX`, a pair of surrogates as one character.
fn json(bytes: &[u8]) -> Escape {
    let high = match hex(&bytes[2..], 4) {
        Ok(value) => value,
        Err(cut) => return none_or(cut),
    };
    if let Some(one) = char::from_u32(high) {
        return Escape::Char(one, 6);
    }
    let low = match &bytes[6..] {
        [] | [b'\\'] => return Escape::Cut,
        [b'\\', b'u', rest @ ..] => match hex(rest, 4) {
            Ok(value) => value,
            Err(cut) => return none_or(cut),
        },
        _ => return Escape::None,
    };
    let surrogates = [high, low].map(|unit| u16::try_from(unit).unwrap_or_default());
    match char::decode_utf16(surrogates).next() {
        Some(Ok(one)) => Escape::Char(one, 12),
        _ => Escape::None,
    }
}

/// Reads an escape with a closing character; its content starts at byte `from`.
fn closed(bytes: &[u8], end: u8, from: usize, read: impl Fn(&str) -> Option<char>) -> Escape {
    let within = &bytes[..bytes.len().min(LONGEST)];
    let Some(end) = within.iter().position(|byte| *byte == end) else {
        let inner = within.get(from..).unwrap_or_default();
        let may_close = bytes.len() < LONGEST
            && inner
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'#');
        return none_or(may_close);
    };
    let content = bytes.get(from..end).unwrap_or_default();
    let content = std::str::from_utf8(content).ok();
    match content.and_then(read) {
        Some(one) => Escape::Char(one, end + 1),
        None => Escape::None,
    }
}

fn number(digits: &str, radix: u32) -> Option<char> {
    char::from_u32(u32::from_str_radix(digits, radix).ok()?)
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => match name.strip_prefix('#')? {
            hex if hex.starts_with(['x', 'X']) => number(&hex[1..], 16),
            digits => number(digits, 10),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn unescaped(text: &str, expected: &str) {
        let view = TextView::unescaped(text.as_bytes()).expect("escapes");
        assert_eq!(String::from_utf8_lossy(view.bytes()), expected);
    }

    #[test]
    fn escapes_are_undone() {
        unescaped(
            r#"\n\t\"\\\/\u00e9\u00E9\ud83d\ude00\u{e9}\x41\q"#,
            "\n\t\"\\/éé😀éA\\q",
        );
        unescaped("%c3%a9%C3%A9%41%zz 5%", "ééA%zz 5%");
        unescaped(
            "&amp;&lt;&gt;&quot;&apos;&#233;&#xe9;&#XE9;&no;&",
            "&<>\"'ééé&no;&",
        );
        unescaped(
            r"\ud83dx\u12g4\u{110000}&#x110000;",
            r"\ud83dx\u12g4\u{110000}&#x110000;",
        );
        assert!(TextView::unescaped(b"none").is_none());
    }

    #[test]
    fn an_escape_that_is_cut_off_is_noticed() {
        for text in [
            "%",
            "%4",
            "\\",
            r"\u",
            r"\u00e",
            r"\ud83d",
            r"\ud83d\",
            r"\ud83d\ude0",
            r"\u{e",
            "&",
            "&am",
            "&#x1",
        ] {
            let whole = format!("ab{text}");
            let view = TextView::unescaped(whole.as_bytes()).expect("escapes");
            assert!(view.is_cut() && view.certain() == 2, "{text}");
        }
        for text in ["%4g", r"\ug", "&a b", "50% ", "&unknown-entity"] {
            let view = TextView::unescaped(text.as_bytes()).expect("escapes");
            assert!(!view.is_cut(), "{text}");
        }
    }

    #[test]
    fn white_space_is_left_out_and_places_are_kept() {
        let view = TextView::unwrapped(b"ab\r\n  cd\\ne").expect("white space");
        assert_eq!(view.bytes(), b"abcde");
        assert_eq!(view.place(&(1..3)), 1..7);
        assert_eq!(view.place(&(3..5)), 7..11);
        assert_eq!(view.from(2), 2);
    }
}
