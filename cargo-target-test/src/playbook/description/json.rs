//! Rewrites JSON with comments as TOML, in which every value is at the same position. So both formats have the same errors.
//!
//! The object becomes the inline table [`KEY`], whose name takes the first two bytes of the text.

use super::Problem;

/// The key of the document.
pub(super) const KEY: &str = "x";

/// Rewrites a text that starts with at least two spaces.
///
/// # Errors
/// The first syntax error.
pub(super) fn to_toml(text: &str) -> Result<String, Box<Problem>> {
    let json = without_comments(text);
    check(&json)?;
    let mut toml = String::with_capacity(json.len());
    toml.push_str(KEY);
    toml.push('=');
    let mut rest = json.get(toml.len()..).unwrap_or_default();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        match first {
            '"' => push_string(&mut toml, token),
            ':' => toml.push('='),
            '\n' | '\r' | '\t' => toml.push(' '),
            _ => toml.push_str(token),
        }
        rest = after;
    }
    Ok(toml)
}

/// Replaces comments and commas before a closing bracket by spaces.
fn without_comments(text: &str) -> String {
    let mut json = String::with_capacity(text.len());
    let mut comma = None;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        match first {
            '/' if length > 1 => {
                json.extend(
                    token
                        .bytes()
                        .map(|byte| if byte == b'\n' { '\n' } else { ' ' }),
                );
            }
            ',' => {
                comma = Some(json.len());
                json.push(',');
            }
            '}' | ']' => {
                if let Some(comma) = comma.take() {
                    json.replace_range(comma..=comma, " ");
                }
                json.push(first);
            }
            _ => {
                if !first.is_whitespace() {
                    comma = None;
                }
                json.push_str(token);
            }
        }
        rest = after;
    }
    json
}

/// The length of the string literal at the start of a text, up to the end of the text if it does not end.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Checks that a text is one JSON object without `null`.
fn check(json: &str) -> Result<(), Box<Problem>> {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(json) {
        let line = error.line().saturating_sub(1);
        let start: usize = json.split_inclusive('\n').take(line).map(str::len).sum();
        let at = match error.is_eof() {
            true => json.len(),
            false => start + error.column().saturating_sub(1),
        };
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        return Err(Box::new(Problem::new(message, at..at + 1)));
    }
    let start = json.find(|c: char| !c.is_whitespace()).unwrap_or_default();
    if !json[start..].starts_with('{') {
        let problem = Problem::new("a description is an object", start..json.trim_end().len());
        return Err(Box::new(problem));
    }
    let mut at = 0;
    while let Some(first) = json[at..].chars().next() {
        let length = match first {
            '"' => string_length(&json[at..]),
            _ => first.len_utf8(),
        };
        if json[at..].starts_with("null") {
            let problem = Problem::new("`null` is not supported", at..at + 4);
            return Err(Box::new(problem.hint("leave the key out")));
        }
        at += length;
    }
    Ok(())
}

/// Adds a string literal of TOML, with spaces up to the length of the literal of JSON.
fn push_string(toml: &mut String, json: &str) {
    let end = toml.len() + json.len();
    let text = serde_json::from_str::<String>(json).unwrap_or_default();
    toml.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => toml.extend(['\\', c]),
            '\n' => toml.push_str("\\n"),
            '\r' => toml.push_str("\\r"),
            '\t' => toml.push_str("\\t"),
            c if c.is_control() => toml.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => toml.push(c),
        }
    }
    toml.push('"');
    while toml.len() < end {
        toml.push(' ');
    }
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;

    #[test]
    fn every_value_keeps_its_position() {
        let text = r#"  { // a comment: "x"
            "a/b": "\ud83d\ude00\/\"\u000a",   /* and, */
            "list": [1, -2.5e3, true, [], {},],
            "after": "here",
        }"#;
        let toml = to_toml(text).expect("JSON");
        assert_eq!(toml.len(), text.len());
        let document = DeTable::parse(&toml).expect(&toml).into_inner();
        let table = document
            .get(KEY)
            .and_then(|value| value.get_ref().as_table());
        let table = table.expect("a table");
        let value = |key| table.get(key).expect(key);
        assert_eq!(value("a/b").get_ref().as_str(), Some("😀/\"\n"));
        assert_eq!(
            value("list").get_ref().as_array().map(|list| list.len()),
            Some(5)
        );
        assert_eq!(&text[value("after").span()], "\"here\"");
    }

    #[test]
    fn what_is_not_an_object_is_refused_at_its_place() {
        for (text, at) in [
            ("  [1]", 2),
            ("  {\"a\": null}", 8),
            ("  {\n \"a\" 1}", 9),
            ("  {\"a\": \"b", 10),
            ("   ", 3),
        ] {
            let problem = to_toml(text).expect_err(text);
            assert_eq!(problem.start(), at, "{text}");
        }
    }
}
