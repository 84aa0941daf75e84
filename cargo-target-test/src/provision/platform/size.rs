//! Sizes in parameters: `512 MiB`. The syntax is the same as in requirements.

use std::fmt;

use serde::{Deserialize, Serialize, de};

/// A number of bytes; never zero.
#[derive(Clone, Copy, Debug, PartialEq, schemars::JsonSchema)]
#[schemars(with = "String", inline, extend("examples" = ["512 MiB", "2 GiB"]))]
pub(super) struct Size(pub(super) u64);

/// Units with their number of bytes. A size is written with the first unit that divides it.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];

impl Size {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = text.split_at(unit);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
        let bytes = number.parse::<f64>().ok()? * *factor as f64;
        (bytes >= 1.0 && bytes < u64::MAX as f64).then_some(Self(bytes as u64))
    }

    /// Returns the size in MiB, rounded up.
    pub(super) fn mib(self) -> u64 {
        self.0.div_ceil(1 << 20)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = UNITS
            .iter()
            .find(|(_, factor)| self.0.is_multiple_of(*factor));
        let (unit, factor) = fits.unwrap_or(&("B", 1));
        write!(f, "{} {unit}", self.0 / factor)
    }
}

impl Serialize for Size {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(SizeVisitor)
    }
}

struct SizeVisitor;

impl de::Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"512 MiB\" or \"2 GiB\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        let wrong = || E::invalid_value(de::Unexpected::Str(text), &self);
        Size::parse(text).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back() {
        for (text, bytes, shown) in [
            ("512 MiB", 512 << 20, "512 MiB"),
            ("1.5GiB", 3 << 29, "1536 MiB"),
            (" 2 GB ", 2_000_000_000, "1953125 KiB"),
            ("7 B", 7, "7 B"),
        ] {
            let size = Size::parse(text).unwrap();
            assert_eq!(
                (size.0, size.to_string().as_str()),
                (bytes, shown),
                "{text}"
            );
        }
        for text in [
            "",
            "512",
            "MiB",
            "0 MiB",
            "-1 MiB",
            "1 mib",
            "1 MiB x",
            "1.1.1 MiB",
        ] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
    }
}
