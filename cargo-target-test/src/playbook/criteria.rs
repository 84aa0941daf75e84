//! Criteria: rules that include, exclude or repeat cases.
//!
//! Owns how a rule is written. Must not know tests: whether one meets a rule is the plan's affair.

use std::{borrow::Cow, fmt, num::NonZeroU32};

use serde::{Deserialize, Serialize, de};
use target_fixtures::requirement::Requirement;

use super::wait::Pattern;

/// The most repetitions that make sense.
const MOST_TIMES: u32 = 10_000;

/// A rule of `[[criteria]]`: all that it says must hold for a case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rule {
    /// Part of the test's name (`a::smoke`), or a regular expression between slashes: `/^a::/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Pattern>,
    /// The test's area; one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub area: Option<Texts>,
    /// The test's category, in upper or lower case; one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Texts>,
    /// The test's priority: a number, a list of numbers, or a range: `"<= 1"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priorities>,
    /// Tags of the test; it must have all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Texts>,
    /// Who answers for the test; one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Texts>,
    /// Features that the test needs; all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature: Option<Texts>,
    /// The target's platform; one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Texts>,
    /// The target's name; one of these, in which `*` stands for any text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Texts>,
    /// Cases that meet the rule are left out, whatever other rules say.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exclude: bool,
    /// How often cases that meet the rule are run: the most that any rule says counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u32>", range(min = 1, max = MOST_TIMES))]
    pub times: Option<Times>,
}

impl Rule {
    /// What a rule cannot mean.
    pub(super) fn wrong(&self) -> Option<&'static str> {
        let only = Self {
            exclude: true,
            ..Self::default()
        };
        match (self.exclude, self.times) {
            (true, Some(_)) => Some("`times` means nothing beside `exclude`"),
            _ if *self == only => {
                Some("a rule that says only `exclude` would leave nothing to run")
            }
            _ if *self == Self::default() => Some("a rule that says nothing"),
            _ => None,
        }
    }
}

/// As it stands in a playbook, on one line: `name = "smoke", times = 2`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = toml::Table::try_from(self).unwrap_or_default();
        let pairs = table.iter().map(|(key, value)| format!("{key} = {value}"));
        f.write_str(&pairs.collect::<Vec<_>>().join(", "))
    }
}

/// One text or several.
#[derive(Clone, Debug, PartialEq)]
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

impl schemars::JsonSchema for Texts {
    fn schema_name() -> Cow<'static, str> {
        "Texts".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let text = serde_json::json!({ "type": "string", "minLength": 1 });
        schemars::json_schema!({ "anyOf": [text, { "type": "array", "items": text, "minItems": 1 }] })
    }
}

/// Some of the priorities 0 to 4.
#[derive(Clone, Debug, PartialEq)]
pub struct Priorities(Requirement);

impl Priorities {
    /// Those that a requirement describes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let parsed: Requirement = text.parse()?;
        let priorities = Self(parsed);
        match (0..=4).any(|priority| priorities.has(priority)) {
            true => Ok(priorities),
            false => Err(format!("no priority is `{text}`: there are 0 to 4")),
        }
    }

    /// Whether this is one of them.
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

impl schemars::JsonSchema for Priorities {
    fn schema_name() -> Cow<'static, str> {
        "Priorities".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = serde_json::json!({ "type": "integer", "minimum": 0, "maximum": 4 });
        let range = serde_json::json!({ "type": "string", "examples": ["<= 1"] });
        schemars::json_schema!({ "anyOf": [one, range, { "type": "array", "items": one, "minItems": 1 }] })
    }
}

/// How often: 1 to 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "NonZeroU32")]
pub struct Times(pub NonZeroU32);

impl TryFrom<NonZeroU32> for Times {
    type Error = String;

    fn try_from(times: NonZeroU32) -> Result<Self, String> {
        match times.get() <= MOST_TIMES {
            true => Ok(Self(times)),
            false => Err(format!("`times` is at most {MOST_TIMES}, not {times}")),
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
    fn what_cannot_be_meant_is_refused() {
        for (text, expected) in [
            ("times = 0", "invalid value: integer `0`"),
            ("times = 10001", "`times` is at most 10000"),
            ("priority = 5", "no priority is `5`"),
            ("priority = []", "the requirement `` has no value"),
            ("name = \"/(/\"", "`/(/` is no regular expression"),
            ("area = []", "an empty array"),
            ("aera = \"x\"", "unknown field `aera`"),
        ] {
            let error = toml::from_str::<Rule>(text).unwrap_err();
            assert!(error.message().starts_with(expected), "{text}: {error}");
        }
        let wrong = |text: &str| toml::from_str::<Rule>(text).expect(text).wrong().is_some();
        assert!(
            wrong("")
                && wrong("exclude = true")
                && wrong("name = \"a\"\nexclude = true\ntimes = 2")
        );
        assert!(!wrong("times = 2") && !wrong("name = \"a\""));
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
