//! The positions of the values of a document, by path: `events.0.name`.

use std::{collections::BTreeMap, ops::Range};

use toml::{Spanned, de::DeValue};

/// The positions of values and keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    values: BTreeMap<String, Range<usize>>,
    keys: BTreeMap<String, Range<usize>>,
}

impl Places {
    /// The positions in a document, whose own path is empty.
    pub(super) fn of_document(document: &Spanned<DeValue<'_>>) -> Self {
        let mut places = Self::default();
        places.add("", document);
        places
    }

    fn add(&mut self, path: &str, value: &Spanned<DeValue<'_>>) {
        let below = |name: &str| match path.is_empty() {
            true => name.to_owned(),
            false => format!("{path}.{name}"),
        };
        self.values.insert(path.to_owned(), value.span());
        match value.get_ref() {
            DeValue::Table(table) => {
                for (key, value) in table {
                    let path = below(key.get_ref());
                    self.keys.insert(path.clone(), key.span());
                    self.add(&path, value);
                }
            }
            DeValue::Array(items) => {
                for (number, item) in items.iter().enumerate() {
                    self.add(&below(&number.to_string()), item);
                }
            }
            _ => {}
        }
    }

    /// The position of a value, or of the nearest one around it.
    pub(super) fn of(&self, path: &str) -> Range<usize> {
        match (self.values.get(path), path.rsplit_once('.')) {
            (Some(place), _) => place.clone(),
            (None, Some((around, _))) => self.of(around),
            (None, None) => self.values.get("").cloned().unwrap_or_default(),
        }
    }

    /// The position of a key.
    pub(super) fn key(&self, path: &str) -> Range<usize> {
        self.keys
            .get(path)
            .cloned()
            .unwrap_or_else(|| self.of(path))
    }
}
