//! Escapes control characters, so that text of tests and machines cannot drive a terminal.

use std::{borrow::Cow, fmt::Write};

use super::style::{PLAIN, Style};

/// Returns the text with its control characters escaped, except line breaks, tabs and our styles, which are removed
/// unless `is_styled` is true.
///
/// A carriage return at the end of a line is dropped. Characters that reorder text (bidirectional overrides and
/// isolates) are escaped like control characters.
pub(super) fn printable(text: &str, is_styled: bool) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(is_unprintable) {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        let style = styles().find(|one| rest.starts_with(one));
        let length = match (style, rest.starts_with("\r\n"), rest.chars().next()) {
            (Some(style), ..) => {
                if is_styled {
                    shown.push_str(style);
                }
                style.len()
            }
            (None, true, _) => 1,
            (None, false, Some(control)) => {
                // Writing to a string does not fail.
                let _ = write!(shown, "{}", control.escape_default());
                control.len_utf8()
            }
            (None, false, None) => break,
        };
        rest = &rest[length..];
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

fn styles() -> impl Iterator<Item = &'static str> {
    Style::ALL.map(Style::start).into_iter().chain([PLAIN])
}

fn is_unprintable(one: char) -> bool {
    let reorders = matches!(one, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    reorders || one.is_control() && !matches!(one, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_is_printed() {
        for one in ('\0'..=char::MAX).filter(|one| one.is_control()) {
            let text = format!("a{one}b");
            let shown = printable(&text, true);
            let expected = match one {
                '\n' | '\t' => text.clone(),
                _ => format!("a{}b", one.escape_default()),
            };
            assert_eq!(shown, expected);
        }
        for (text, expected) in [
            ("\x1b]0;title\x07", r"\u{1b}]0;title\u{7}"),
            ("\x1b[31mred\x1b[0m", "\\u{1b}[31mred\x1b[0m"),
            ("\u{202e}fdp.exe", r"\u{202e}fdp.exe"),
        ] {
            assert_eq!(printable(text, true), expected);
        }
    }

    #[test]
    fn lines_tabs_and_our_styles_stay() {
        assert!(matches!(printable("wört\t1\n", true), Cow::Borrowed(_)));
        assert_eq!(printable("one\r\ntwo\r", true), "one\ntwo\\r");
        for style in Style::ALL {
            let styled = style.paint("text");
            assert_eq!(printable(&styled, true), styled);
            assert_eq!(printable(&styled, false), "text");
        }
    }
}
