//! The forms in which programs print a value, by the view of the text in which they are searched.
//!
//! Escapes are undone by the views, see [`super::view`]; only encodings that hide where a value starts are listed here.

use std::collections::BTreeSet;

use base64::{Engine, prelude::BASE64_STANDARD};

/// The minimum length of a single line, and of a value searched in base64 and hex, in bytes: shorter ones match
/// unrelated text.
const LONG: usize = 8;
/// The maximum length of a value searched in base64 of base64, in bytes: these forms are many and long.
const NESTED: usize = 1024;

/// Returns the value as programs print it: as it is, in a shell's quotes, as Rust's `{:?}`, and its long lines.
///
/// `{:?}` is listed for values that contain a form of their own escapes.
pub(super) fn literal(value: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for part in parts(value) {
        all.insert(part.to_owned());
        all.insert(part.escape_debug().to_string());
        // As printed by `set -x`.
        all.insert(part.replace('\'', r"'\''"));
    }
    all
}

/// Returns the value and its long lines.
pub(super) fn parts(value: &str) -> BTreeSet<&str> {
    let lines = value.lines().filter(|_| value.contains('\n'));
    let lines = lines.filter(|line| line.trim().len() >= LONG);
    lines.chain([value]).collect()
}

/// Returns the value in base64, in base64 of base64, and in hex, without line breaks.
pub(super) fn encoded(value: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for part in parts(value).into_iter().filter(|part| part.len() >= LONG) {
        let once = base64(part);
        if part.len() <= NESTED {
            all.extend(once.iter().flat_map(|inner| base64(inner)));
        }
        all.extend(once);
        let hex: String = part.bytes().map(|byte| format!("{byte:02x}")).collect();
        all.insert(hex.to_uppercase());
        all.insert(hex);
    }
    all
}

/// Returns the base64 digits of a value behind any prefix, in both alphabets.
fn base64(value: &str) -> BTreeSet<String> {
    let digits = (0..3).map(|shift| base64_within(value.as_bytes(), shift));
    digits
        .flat_map(|text| [text.replace('+', "-").replace('/', "_"), text])
        .collect()
}

/// Returns the base64 digits that depend on the value alone if it starts `shift` bytes into a group of three bytes.
///
/// `Authorization: Basic`, for example, encodes `user:value`.
fn base64_within(value: &[u8], shift: usize) -> String {
    let bytes = [&[0; 2][..shift], value].concat();
    let decided = bytes.len() * 8 / 6;
    let text = BASE64_STANDARD.encode(&bytes);
    text[(shift * 8).div_ceil(6)..decided].to_owned()
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_URL_SAFE;

    use super::*;

    #[test]
    fn encoded_values_are_found_behind_any_prefix() {
        let value = "p\"ss wört\\8'/?";
        let all = encoded(value);
        for before in ["", "a:", "ab:", "root:"] {
            let text = BASE64_STANDARD.encode(format!("{before}{value}, and more"));
            assert!(all.iter().any(|form| text.contains(form.as_str())));
        }
        assert!(all.iter().any(|form| form.starts_with("702273")));
    }

    #[test]
    fn values_in_base64_of_base64_are_found() {
        let value = "p\"ss wört\\8'/?";
        let all = encoded(value);
        for before in ["", "a:", "ab:"] {
            let text = format!("{before}{value}, and more");
            for inner in [BASE64_STANDARD.encode(&text), BASE64_URL_SAFE.encode(&text)] {
                let text = BASE64_STANDARD.encode(format!("{before}{inner}\n"));
                assert!(all.iter().any(|form| text.contains(form.as_str())));
            }
        }
    }

    #[test]
    fn long_lines_are_forms() {
        let all = literal("first line\nshort\nthe last line\n");
        assert!(all.contains("first line") && all.contains("the last line"));
        assert!(!all.contains("short"));
    }
}
