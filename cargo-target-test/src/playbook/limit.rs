//! The type of durations in playbooks and in parameters of platforms.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize, de};

/// A duration greater than zero: `30s`, `10m`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, schemars::JsonSchema)]
#[schemars(inline, with = "String", extend("examples" = ["30s", "10m"]))]
pub struct Limit(pub Duration);

impl Serialize for Limit {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(LimitVisitor)
    }
}

struct LimitVisitor;

impl de::Visitor<'_> for LimitVisitor {
    type Value = Limit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"30s\" or \"10m\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Limit, E> {
        match humantime::parse_duration(text) {
            Ok(limit) if limit.is_zero() => Err(E::custom("duration must be greater than zero")),
            Ok(limit) => Ok(Limit(limit)),
            Err(_) => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}
