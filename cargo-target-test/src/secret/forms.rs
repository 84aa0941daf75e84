//! The forms in which a value shows up where nobody meant to show it.
//!
//! Owns what programs make of a string when they print it: quoted, encoded, line by line. Pure.

use std::{collections::BTreeSet, fmt::Write as _};

/// The fewest bytes of a line, or of what is encoded, that is looked for by itself: less is found in anything.
const LONG: usize = 8;

/// The value and its other forms.
pub(super) fn of(value: &str) -> BTreeSet<String> {
    let mut all = forms(value);
    if value.contains('\n') {
        let lines = value.lines().filter(|line| line.trim().len() >= LONG);
        lines.for_each(|line| all.extend(forms(line)));
    }
    all
}

fn forms(value: &str) -> BTreeSet<String> {
    let json = serde_json::Value::from(value).to_string();
    let mut all = BTreeSet::from([
        value.to_owned(),
        // `{:?}`, and what a shell's `set -x` prints.
        value.escape_debug().to_string(),
        value.replace('\'', r"'\''"),
        json[1..json.len() - 1].to_owned(),
        percent(value),
    ]);
    if value.len() >= LONG {
        for shift in 0..3 {
            let inner = base64_within(value.as_bytes(), shift);
            all.insert(inner.replace('+', "-").replace('/', "_"));
            all.insert(inner);
        }
    }
    all
}

/// As in a URL.
fn percent(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'-' | b'_' | b'.' | b'~' => text.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => text.push(byte.into()),
            byte => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

/// The digits that the value alone decides on, `shift` bytes into a group: `Authorization: Basic` encodes
/// `user:value`.
fn base64_within(value: &[u8], shift: usize) -> String {
    let bytes = [&[0; 2][..shift], value].concat();
    let decided = bytes.len() * 8 / 6;
    let text = base64(&bytes);
    text[(shift * 8).div_ceil(6)..decided].to_owned()
}

/// Padded base64.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let shift = 18 - 6 * digit;
            let used = digit <= group.len();
            text.push(if used {
                DIGITS[(bits >> shift) as usize & 63] as char
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_everybody_writes_it() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn a_value_is_known_in_any_dress() {
        let value = "p\"ss wört\\8'/?";
        let all = of(value);
        let found = |text: &str| all.iter().any(|form| text.contains(form.as_str()));
        assert!(found(&format!("{value:?}")));
        assert!(found(&serde_json::json!({ "a": value }).to_string()));
        assert!(found("x=p%22ss%20w%C3%B6rt%5C8%27%2F%3F&y"));
        assert!(found(r#"+ echo 'p"ss wört\8'\''/?'"#));
        for before in ["", "a:", "ab:", "root:"] {
            assert!(found(&base64(
                format!("{before}{value}, and more").as_bytes()
            )));
        }
    }

    #[test]
    fn long_lines_are_values_too() {
        let all = of("first line\nshort\nthe last line\n");
        assert!(all.contains("first line") && all.contains("the last line"));
        assert!(!all.contains("short"));
    }
}
