//! Secret references in JSON values.
//!
//! A table is a reference if it deserializes as one; every other table is searched for references.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Bound, Text, any, redact};
use crate::error::Result;

/// Binds the reference at a dotted key.
pub type Bind<'a> = &'a dyn Fn(&str, &Text) -> Bound;

fn reference(value: &Value) -> Option<Text> {
    let text = value.is_object().then(|| Text::deserialize(value).ok());
    text.flatten()
}

/// Returns the references in a table, bound with their dotted keys below `key`.
pub fn in_json(key: &str, table: &Map<String, Value>, bind: Bind<'_>) -> Vec<Bound> {
    let mut found = Vec::new();
    let note = &mut |key: &str, text: &Text| {
        found.push(bind(key, text));
        Ok(String::new())
    };
    // Nothing is looked up, so nothing fails.
    let _ = replaced(key, table, note);
    found
}

/// Returns the table with the values of its references.
///
/// # Errors
/// The errors of [`Bound::value`].
pub fn filled(key: &str, table: &Map<String, Value>, bind: Bind<'_>) -> Result<Map<String, Value>> {
    replaced(key, table, &mut |key, text| bind(key, text).value())
}

/// The string for the reference at a dotted key.
type Replace<'a> = &'a mut dyn FnMut(&str, &Text) -> Result<String>;

fn replaced(key: &str, table: &Map<String, Value>, by: Replace<'_>) -> Result<Map<String, Value>> {
    let inside = |(name, value): (&String, _)| {
        let value = replaced_value(&format!("{key}.{name}"), value, by)?;
        Ok((name.clone(), value))
    };
    table.iter().map(inside).collect()
}

fn replaced_value(key: &str, value: &Value, by: Replace<'_>) -> Result<Value> {
    if let Some(text) = reference(value) {
        return by(key, &text).map(Value::String);
    }
    Ok(match value {
        Value::Object(table) => Value::Object(replaced(key, table, by)?),
        Value::Array(items) => {
            let each = items.iter().enumerate();
            let each = each.map(|(at, item)| replaced_value(&format!("{key}[{at}]"), item, by));
            Value::Array(each.collect::<Result<_>>()?)
        }
        plain => plain.clone(),
    })
}

/// Redacts all registered values in the strings of a table, keys included. Of keys that become equal, one is kept.
pub fn redact_strings(table: &mut Map<String, Value>) {
    let redacted = std::mem::take(table).into_iter();
    table.extend(redacted.map(|(mut key, mut value)| {
        redact(&mut key);
        redact_value(&mut value);
        (key, value)
    }));
}

/// Formats a value as one line of JSON, with all registered values in its strings redacted. Numbers and the markup are
/// not changed.
///
/// # Errors
/// Fails if the value has no JSON form.
pub fn json_line(value: &impl Serialize) -> serde_json::Result<String> {
    let mut line = match any() {
        true => {
            let mut value = serde_json::to_value(value)?;
            redact_value(&mut value);
            value.to_string()
        }
        false => serde_json::to_string(value)?,
    };
    line.push('\n');
    Ok(line)
}

fn redact_value(value: &mut Value) {
    match value {
        Value::String(text) => redact(text),
        Value::Array(items) => items.iter_mut().for_each(redact_value),
        Value::Object(table) => redact_strings(table),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    #[test]
    fn only_tables_that_deserialize_are_references() {
        let table = json!({
            "a": { "file": "f" }, "b": [{ "env": "E" }, 1], "c": { "d": { "command": ["p", "q"] } },
            "e": { "file": 1 }, "f": { "env": "E", "file": "f" }, "g": {}, "h": "text", "i": { "env": { "A": "b" } },
        });
        let bind = |key: &str, text: &Text| text.bound(key, Path::new("/book"));
        let found = in_json("params", table.as_object().unwrap(), &bind);
        let found: Vec<_> = found.iter().filter_map(Bound::lookup).collect();
        let found: Vec<_> = found
            .iter()
            .map(|one| (&*one.of, one.reference.to_string()))
            .collect();
        let expected = [("params.a", "f"), ("params.b[0]", "E"), ("params.c.d", "p")];
        assert_eq!(found, expected.map(|(key, name)| (key, name.to_owned())));
    }

    #[test]
    fn strings_and_keys_are_redacted_and_json_stays_json() {
        super::super::register("PIN", "40417");
        super::super::register("WORD", "seq-key\"");
        let value = json!({ "n": 404_170, "seq-key\"": [{ "a40417": "is 40417" }] });
        let line = json_line(&value).unwrap();
        let shown =
            json!({ "n": 404_170, "[secret WORD]": [{ "a[secret PIN]": "is [secret PIN]" }] });
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), shown);
    }
}
