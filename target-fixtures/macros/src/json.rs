//! Writes JSON, for records created at compile time.

use std::fmt;

/// A JSON value.
#[derive(Debug)]
pub(crate) enum Json {
    Bool(bool),
    Number(u64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(value) => text(f, value),
            Self::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if index == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Self::Object(values) => {
                f.write_str("{")?;
                for (index, (key, value)) in values.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    text(f, key)?;
                    write!(f, ":{value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Writes a string with control characters escaped, since a record starts with a control character.
fn text(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in value.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if c < ' ' => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn escapes_what_json_and_the_section_reserve() {
        let value = Json::Object(vec![
            (
                "a\"b".to_owned(),
                Json::List(vec![Json::Number(1), Json::Bool(true)]),
            ),
            ("c".to_owned(), Json::Text("\u{1e}\\\nü".to_owned())),
        ]);
        assert_eq!(
            value.to_string(),
            r#"{"a\"b":[1,true],"c":"\u001e\\\u000aü"}"#
        );
    }
}
