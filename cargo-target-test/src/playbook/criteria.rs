//! The syntax of criteria: rules that include, exclude or repeat cases.
//!
//! Must not know tests; the plan matches cases against rules.

use std::{fmt, num::NonZeroU32};

use serde::{Deserialize, Serialize, de};
use target_fixtures::requirement::Requirement;

use super::wait::Pattern;

/// The maximum of `times`.
const MOST_TIMES: u32 = 10_000;

/// A rule of `[[criteria]]`. A case matches if all conditions of the rule hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rule {
    /// Part of the test name (`a::smoke`), or a regular expression in slashes: `/^a::/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Pattern>,
    /// Test binaries (`smoke`), or their ids (`pkg::smoke`), in which `*` matches any text; the test must be in one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary: Option<Texts>,
    /// Modules (`net::tcp`), in which `*` matches any text; the test must be in one of them, at any depth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<Texts>,
    /// Areas, in upper or lower case; the test must have one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub area: Option<Texts>,
    /// Categories, in upper or lower case; the test must have one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Texts>,
    /// Priorities of the test: a number, an array of numbers, or a range: `"<= 1"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priorities>,
    /// Tags; the test must have all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Texts>,
    /// Owners; the test must have one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Texts>,
    /// Features; the test must require all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature: Option<Texts>,
    /// Platforms; the target must be on one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Texts>,
    /// Target names, in which `*` matches any text; the target must match one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Texts>,
    /// Excludes matching cases, even if another rule includes them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exclude: bool,
    /// The number of runs of each matching case. If several rules match, the largest number applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>", range(min = 1, max = MOST_TIMES))]
    pub times: Option<Times>,
}

impl Rule {
    /// The error in the combination of keys, if any.
    pub(super) fn error(&self) -> Option<&'static str> {
        let only = Self {
            exclude: true,
            ..Self::default()
        };
        match (self.exclude, self.times) {
            (true, Some(_)) => Some("`times` cannot be combined with `exclude`"),
            _ if *self == only => Some("a rule with only `exclude` would exclude every case"),
            _ if *self == Self::default() => Some("a rule must have at least one key"),
            _ => None,
        }
    }
}

/// Writes the rule as in a playbook, on one line: `name = "smoke", times = 2`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = toml::Table::try_from(self).unwrap_or_default();
        let pairs = table.iter().map(|(key, value)| format!("{key} = {value}"));
        f.write_str(&pairs.collect::<Vec<_>>().join(", "))
    }
}

/// One string or an array of strings.
#[derive(Clone, Debug, PartialEq, schemars::JsonSchema)]
#[schemars(inline, description = "", with = "serde_json::Value", extend("anyOf" = [
    { "type": "string", "minLength": 1 },
    { "type": "array", "items": { "type": "string", "minLength": 1 }, "minItems": 1 },
]))]
pub struct Texts(pub Vec<String>);

impl Serialize for Texts {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(to),
            more => more.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or an array of strings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Texts, E> {
                match text.trim() {
                    "" => Err(E::custom("an empty string matches nothing")),
                    _ => Ok(Texts(vec![text.to_owned()])),
                }
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Texts, A::Error> {
                let mut all = Vec::new();
                while let Some(Texts(mut one)) = seq.next_element()? {
                    all.append(&mut one);
                }
                match all.is_empty() {
                    true => Err(de::Error::custom("an empty array matches nothing")),
                    false => Ok(Texts(all)),
                }
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// A set of priorities from 0 to 4.
#[derive(Clone, Debug, PartialEq, schemars::JsonSchema)]
#[schemars(inline, description = "", with = "serde_json::Value", extend("anyOf" = [
    { "type": "integer", "minimum": 0, "maximum": 4 },
    { "type": "string", "examples": ["<= 1"] },
    { "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": 4 }, "minItems": 1 },
]))]
pub struct Priorities(Requirement);

impl Priorities {
    /// Parses a requirement such as `<= 1`.
    ///
    /// # Errors
    /// If the text is not a requirement, or no priority fits.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let parsed: Requirement = text.parse()?;
        let priorities = Self(parsed);
        match (0..=4).any(|priority| priorities.has(priority)) {
            true => Ok(priorities),
            false => Err(format!(
                "no priority matches `{text}`: priorities are 0 to 4"
            )),
        }
    }

    /// True if the priority is in the set.
    pub fn has(&self, priority: u8) -> bool {
        self.0.fits(&priority.to_string()).is_ok()
    }
}

impl Serialize for Priorities {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.to_string().parse::<u8>() {
            Ok(number) => number.serialize(to),
            Err(_) => to.collect_str(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Priorities {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Priorities;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a priority from 0 to 4, an array of them, or a range such as \"<= 1\"")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Priorities, E> {
                Priorities::new(&number.to_string()).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Priorities, E> {
                Priorities::new(text).map_err(E::custom)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Priorities, A::Error> {
                let mut all = Vec::new();
                while let Some(Priorities(one)) = seq.next_element()? {
                    all.push(one.to_string());
                }
                Priorities::new(&all.join(" | ")).map_err(de::Error::custom)
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// A number of runs, from 1 to 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "NonZeroU32")]
pub struct Times(pub NonZeroU32);

impl TryFrom<NonZeroU32> for Times {
    type Error = String;

    fn try_from(times: NonZeroU32) -> Result<Self, String> {
        match times.get() <= MOST_TIMES {
            true => Ok(Self(times)),
            false => Err(format!("`times` must be at most {MOST_TIMES}, not {times}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_shown_as_it_is_written() {
        for text in [
            "area = \"xdp\", exclude = true",
            "name = \"smoke\", times = 2",
            "priority = 0",
            "priority = \"<= 1\", tags = [\"a\", \"b\"]",
        ] {
            let rule: Rule = toml::from_str(
                &text
                    .replace(", p", "\np")
                    .replace(", e", "\ne")
                    .replace(", ti", "\nti")
                    .replace(", ta", "\nta"),
            )
            .expect(text);
            assert_eq!(rule.to_string(), text);
        }
    }

    #[test]
    fn invalid_rules_are_refused() {
        for (text, expected) in [
            ("times = 0", "invalid value: integer `0`"),
            ("times = 10001", "`times` must be at most 10000"),
            ("priority = 5", "no priority matches `5`"),
            ("priority = []", "the requirement `` has no value"),
            ("name = \"/(/\"", "invalid regular expression `/(/`"),
            ("area = []", "an empty array"),
            ("aera = \"x\"", "unknown field `aera`"),
        ] {
            let error = toml::from_str::<Rule>(text).unwrap_err();
            assert!(error.message().starts_with(expected), "{text}: {error}");
        }
        let is_bad = |text: &str| toml::from_str::<Rule>(text).expect(text).error().is_some();
        assert!(
            is_bad("")
                && is_bad("exclude = true")
                && is_bad("name = \"a\"\nexclude = true\ntimes = 2")
        );
        assert!(!is_bad("times = 2") && !is_bad("name = \"a\""));
    }

    #[test]
    fn priorities_are_numbers_lists_and_ranges() {
        let of = |text: &str| {
            let rule: Rule = toml::from_str(&format!("priority = {text}")).expect(text);
            let priorities = rule.priority.expect(text);
            (0..=4)
                .filter(|one| priorities.has(*one))
                .collect::<Vec<_>>()
        };
        assert_eq!(of("1"), [1]);
        assert_eq!(of("[0, 3]"), [0, 3]);
        assert_eq!(of("\"<= 1\""), [0, 1]);
        assert_eq!(of("\">= 1, < 3\""), [1, 2]);
    }
}
