//! Merges layers of keys: a key replaces the key of a lower layer, tables merge key by key.
//!
//! Must not know the keys.

use std::{collections::BTreeMap, ops::Range};

use serde::Serialize;
use toml::de::{DeTable, DeValue};

use super::definition::{dotted, is_inside};
use crate::secret::KEYS;

/// The layer that set a key. Keys with the platform's default have no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// `[platforms.X]`.
    Platform,
    /// The target's own table.
    Target,
    /// `--set`.
    Set,
}

/// Layers merged so far.
#[derive(Default)]
pub(super) struct Layers<'s> {
    pub(super) table: DeTable<'s>,
    /// The origin of each key, by dotted key.
    pub(super) origins: BTreeMap<String, Origin>,
    /// The position of each key's value, by dotted key.
    pub(super) places: BTreeMap<String, Range<usize>>,
}

impl<'s> Layers<'s> {
    /// Puts a layer on top.
    pub(super) fn add(&mut self, layer: DeTable<'s>, origin: Origin) {
        places(&layer, "", &mut self.places);
        merge(&mut self.table, layer, "", origin, &mut self.origins);
    }
}

/// Adds the positions of a layer's values.
fn places(layer: &DeTable<'_>, prefix: &str, all: &mut BTreeMap<String, Range<usize>>) {
    for (key, value) in layer {
        let name = dotted(prefix, key.get_ref());
        if let DeValue::Table(table) = value.get_ref() {
            places(table, &name, all);
        }
        all.insert(name, value.span());
    }
}

fn merge<'s>(
    base: &mut DeTable<'s>,
    layer: DeTable<'s>,
    prefix: &str,
    origin: Origin,
    origins: &mut BTreeMap<String, Origin>,
) {
    for (key, value) in layer {
        let name = dotted(prefix, key.get_ref());
        let (span, value) = (value.span(), value.into_inner());
        let below = base
            .get_mut(key.get_ref().as_ref())
            .map(|below| below.get_mut());
        match (below, value) {
            (Some(DeValue::Table(below)), DeValue::Table(table))
                if !(is_reference(below) && is_reference(&table)) =>
            {
                merge(below, table, &name, origin, origins);
            }
            (_, value) => {
                origins.retain(|key, _| !is_inside(key, &name));
                origins.insert(name, origin);
                // Inserting alone would keep the position of the key below.
                base.remove(key.get_ref().as_ref());
                base.insert(key, toml::Spanned::new(span, value));
            }
        }
    }
}

/// True if the table is a reference to a secret value, which is replaced as a whole: merging two references would give
/// an invalid one.
pub(super) fn is_reference(table: &DeTable<'_>) -> bool {
    let mut keys = table.keys();
    let only = keys.next().filter(|_| keys.next().is_none());
    only.is_some_and(|key| KEYS.contains(&key.get_ref().as_ref()))
        && !table
            .values()
            .any(|value| matches!(value.get_ref(), DeValue::Table(_)))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use toml::de::ValueDeserializer;

    use super::*;

    #[test]
    fn tables_merge_and_values_replace() {
        let parse = |text| DeTable::parse(text).unwrap().into_inner();
        let mut layers = Layers::default();
        layers.add(
            parse("a = 1\nb = [1]\nt = { x = 1, y = 1 }\nu = { z = 1 }"),
            Origin::Platform,
        );
        layers.add(parse("\n\n b = [2]\nt.y = 2\nu = 3"), Origin::Target);
        layers.add(parse("t.w = 1"), Origin::Set);
        let merged = toml::Spanned::new(0..0, DeValue::Table(layers.table.clone()));
        let table = toml::Table::deserialize(ValueDeserializer::from(merged)).unwrap();
        assert_eq!(
            table,
            toml::toml! { a = 1
            b = [2]
            t = { x = 1, y = 2, w = 1 }
            u = 3 }
        );
        let origins: Vec<_> = layers
            .origins
            .iter()
            .map(|(k, o)| (k.as_str(), *o))
            .collect();
        assert_eq!(
            origins,
            [
                ("a", Origin::Platform),
                ("b", Origin::Target),
                ("t", Origin::Platform),
                ("t.w", Origin::Set),
                ("t.y", Origin::Target),
                ("u", Origin::Target),
            ]
        );
        assert_eq!(layers.table.get_key_value("b").unwrap().0.span(), 3..4);
    }
}
