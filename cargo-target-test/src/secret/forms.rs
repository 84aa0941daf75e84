//! The forms in which programs print a value: quoted, escaped, encoded, and line by line.

use std::collections::BTreeSet;

use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The minimum length of a single line, and of a value searched in base64, in bytes: shorter ones match unrelated text.
const LONG: usize = 8;
/// The characters that are percent-encoded: all but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Returns the value and its other forms.
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
        // As printed by `{:?}`.
        value.escape_debug().to_string(),
        // As printed by `set -x`.
        value.replace('\'', r"'\''"),
        json[1..json.len() - 1].to_owned(),
        utf8_percent_encode(value, RESERVED).to_string(),
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
    use super::*;

    #[test]
    fn quoted_and_encoded_values_are_found() {
        let value = "p\"ss wört\\8'/?";
        let all = of(value);
        let found = |text: &str| all.iter().any(|form| text.contains(form.as_str()));
        assert!(found(&format!("{value:?}")));
        assert!(found(&serde_json::json!({ "a": value }).to_string()));
        assert!(found("x=p%22ss%20w%C3%B6rt%5C8%27%2F%3F&y"));
        assert!(found(r#"+ echo 'p"ss wört\8'\''/?'"#));
        for before in ["", "a:", "ab:", "root:"] {
            assert!(found(
                &BASE64_STANDARD.encode(format!("{before}{value}, and more").as_bytes())
            ));
        }
    }

    #[test]
    fn long_lines_are_forms() {
        let all = of("first line\nshort\nthe last line\n");
        assert!(all.contains("first line") && all.contains("the last line"));
        assert!(!all.contains("short"));
    }
}
